"""Matrix factorisation of implicit feedback, by the package ``implicit``.

Sources: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets"; Takács,
Pilászy and Tikk 2011, "Applications of the conjugate gradient method for implicit feedback
collaborative filtering".
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.errors import ConfigError
from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.baselines.item_knn import binary_matrix
from training.evaluation.ranking import rank_in_batches

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class ALS:
    """Ranks items by their inner product with a customer's factors, which are solved for from the history asked.

    Args:
        model: a fitted ``implicit.cpu.als.AlternatingLeastSquares``.
        candidates: bool ``[V]``.
        seed: of the tie-breaking.
    """

    name: ClassVar[str] = "ALS"

    model: Any
    candidates: npt.NDArray[np.bool_]
    seed: int = 0

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        *,
        candidates: npt.NDArray[np.bool_],
        factors: int = 128,
        regularisation: float = 0.01,
        alpha: float = 40.0,
        iterations: int = 15,
        seed: int = 0,
    ) -> ALS:
        """Factorise the binary user × item matrix on one thread.

        Args:
            sequences: what may be learned from.
            candidates: bool ``[V]``, which items may be shown.
            factors: length of a user's and an item's vector.
            regularisation: of both, added to the diagonal of each solve.
            alpha: confidence in an event, against 1 for a cell without; the default is the paper's.
            iterations: passes over users and items.
            seed: of the first factors and of the tie-breaking.

        Raises:
            ConfigError: the package ``implicit`` is not installed.
        """
        solver = _solver()
        matrix = sparse.csr_matrix(binary_matrix(sequences, num_items=len(candidates)))
        model = solver(
            factors=factors,
            regularization=regularisation,
            alpha=alpha,
            iterations=iterations,
            num_threads=1,
            random_state=seed,
        )
        model.fit(matrix, show_progress=False)
        return cls(model=model, candidates=candidates, seed=seed)

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``; an empty history gets no list, an item without an event stands in none."""
        return rank_in_batches(
            self._score, query, candidates=self.candidates, k=k, exclude_seen=exclude_seen, seed=self.seed
        )

    def _score(self, batch: Sequences) -> Floats:
        history = sparse.csr_matrix(binary_matrix(batch, num_items=len(self.candidates)))
        user_vecs = self.model.recalculate_user(np.arange(batch.num_users), history)  # [B, factors]
        score: Floats = user_vecs @ self.model.item_factors.T
        score[batch.lengths == 0] = -np.inf
        score[:, ~self.model.item_factors.any(axis=1)] = -np.inf
        return score


def als_is_installed() -> bool:
    """Return whether ``ALS.fit`` finds its package."""
    return importlib.util.find_spec("implicit") is not None


def _solver() -> Any:
    if not als_is_installed():
        raise ConfigError(
            "ALS: expected the package 'implicit', found none; run `pip install footfall[baselines]`, or leave ALS out."
        )
    return importlib.import_module("implicit.cpu.als").AlternatingLeastSquares
