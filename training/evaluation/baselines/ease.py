"""A linear model over all pairs of items, in closed form.

Source: Steck 2019, "Embarrassingly shallow autoencoders for sparse data". The query fades by position,
as in ``item_knn``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import lapack

from features.errors import ConfigError
from features.recommendations import Recommendations
from features.sequences import Sequences
from features.vocabulary import FIRST
from training.evaluation.baselines.item_knn import binary_matrix, recency_weights, tie_order
from training.evaluation.ranking import rank_in_batches

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]

MAX_ITEMS: Final = 20_000  # 1.6 GB of weights
_ROWS_AT_ONCE: Final = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ease:
    """Ranks items by learned weights from each item of a history, weighted by recency.

    Args:
        weights: float32 ``[n, n]``; cell (i, j) says how much known item i speaks for known item j, 0 for itself.
        known: codes of the ``n`` items with an event in the fit, in the order of their hashes.
        candidates: bool ``[V]``.
        decay: weight of an event relative to the one after it.
        seed: of the tie-breaking.
    """

    name: ClassVar[str] = "EASE"

    weights: Floats
    known: Ints
    candidates: npt.NDArray[np.bool_]
    decay: float = 0.6
    seed: int = 0

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        *,
        candidates: npt.NDArray[np.bool_],
        regularisation: float = 100.0,
        decay: float = 0.6,
        max_items: int = MAX_ITEMS,
        seed: int = 0,
    ) -> Ease:
        """Solve for the weights between all items with an event; those without are tied to nothing and left out.

        Time grows with the cube of their number n, memory is 4 n² bytes: 12,000 items take about a minute
        of one core and 600 MB.

        Args:
            sequences: what may be learned from.
            candidates: bool ``[V]``, which items may be shown.
            regularisation: lambda of the paper, above 0.
            decay: weight of an event relative to the one after it, above 0 and at most 1.
            max_items: the most items that are solved for.
            seed: of the tie-breaking.

        Raises:
            ConfigError: there are more items than ``max_items``, or ``regularisation`` is not above 0.
        """
        if not regularisation > 0:
            raise ConfigError(f"EASE: expected regularisation above 0, found {regularisation}.")
        known = known_items(sequences)
        if len(known) > max_items:
            raise ConfigError(
                f"EASE: expected at most {max_items:,} items with an event, found {len(known):,}, whose weights would "
                f"take {4e-9 * len(known) ** 2:.1f} GB; raise max_items, or use item-kNN."
            )
        matrix = sparse.csc_array(binary_matrix(sequences, num_items=len(candidates)))[:, known]
        weights = item_weights(sparse.csr_array(matrix), regularisation=regularisation)
        log.info("EASE: %d items, %.0f MB of weights", len(known), weights.nbytes / 1e6)
        return cls(weights=weights, known=known, candidates=candidates, decay=decay, seed=seed)

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``; a history without a known item gets no list."""
        return rank_in_batches(
            self._score, query, candidates=self.candidates, k=k, exclude_seen=exclude_seen, seed=self.seed
        )

    def _score(self, batch: Sequences) -> Floats:
        history = sparse.csc_array(recency_weights(batch, num_items=len(self.candidates), decay=self.decay))
        met = sparse.csr_array(history[:, self.known])  # [B, n]
        score = np.full((batch.num_users, len(self.candidates)), -np.inf, np.float32)
        asked = np.flatnonzero(np.diff(met.indptr))
        score[np.ix_(asked, self.known)] = met[asked] @ self.weights
        return score


def known_items(sequences: Sequences) -> Ints:
    """Return the codes of items with an event, in the order of a fixed hash; PAD and UNKNOWN are no items.

    Weights that are equal on paper differ in their last bit by where an item stands in the matrix. Codes stand
    for popularity over the whole log, test window included, so they may not say where.
    """
    codes = np.unique(sequences.item)
    codes = codes[codes >= FIRST].astype(np.int64)
    return codes[np.argsort(tie_order(codes))]


def item_weights(matrix: sparse.csr_array, *, regularisation: float) -> Floats:
    """Return EASE's weights ``[n, n]`` of a binary matrix ``[U, n]``; one array of n² float32 is held in all.

    With P the inverse of (G + lambda I) and G the co-occurrence counts, weight(i, j) = -P(i, j) / P(j, j)
    off the diagonal.
    """
    gram = np.zeros((matrix.shape[1], matrix.shape[1]), np.float32, order="F")
    by_item = sparse.csr_array(matrix.T)
    for start in range(0, len(gram), _ROWS_AT_ONCE):
        rows = sparse.csr_array(by_item[start : start + _ROWS_AT_ONCE] @ matrix)
        gram[:, start : start + _ROWS_AT_ONCE] = rows.toarray().T  # symmetric; columns are what lies together
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = _inverse_in_place(gram).T  # the same numbers, in rows as scipy's products read them
    diagonal = inverse.diagonal().copy()
    inverse /= -diagonal
    np.fill_diagonal(inverse, 0)
    return inverse


def _inverse_in_place(matrix: Floats) -> Floats:
    """Invert a symmetric positive definite matrix of Fortran order over itself, by Cholesky."""
    if not len(matrix):
        return matrix  # LAPACK takes no empty matrix
    factor, failed = lapack.spotrf(matrix, lower=1, overwrite_a=1)
    assert failed == 0, "co-occurrences with a positive diagonal added are positive definite"
    inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    assert failed == 0, "a Cholesky factor can be inverted"
    for start in range(0, len(inverse), _ROWS_AT_ONCE):  # LAPACK wrote the lower half alone
        stop = min(start + _ROWS_AT_ONCE, len(inverse))
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        block = inverse[start:stop, start:stop]
        block[:] = np.tril(block) + np.tril(block, -1).T
    return inverse
