"""Items that the same customers chose, the history's latest items counting most.

Sources: Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms" (cosine
similarity of binary item columns); Bell and Koren 2007, "Scalable collaborative filtering with
jointly derived neighborhood interpolation weights" (shrinkage of similarities with little support).
The query fades by position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.ranking import rank_in_batches
from training.parallel.ranks import ALONE, Ranks

_ITEMS_A_CHUNK: Final = 1024  # rows of similarities held untrimmed at once


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemKNN:
    """Ranks items by their cosine similarity to a history, weighted by recency.

    Args:
        similarity: float32 sparse ``[V, V]``, row i holds the neighbours of item i, never i itself.
        candidates: bool ``[V]``.
        decay: weight of an event relative to the one after it.
        seed: of the tie-breaking.
    """

    name: ClassVar[str] = "item-kNN"

    similarity: sparse.csr_array
    candidates: npt.NDArray[np.bool_]
    decay: float = 0.6
    seed: int = 0

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        *,
        candidates: npt.NDArray[np.bool_],
        decay: float = 0.6,
        shrinkage: float = 10.0,
        num_neighbours: int = 500,
        seed: int = 0,
    ) -> ItemKNN:
        """Compare the columns of the binary user × item matrix.

        Args:
            sequences: what may be learned from.
            candidates: bool ``[V]``, which items may be shown.
            decay: weight of an event relative to the one after it, above 0 and at most 1.
            shrinkage: see ``item_similarity``.
            num_neighbours: most similar candidates kept an item; bounds the memory to V × num_neighbours.
            seed: of the tie-breaking.
        """
        similarity = item_similarity(
            sequences, candidates=candidates, shrinkage=shrinkage, num_neighbours=num_neighbours
        )
        return cls(similarity=similarity, candidates=candidates, decay=decay, seed=seed)

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``; items without any similarity to the history are not shown."""
        return rank_in_batches(
            self._score, query, candidates=self.candidates, k=k, exclude_seen=exclude_seen, seed=self.seed
        )

    def _score(self, batch: Sequences) -> npt.NDArray[np.float32]:
        weights = recency_weights(batch, num_items=len(self.candidates), decay=self.decay)
        score = (weights @ self.similarity).toarray()  # [B, V]
        return np.where(score > 0, score, np.float32(-np.inf))


def recency_weights(batch: Sequences, *, num_items: int, decay: float) -> sparse.csr_array:
    """Return float32 ``[B, num_items]``: ``decay ** age`` summed over an item's events, age 0 for the last event.

    >>> history = Sequences.from_arrays(offsets=[0, 3], item=[2, 3, 2])
    >>> recency_weights(history, num_items=4, decay=0.5).toarray().tolist()
    [[0.0, 0.0, 1.25, 0.5]]
    """
    age = np.repeat(batch.offsets[1:], batch.lengths) - 1 - np.arange(batch.num_events)
    # An age of 200 at 0.6 is far below what float32 can add to the newest event; cutting it spares denormals.
    weight = np.maximum(decay ** age.astype(np.float64), 1e-30).astype(np.float32)
    return sparse.csr_array((weight, (batch.user_of_event, batch.item)), shape=(batch.num_users, num_items))


def binary_matrix(sequences: Sequences, *, num_items: int) -> sparse.csr_array:
    """Return float32 ``[U, num_items]``: 1 where an item stands in a user's sequence, however often."""
    ones = np.ones(sequences.num_events, np.float32)
    shape = (sequences.num_users, num_items)
    matrix = sparse.csr_array((ones, (sequences.user_of_event, sequences.item)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def item_similarity(
    sequences: Sequences,
    *,
    candidates: npt.NDArray[np.bool_],
    shrinkage: float,
    num_neighbours: int,
    ranks: Ranks = ALONE,
) -> sparse.csr_array:
    """Return each item's most similar candidates, float32 sparse ``[V, V]``, never the item itself.

    With n users of an item, similarity(i, j) = n(i and j) / (sqrt(n(i) n(j)) + shrinkage): the cosine,
    drawn towards 0 where few users speak for it. Of equals, a fixed hash of the code says which are kept: codes
    themselves stand for popularity over the whole log, test window included. With several ranks, each of which holds
    users of its own, the counts are of all.
    """
    matrix = binary_matrix(sequences, num_items=len(candidates))
    norm = np.sqrt(ranks.sum(matrix.sum(axis=0))).astype(np.float32)  # [V]
    shown = sparse.csr_array(matrix @ sparse.diags_array(candidates.astype(np.float32)))
    shown.eliminate_zeros()
    by_item = sparse.csr_array(matrix.T)
    chunks = []
    for start in range(0, len(candidates), _ITEMS_A_CHUNK):
        rows = ranks.sum_sparse(sparse.csr_array(by_item[start : start + _ITEMS_A_CHUNK] @ shown))
        row_of_pair = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)) + start
        rows.data /= norm[row_of_pair] * norm[rows.indices] + np.float32(shrinkage)
        rows.data[rows.indices == row_of_pair] = 0
        chunks.append(_nearest(rows, num_neighbours=num_neighbours))
    return sparse.csr_array(sparse.vstack(chunks, format="csr"))


def tie_order(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return a distinct number from 0 to 2**32 - 1 for each code, in an order that has nothing to do with theirs.

    Source: the finaliser of MurmurHash3, which permutes 32-bit words.
    """
    word = codes.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = (word ^ (word >> np.uint32(shift))) * np.uint32(factor)
    return (word ^ (word >> np.uint32(16))).astype(np.int64)


def _nearest(rows: sparse.csr_array, *, num_neighbours: int) -> sparse.csr_array:
    """Drop all but each row's largest values."""
    # A value of 0 or more has bits that rise with it; the column's hash breaks ties within the low 32 bits.
    keys = (rows.data.view(np.int32).astype(np.int64) << 32) | tie_order(rows.indices)
    for row in np.flatnonzero(np.diff(rows.indptr) > num_neighbours):
        span = slice(rows.indptr[row], rows.indptr[row + 1])
        far = np.argpartition(-keys[span], num_neighbours)[num_neighbours:]
        rows.data[span][far] = 0
    rows.eliminate_zeros()
    return rows
