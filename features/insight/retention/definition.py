"""What a retention table is asked: whose first event, which return, counted how."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Final, Literal, get_args

from features.errors import ConfigError
from features.insight.cuts import CUTS
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.insight.retention.periods import COHORTS, PERIODS, Cohorts, Period, checked_day
from features.tables.visits import VISIT_EVENTS

Mode = Literal["bracket", "unbounded", "rolling"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)


@dataclass(frozen=True, kw_only=True)
class RetentionDefinition:
    """A retention table.

    Args:
        start: event types whose first occurrence makes a customer a member of a cohort; left out, anything that a
            customer does in the shop.
        returns: event types that count as coming back; left out, the same.
        mode: ``bracket``: came in the period. ``unbounded``: in the period or later, up to the end of ``num_periods`` or
            of the last bracket. ``rolling``: in it and in every period before it.
        period: calendar periods, weeks from Monday; period k is the k-th after that of the first event.
        brackets: instead of calendar periods, the days after each customer's own first day on which brackets begin,
            and at last the day on which the last has ended: (1, 3, 7) is days 1 to 2, and 3 to 6.
        cohorts: what cohorts are by; left out, by the period (by week with brackets). ``all`` is one cohort.
        by: a column of the log that splits cohorts by its value on the first event, such as ``channel``: of ``CUTS``.
        num_periods: the most periods that are counted; 0 is all. Under ``unbounded`` it is how long everyone is followed;
            with 0 old cohorts are followed for longer than young ones, and no cell is ever complete.
        since: cohorts begin on this day; who was there before is left out.
    """

    start: tuple[str, ...] = VISIT_EVENTS
    returns: tuple[str, ...] = VISIT_EVENTS
    mode: Mode = "bracket"
    period: Period = "week"
    brackets: tuple[int, ...] = ()
    cohorts: Cohorts | None = None
    by: str = ""
    num_periods: int = 0
    since: dt.date | None = None

    def __post_init__(self) -> None:
        check_event_types("start", self.start, some=True)
        check_event_types("returns", self.returns, some=True)
        check_choice("mode", self.mode, MODES)
        check_choice("period", self.period, PERIODS)
        if self.cohorts is not None:
            check_choice("cohorts", self.cohorts, COHORTS)
        check_whole("num_periods", self.num_periods, least=0)
        _check_brackets(self.brackets)
        if self.by:
            check_choice("by", self.by, CUTS)
        if self.since is not None:
            checked_day("since", self.since)
        if not self.brackets and self.cohorts not in (None, self.period, "all"):
            raise ConfigError(
                f"cohorts: expected {self.period} or all with periods of a {self.period}, found {self.cohorts!r}; "
                "with brackets, days count from each customer's own first day and any cohort does."
            )

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> RetentionDefinition:
        """Read a definition from a YAML mapping.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where)

    @property
    def clock(self) -> Period:
        """What members of a cohort start on: its period, or the day where brackets count from it."""
        return "day" if self.brackets else self.period

    @property
    def follow_up(self) -> int:
        """Under ``unbounded``: the period, or bracket, up to whose end returns count; 0 where it is the log's end."""
        if self.mode != "unbounded":
            return 0
        brackets = len(self.brackets) - 1 if self.brackets else 0
        return min(brackets, self.num_periods or brackets) if brackets else self.num_periods

    @property
    def cohort_period(self) -> Cohorts:
        """What cohorts are by."""
        return self.cohorts or ("week" if self.brackets else self.period)


def _check_brackets(brackets: object) -> None:
    if not isinstance(brackets, tuple):
        raise ConfigError(f"brackets: expected a list of days, found {brackets!r}.")
    for day in brackets:
        check_whole("brackets", day, least=1)
    if len(brackets) == 1 or any(one >= other for one, other in itertools.pairwise(brackets)):
        raise ConfigError(f"brackets: expected two or more rising days such as [1, 3, 7, 14, 30], found {brackets}.")
