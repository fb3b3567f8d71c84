"""Buyers as models of repeat purchase see them: when the first, when the last, how many between.

    purchase days 1, 5 and 12 January, as of 15 January     ->  frequency 2, recency 11 days, age 14 days

N buyers. A purchase is a day with at least one purchase: two orders on one day are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
DAYS_A_WEEK: Final = 7.0  # the models' unit of time, so that their parameters compare with published ones
# Ten outcomes a parameter of four: Peduzzi et al. 1996, as for logistic regressions.
LEAST_REPEATERS: Final = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Histories:
    """What is known of each buyer, as of one day.

    Args:
        frequency: purchase days after the first, whole, ``[N]``.
        recency_weeks: from the first purchase to the last, ``[N]``; 0 without a repeat.
        age_weeks: from the first purchase to the day of looking, ``[N]``.
        count: buyers that each row stands for, ``[N]``.
    """

    frequency: Floats
    recency_weeks: Floats
    age_weeks: Floats
    count: Floats

    def __post_init__(self) -> None:
        x, last, age = self.frequency, self.recency_weeks, self.age_weeks
        if not (len(x) == len(last) == len(age) == len(self.count)):
            raise DataError(f"Histories: expected arrays of one length, found {len(x)}, {len(last)}, {len(age)}.")
        wrong = (x < 0) | (last < 0) | (last > age) | ((x > 0) != (last > 0))
        if not np.isfinite(x + last + age).all() or wrong.any():
            row = int(np.flatnonzero(wrong | ~np.isfinite(x + last + age))[0])
            raise DataError(
                "Histories: expected 0 <= recency <= age, and recency 0 just where frequency is 0, found frequency "
                f"{x[row]}, recency {last[row]}, age {age[row]} weeks in row {row}; count days of purchase, not rows."
            )

    def __len__(self) -> int:
        return len(self.frequency)

    @classmethod
    def from_days(
        cls, *, num_days: npt.ArrayLike, first_days_ago: npt.ArrayLike, last_days_ago: npt.ArrayLike
    ) -> Histories:
        """Return one row a buyer.

        Args:
            num_days: days with a purchase, at least 1, ``[N]``.
            first_days_ago: of the first purchase, ``[N]``.
            last_days_ago: of the last, ``[N]``.
        """
        first, last = np.asarray(first_days_ago, np.float64), np.asarray(last_days_ago, np.float64)
        return cls(
            frequency=np.asarray(num_days, np.float64) - 1,
            recency_weeks=(first - last) / DAYS_A_WEEK,
            age_weeks=first / DAYS_A_WEEK,
            count=np.ones(len(first)),
        )

    @property
    def num_buyers(self) -> int:
        """All that the rows stand for."""
        return int(self.count.sum())

    @property
    def num_repeaters(self) -> int:
        """Those who bought on a second day."""
        return int(self.count[self.frequency > 0].sum())

    def grouped(self) -> tuple[Histories, Ints]:
        """Return the distinct histories with how many buyers share each, and which of them each row is.

        In a day's resolution most buyers with one purchase are alike: 100,000 buyers are some 30,000 rows.
        """
        rows = np.column_stack([self.frequency, self.recency_weeks, self.age_weeks])
        distinct, which = np.unique(rows, axis=0, return_inverse=True)
        which = which.reshape(-1)
        count = np.bincount(which, weights=self.count, minlength=len(distinct)).astype(np.float64)
        x, last, age = distinct.T
        return Histories(frequency=x, recency_weeks=last, age_weeks=age, count=count), which

    def for_fitting(self, *, most: int) -> Histories:
        """Return the distinct histories; where they are more than ``most``, those of ``most`` buyers, evenly taken.

        Raises:
            DataError: fewer than ``LEAST_REPEATERS`` bought again: four parameters would follow chance.
        """
        if self.num_repeaters < LEAST_REPEATERS:
            raise DataError(
                f"expected at least {LEAST_REPEATERS} buyers who bought on a second day, found {self.num_repeaters} "
                f"of {self.num_buyers}; wait for more purchases."
            )
        distinct, _ = self.grouped()
        if len(distinct) <= most:
            return distinct
        return self.take(slice(None, None, -(-len(self) // most))).grouped()[0]

    def total(self, values: Floats) -> float:
        """Return the sum of ``values``, ``[N]``, over all buyers that the rows stand for.

        Not as ``count @ values``: for a vector this short linear algebra libraries start threads that mostly wait.
        """
        return float((self.count * values).sum())

    def take(self, rows: slice | npt.NDArray[np.bool_] | Ints) -> Histories:
        """Return some rows."""
        return Histories(
            frequency=self.frequency[rows],
            recency_weeks=self.recency_weeks[rows],
            age_weeks=self.age_weeks[rows],
            count=self.count[rows],
        )
