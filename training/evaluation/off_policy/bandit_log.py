"""A slot's log with true propensities: what was shown, how likely that was, and what came of it.

E exposures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import DataError

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class BanditLog:
    """Exposures of one slot, in any order.

    Args:
        user: row of each exposure's user, int64 ``[E]``; users are what intervals resample.
        item: item code that was shown, int64 ``[E]``.
        propensity: probability with which the shop showed it then, float64 ``[E]`` in (0, 1].
        reward: 1 where the shown item was clicked or bought, else 0, float64 ``[E]`` in [0, 1].
    """

    user: Ints
    item: Ints
    propensity: Floats
    reward: Floats

    @classmethod
    def from_arrays(
        cls, *, user: npt.ArrayLike, item: npt.ArrayLike, propensity: npt.ArrayLike, reward: npt.ArrayLike
    ) -> BanditLog:
        """Validate once and freeze.

        Raises:
            DataError: there is no exposure, arrays differ in length, a reward is outside [0, 1], or the propensities
                are none (see ``check_propensities``).
        """
        users, items = np.asarray(user, np.int64), np.asarray(item, np.int64)
        propensities, rewards = np.asarray(propensity, np.float64), np.asarray(reward, np.float64)
        if not len(users) == len(items) == len(propensities) == len(rewards):
            raise DataError(
                "Bandit log: expected arrays of one length, found "
                f"{len(users)}, {len(items)}, {len(propensities)} and {len(rewards)}."
            )
        check_propensities(propensities)
        if not ((rewards >= 0) & (rewards <= 1)).all():
            raise DataError(
                f"Bandit log: expected rewards from 0 to 1, found {rewards.min():g} .. {rewards.max():g}; scale them."
            )
        return cls(user=users, item=items, propensity=propensities, reward=rewards)

    def __len__(self) -> int:
        return len(self.item)


def check_propensities(propensity: Floats) -> None:
    """Refuse what cannot have been the probabilities of a random choice.

    Without them no weighting is possible: what the log never showed says nothing about what would have followed.

    Args:
        propensity: float64 ``[E]``, NaN where the log says nothing.

    Raises:
        DataError: there is none; some are missing, zero, negative or above 1; or all are 1.
    """
    if len(propensity) == 0:
        raise DataError("Propensities: expected exposures of a slot, found none; name another slot or period.")
    problems = {
        "missing": np.isnan(propensity),
        "zero or negative (an item that was shown had a chance)": propensity <= 0,
        "above 1": propensity > 1,
    }
    for what, rows in problems.items():
        if rows.any():
            raise DataError(
                f"Propensities: expected a probability above 0 and up to 1 for each exposure, found {int(rows.sum()):,} "
                f"of {len(rows):,} {what}. Log the probability with which each item was drawn; estimates from guessed "
                "ones are not valid."
            )
    if (propensity == 1).all():
        raise DataError(
            "Propensities: expected a slot that chose at random, found probability 1 for every exposure: this is the "
            "log of a deterministic ranker, which shows nothing about items that it did not show. Randomise a share "
            "of the slot's requests and log their propensities, or compare by an A/B test."
        )
