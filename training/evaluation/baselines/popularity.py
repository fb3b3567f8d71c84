"""The same bestsellers for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.ranking import rank_in_batches

_US_A_DAY = 86_400_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Popularity:
    """Ranks items by how often they stand in the fitted histories.

    Args:
        score: float32 ``[V]``, ``-inf`` for an item without an event.
        candidates: bool ``[V]``.
        seed: of the tie-breaking.
    """

    name: ClassVar[str] = "popularity"

    score: npt.NDArray[np.float32]
    candidates: npt.NDArray[np.bool_]
    seed: int = 0

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        *,
        candidates: npt.NDArray[np.bool_],
        half_life_days: float | None = None,
        seed: int = 0,
    ) -> Popularity:
        """Count events.

        Args:
            sequences: what may be learned from.
            candidates: bool ``[V]``, which items may be shown.
            half_life_days: an event this long before the last one counts half; all count alike where left out.
            seed: of the tie-breaking.

        Raises:
            DataError: a half-life is given, and the events have no instants.
        """
        weights = None if half_life_days is None else _decay(sequences, half_life_days)
        counts = np.bincount(sequences.item, weights=weights, minlength=len(candidates))
        score = np.where(counts > 0, counts, -np.inf).astype(np.float32)
        return cls(score=score, candidates=candidates, seed=seed)

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``."""
        return rank_in_batches(
            lambda batch: np.tile(self.score, (batch.num_users, 1)),
            query,
            candidates=self.candidates,
            k=k,
            exclude_seen=exclude_seen,
            seed=self.seed,
        )


def _decay(sequences: Sequences, half_life_days: float) -> npt.NDArray[np.float64]:
    if not sequences.ts.any():
        raise DataError("Popularity: expected instants for half_life_days, found none; leave it out.")
    age_days = (sequences.ts.max() - sequences.ts) / _US_A_DAY
    return 0.5 ** (age_days / half_life_days)
