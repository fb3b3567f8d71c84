"""What a board may hold, as its YAML says it.

- kpis: [revenue, orders, average_order]
- line: {of: revenue, every: week, by: channel}
- bars: {of: coupon_use, by: growth_stage}
- table: {of: [orders, revenue], by: [category], top: 12}
- heat: {of: orders, rows: weekday, columns: hour}
- funnel: {steps: [view, cart, purchase], title: "From a look to an order"}
- sql: {title: "Slow movers", query: "SELECT ..."}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, get_args

from features.errors import ConfigError, did_you_mean
from features.insight.boards.dimensions import Dimensions
from features.insight.boards.metrics import Metric, metric_named
from features.insight.definitions import check_choice, check_whole, parsed
from features.insight.funnels.definition import FunnelDefinition

Every = Literal["day", "week", "month"]
_MOST_SERIES: Final = 8  # as many as there are colours that can be told apart


@dataclass(frozen=True, kw_only=True)
class _Titled:
    """What every widget has."""

    title: str = ""

    @property
    def measured(self) -> list[Metric]:
        """The metrics."""
        return []

    @property
    def cuts(self) -> tuple[str, ...]:
        """What the figures are cut by."""
        return ()


@dataclass(frozen=True, kw_only=True)
class _OfOne(_Titled):
    """A widget about one figure."""

    of: str

    def __post_init__(self) -> None:
        metric_named(self.of, where="of")

    @property
    def measured(self) -> list[Metric]:
        """The metric."""
        return [metric_named(self.of, where="of")]


@dataclass(frozen=True, kw_only=True)
class Kpis(_Titled):
    """Figures side by side, each beside the other period's."""

    metrics: tuple[str, ...]
    kind: ClassVar = "kpis"

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ConfigError("metrics: expected at least one metric, found none.")
        for name in self.metrics:
            metric_named(name, where="metrics")

    @property
    def measured(self) -> list[Metric]:
        """The metrics."""
        return [metric_named(name, where="metrics") for name in self.metrics]


@dataclass(frozen=True, kw_only=True)
class Line(_OfOne):
    """One figure over time, a line for each of the largest groups."""

    every: Every = "day"
    by: str = ""
    top: int = 5
    kind: ClassVar = "line"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("every", self.every, get_args(Every))
        check_whole("top", self.top, least=1, most=_MOST_SERIES)

    @property
    def cuts(self) -> tuple[str, ...]:
        """What the figures are cut by."""
        return (self.every, self.by) if self.by else (self.every,)


@dataclass(frozen=True, kw_only=True)
class Bars(_OfOne):
    """One figure of each of the largest groups."""

    by: str
    top: int = 12
    kind: ClassVar = "bars"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("top", self.top, least=1)

    @property
    def cuts(self) -> tuple[str, ...]:
        """What the figures are cut by."""
        return (self.by,)


@dataclass(frozen=True, kw_only=True)
class Heat(_OfOne):
    """One figure by two cuts."""

    rows: str = "weekday"
    columns: str = "hour"
    kind: ClassVar = "heat"

    @property
    def cuts(self) -> tuple[str, ...]:
        """What the figures are cut by."""
        return (self.rows, self.columns)


@dataclass(frozen=True, kw_only=True)
class Table(_Titled):
    """Figures of the largest groups, a row each."""

    of: tuple[str, ...]
    by: tuple[str, ...]
    top: int = 12
    kind: ClassVar = "table"

    def __post_init__(self) -> None:
        for name in ("of", "by"):
            if not isinstance(getattr(self, name), tuple) or not getattr(self, name):
                raise ConfigError(f"{name}: expected a list of at least one name, found {getattr(self, name)!r}.")
        for name in self.of:
            metric_named(name, where="of")
        check_whole("top", self.top, least=1)

    @property
    def measured(self) -> list[Metric]:
        """The metrics."""
        return [metric_named(name, where="of") for name in self.of]

    @property
    def cuts(self) -> tuple[str, ...]:
        """What the figures are cut by."""
        return self.by


@dataclass(frozen=True, kw_only=True)
class Funnel(_Titled):
    """How many go from step to step."""

    definition: FunnelDefinition
    kind: ClassVar = "funnel"


@dataclass(frozen=True, kw_only=True)
class Sql(_Titled):
    """A query of the shop's own over the contract's tables, as ``footfall sql`` runs it."""

    query: str
    kind: ClassVar = "sql"

    def __post_init__(self) -> None:
        if not isinstance(self.query, str) or not self.query.strip():
            raise ConfigError(f"query: expected SQL, found {self.query!r}.")


Widget = Kpis | Line | Bars | Table | Heat | Funnel | Sql
_KINDS: Final[dict[str, type[Any]]] = {kind.kind: kind for kind in (Kpis, Line, Bars, Table, Heat, Funnel, Sql)}


def parse_widget(values: object, *, where: str) -> Widget:
    """Return one widget of a board.

    Args:
        values: a mapping of its kind to what it shows.
        where: such as ``widgets[2]``, for errors.

    Raises:
        ConfigError: it is none, or something in it is unknown.
    """
    known = ", ".join(_KINDS)
    if not isinstance(values, Mapping) or len(values) != 1:
        raise ConfigError(f"{where}: expected one of {known} with what it shows, found {values!r}.")
    [(kind, shows)] = values.items()
    if kind not in _KINDS:
        raise ConfigError(f"{where}: expected one of {known}, found {kind!r}.{did_you_mean(str(kind), _KINDS)}")
    where = f"{where}.{kind}"
    if kind == "kpis" and isinstance(shows, list):
        shows = {"metrics": shows}
    if kind == "table" and isinstance(shows, Mapping):
        shows = {name: [x] if name in ("of", "by") and isinstance(x, str) else x for name, x in shows.items()}
    if kind == "funnel":
        return _parse_funnel(shows, where=where)
    widget: Widget = parsed(_KINDS[kind], shows, where=where)
    return widget


def check_cuts(widget: Widget, dimensions: Dimensions, *, where: str) -> None:
    """Raise where a widget is cut by what the shop's tables do not have.

    Raises:
        ConfigError: it says what they have.
    """
    names = [*widget.cuts, *(metric.name for metric in widget.measured)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}.{widget.kind}: expected each name once, found {name!r} twice.")
    for name in widget.cuts:
        dimensions.check(name, where=f"{where}.{widget.kind}")


def _parse_funnel(shows: object, *, where: str) -> Funnel:
    if not isinstance(shows, Mapping):
        raise ConfigError(f"{where}: expected a mapping with steps, found {shows!r}.")
    rest = {name: value for name, value in shows.items() if name != "title"}
    return Funnel(definition=FunnelDefinition.parse(rest, where=where), title=str(shows.get("title", "")))
