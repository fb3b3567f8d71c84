"""The days that a campaign is judged by: those of the campaign, and those before it."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Final

from features.errors import ConfigError
from features.insight.definitions import check_whole
from features.insight.inputs import Period

DAYS_BEFORE: Final = 56
BLOCK_DAYS: Final = 7  # whole weeks, so that weekdays weigh alike
_YEAR: Final = dt.timedelta(days=364)  # 52 weeks: the same weekdays


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The days of a campaign and those before it, apart.

    Args:
        before: looked at for comparison; ends before the campaign begins.
        during: from its first day to the last on which it is thought to work.
        block_days: length of the pieces of ``before`` by which its trend is told; what is left over comes first and
            is not used.

    Raises:
        ConfigError: the windows overlap, or no block fits before the campaign.
    """

    before: Period
    during: Period
    block_days: int = BLOCK_DAYS

    def __post_init__(self) -> None:
        check_whole("block_days", self.block_days, least=1)
        if self.before.last_day >= self.during.first_day:
            raise ConfigError(
                f"windows: expected the days before the campaign to end by {self.during.first_day - dt.timedelta(days=1)}, "
                f"found {self.before.first_day} to {self.before.last_day}, which overlap "
                f"{self.during.first_day} to {self.during.last_day}."
            )
        if self.num_blocks < 1:
            raise ConfigError(
                f"windows: expected at least {self.block_days} days before the campaign, found {self.before.num_days}; "
                "ask for a longer window before, or for shorter blocks."
            )

    @classmethod
    def around(
        cls, first_day: dt.date, *, days: int, days_before: int = DAYS_BEFORE, block_days: int = BLOCK_DAYS
    ) -> Windows:
        """Return the windows of a campaign that begins on a day and works for some days.

        >>> Windows.around(dt.date(2024, 3, 29), days=14).before.first_day
        datetime.date(2024, 2, 2)
        """
        check_whole("days", days, least=1)
        check_whole("days_before", days_before, least=1)
        last = first_day - dt.timedelta(days=1)
        return cls(
            before=Period(first_day=last - dt.timedelta(days=days_before - 1), last_day=last),
            during=Period(first_day=first_day, last_day=first_day + dt.timedelta(days=days - 1)),
            block_days=block_days,
        )

    @property
    def num_blocks(self) -> int:
        """Whole blocks before the campaign."""
        return self.before.num_days // self.block_days

    @property
    def blocks(self) -> tuple[Period, ...]:
        """The days before the campaign in equal pieces, earliest first; the last ends where ``before`` does."""
        ends = [self.before.last_day - dt.timedelta(days=self.block_days * n) for n in reversed(range(self.num_blocks))]
        return tuple(Period(first_day=end - dt.timedelta(days=self.block_days - 1), last_day=end) for end in ends)

    @property
    def periods(self) -> tuple[Period, ...]:
        """The blocks, then the campaign."""
        return (*self.blocks, self.during)

    @property
    def a_year_before(self) -> tuple[Period, ...]:
        """The same days 52 weeks earlier."""
        return tuple(
            Period(first_day=period.first_day - _YEAR, last_day=period.last_day - _YEAR) for period in self.periods
        )


def check_apart(periods: tuple[Period, ...]) -> None:
    """Raise where periods overlap.

    Raises:
        ConfigError: it says which.
    """
    ordered = sorted(periods, key=lambda period: period.first_day)
    for earlier, later in itertools.pairwise(ordered):
        if earlier.last_day >= later.first_day:
            raise ConfigError(
                f"windows: expected windows that do not overlap, found {earlier.first_day} to {earlier.last_day} and "
                f"{later.first_day} to {later.last_day}."
            )
