"""What target policies and the reward model say about each exposure of a log.

E exposures, B of them in a batch, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.off_policy.estimators import PolicyOnLog
from training.evaluation.off_policy.exposures import SlotLog
from training.evaluation.off_policy.policies import Candidates, Policy
from training.evaluation.off_policy.reward_model import RewardModel, folds_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CELLS_A_BATCH: Final = 1_000_000


def answer_log(
    slot: SlotLog, candidates: Candidates, policies: Sequence[Policy], *, counts: Floats, seed: int
) -> list[PolicyOnLog]:
    """Return what each policy, and one reward model for all of them, say about the slot's log.

    Args:
        slot: exposures with histories.
        candidates: what policies draw from.
        policies: target policies.
        counts: events of each item before the log, float64 ``[V]``, a feature of the reward model.
        seed: of the reward model's folds.
    """
    fold, log_counts = folds_of(slot.log.user, seed=seed), np.log1p(counts)
    column = candidates.column_of(slot.log.item)
    shown = np.concatenate([_of_column(scores, column[rows]) for rows, scores in _batches(slot, candidates)])
    features = np.column_stack([shown, log_counts[slot.log.item]])  # [E, 2]
    model = RewardModel.fit(features, slot.log.reward, fold)
    supported = np.isin(candidates.codes, slot.support).astype(np.float64)  # [C]
    answers = [np.empty((3, len(slot.log))) for _ in policies]
    for rows, scores in _batches(slot, candidates):
        inputs = np.stack(np.broadcast_arrays(scores, log_counts[candidates.codes]), axis=-1)  # [B, C, 2]
        rewards = model.predict(inputs, np.broadcast_to(fold[rows, None], scores.shape))  # [B, C]
        for policy, kept in zip(policies, answers, strict=True):
            chance = policy.probabilities(scores)
            chosen = np.where(column[rows] < 0, 0.0, _of_column(chance, column[rows]))
            kept[:, rows] = chosen, chance @ supported, (chance * rewards).sum(axis=1)
    predicted_chosen = model.predict(features, fold)
    return [
        PolicyOnLog(chosen=chosen, supported=mass, predicted=predicted, predicted_chosen=predicted_chosen)
        for chosen, mass, predicted in answers
    ]


def _batches(slot: SlotLog, candidates: Candidates) -> Iterator[tuple[Ints, Floats]]:
    """Yield rows of exposures, and the model's scores of all candidates for them, ``[B, C]``."""
    size = max(1, _CELLS_A_BATCH // len(candidates.codes))
    for start in range(0, len(slot.log), size):
        rows = np.arange(start, min(start + size, len(slot.log)))
        yield rows, np.asarray(candidates.score(slot.query.take(rows)), np.float64)


def _of_column(values: Floats, column: Ints) -> Floats:
    """Return each row's value in its column, the row's mean where that is -1, ``[B]``."""
    found = np.take_along_axis(values, np.maximum(column, 0)[:, None], axis=1)[:, 0]
    return np.where(column < 0, values.mean(axis=1), found)
