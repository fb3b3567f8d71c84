"""A board: what it shows, of which days, beside which others, as its YAML file says.

title: Autumn at a glance
period: {days: 28}              the log's last 28 days; or {from: 2026-09-01, to: 2026-09-30}
compare: before                 the days before, as many; or {from: ..., to: ...}; or nothing
widgets:                        see ``features.insight.boards.widgets``
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from features.errors import ConfigError
from features.insight.boards.dimensions import Dimensions
from features.insight.boards.widgets import Widget, check_cuts, parse_widget
from features.insight.definitions import check_choice, check_whole
from features.insight.inputs import Period
from features.rules.place import read_yaml

READY: Final = "ready"
_READY_FILE: Final = Path(__file__).with_name("ready.yaml")
_KEYS: Final = ("title", "period", "compare", "widgets")
_BEFORE: Final = "before"
_DAYS: Final = 28


@dataclass(frozen=True, kw_only=True)
class Span:
    """Days that are asked for: two ends, or so many up to the last day of the log."""

    days: int = _DAYS
    first_day: dt.date | None = None
    last_day: dt.date | None = None

    @classmethod
    def parse(cls, values: object, *, where: str) -> Span:
        """Read ``{days: 28}`` or ``{from: 2026-09-01, to: 2026-09-30}``.

        Raises:
            ConfigError: it is neither.
        """
        if isinstance(values, Mapping) and set(values) == {"days"}:
            check_whole(f"{where}.days", values["days"], least=1)
            return cls(days=values["days"])
        days = [values.get(name) for name in ("from", "to")] if isinstance(values, Mapping) else []
        if not isinstance(values, Mapping) or set(values) != {"from", "to"} or not all(map(_is_day, days)):
            raise ConfigError(
                f"{where}: expected {{days: 28}} or {{from: 2026-09-01, to: 2026-09-30}}, found {values!r}."
            )
        return cls(first_day=days[0], last_day=days[1])

    def of(self, first_day: dt.date, last_day: dt.date) -> Period:
        """Return the days, of a log from ``first_day`` to ``last_day``."""
        if self.first_day is not None and self.last_day is not None:
            return Period(first_day=self.first_day, last_day=self.last_day)
        return Period(first_day=max(first_day, last_day - dt.timedelta(days=self.days - 1)), last_day=last_day)


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a board shows.

    Args:
        title: above it.
        widgets: in order.
        period: the days it is about.
        compare: the days it is held beside; ``before`` for those just before, nothing for none.
    """

    title: str
    widgets: tuple[Widget, ...]
    period: Span = Span()
    compare: Span | str | None = None

    @classmethod
    def read(cls, file: str | Path) -> Board:
        """Read a board's file, or the one that is ready.

        Raises:
            ConfigError: the file is missing, no YAML, or something in it is unknown.
        """
        path = _READY_FILE if str(file) == READY else Path(file)
        return cls.parse(read_yaml(path), where=str(file))

    @classmethod
    def parse(cls, values: object, *, where: str) -> Board:
        """Return the board that a mapping describes.

        Raises:
            ConfigError: something in it is missing or unknown.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where}: expected a mapping of {', '.join(_KEYS)}, found {values!r}.")
        for name in values:
            check_choice(where, name, _KEYS)
        listed = values.get("widgets")
        if not isinstance(listed, list) or not listed:
            raise ConfigError(f"{where}: expected widgets, a list of at least one, found {listed!r}.")
        widgets = tuple(parse_widget(one, where=f"{where}: widgets[{place}]") for place, one in enumerate(listed))
        compare: Any = values.get("compare")
        if compare is not None and compare != _BEFORE:
            compare = Span.parse(compare, where=f"{where}: compare")
        period = Span.parse(values.get("period", {"days": _DAYS}), where=f"{where}: period")
        return cls(title=str(values.get("title") or Path(where).stem), widgets=widgets, period=period, compare=compare)

    def check(self, dimensions: Dimensions, *, where: str) -> None:
        """Raise where a widget is cut by what the shop's tables do not have.

        Raises:
            ConfigError: it says which widget, and what they have.
        """
        for place, widget in enumerate(self.widgets):
            check_cuts(widget, dimensions, where=f"{where}: widgets[{place}]")

    def periods(self, first_day: dt.date, last_day: dt.date) -> tuple[Period, Period | None]:
        """Return the days, and those beside them, of a log from ``first_day`` to ``last_day``."""
        period = self.period.of(first_day, last_day)
        if self.compare is None:
            return period, None
        compared = self.compare.of(first_day, last_day) if isinstance(self.compare, Span) else period.before
        return period, None if compared.last_day < first_day else compared


def _is_day(value: object) -> bool:
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)
