"""What a test is: its arms, its metrics, and when it is looked at.

experiments:
  home_rules:
    control: control
    weights: {control: 0.5, strict: 0.5}
    window_days: 14                         # of every metric that does not say itself
    covariate_days: 28
    metrics:
      conversion: {count: users}
      revenue: {count: revenue, winsorise: 0.999}
      revenue_per_order: {count: revenue, per: {count: orders}}
    looks: {number: 20, users: 40000, spending: obrien_fleming}
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from features import columns as c
from features.errors import ConfigError
from features.insight.experiments.looks import SPENDINGS, Looks
from features.insight.experiments.measure import Measure, Metric
from features.rules.place import Place, choice, mapping, number, only, text

CONTROL: Final = "control"
HOLDOUT: Final = "holdout"
_KEYS: Final = (
    *(
        "control",
        "weights",
        "window_days",
        "covariate_days",
        "metrics",
        "looks",
        "exposure",
        "level",
        "tag",
        "assigned_at",
    ),
)
_LOOK_KEYS: Final = ("number", "users", "spending")

READY_METRICS: Final = (
    Metric(name="conversion", value=Measure(count="users")),
    Metric(name="orders", value=Measure(count="orders")),
    Metric(name="revenue", value=Measure(count="revenue"), winsorise=0.999),
    Metric(name="revenue_per_order", value=Measure(count="revenue"), per=Measure(count="orders")),
    Metric(name="visit_days", value=Measure(count="days", of=(c.VIEW, "view_section", "search", c.CART, c.PURCHASE))),
)


@dataclass(frozen=True, kw_only=True)
class ExperimentDefinition:
    """A randomised test.

    Args:
        name: of the experiment.
        metrics: what is compared; of different names.
        control: the arm that the others are compared with; nothing takes ``control`` or else ``holdout``.
        weights: share of the users that each arm was meant to get; nothing for equal shares.
        looks: the schedule of looks, if the test may be stopped early.
        exposure: an event that shows that a user met what was tried (a message delivered, an impression); tells how
            far users who did not meet it dilute the effect.
        level: of the intervals; read from a mapping, the looks' intervals hold together at it too.
        tag: column of the users table that says who was dealt which arm; the exposures say it where left out.
        assigned_at: instant from which on a tag's arms differ, with its zone; the first message of the campaign that the
            tag is named after (``tag_c001``: c001) where left out.
    """

    name: str
    metrics: tuple[Metric, ...] = READY_METRICS
    control: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    looks: Looks | None = None
    exposure: Measure | None = None
    level: float = 0.95
    tag: str = ""
    assigned_at: dt.datetime | None = None

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        if not names:
            raise ConfigError(f"experiment {self.name!r}: expected at least one metric, found none.")
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"experiment {self.name!r}: expected metrics of different names, found {name!r} twice."
                )
        if not 0.5 <= self.level < 1:
            raise ConfigError(f"experiment {self.name!r}: expected a level such as 0.95, found {self.level!r}.")
        if self.assigned_at is not None and self.assigned_at.tzinfo is None:
            raise ConfigError(
                f"experiment {self.name!r}: expected assigned_at with its zone, such as 2026-03-01T09:00:00+01:00, "
                f"found {self.assigned_at.isoformat()}."
            )
        for arm, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ConfigError(
                    f"experiment {self.name!r}: expected finite weights above 0, found {weight!r} for {arm!r}; leave out an "
                    "arm that nobody was dealt."
                )

    @property
    def alpha(self) -> float:
        """1 - level: of two-sided tests."""
        return round(1 - self.level, 12)

    @classmethod
    def parse(cls, name: str, values: Any, *, where: str) -> ExperimentDefinition:
        """Read a definition.

        Args:
            name: of the experiment.
            values: a mapping as in the module's example; the ready metrics where it names none.
            where: shown in errors, such as ``experiments.home_rules``.

        Raises:
            ConfigError: something is not as it should be.
        """
        place = Place(file=where)
        keys = mapping(values, place)
        only(keys, _KEYS, place)
        defaults = {
            key: number(keys[key], place.at(key), least=0, above=key == "window_days")
            for key in ("window_days", "covariate_days")
            if keys.get(key) is not None
        }
        listed = mapping(keys["metrics"], place.at("metrics")) if "metrics" in keys else {}
        metrics = tuple(
            Metric.parse(str(metric), one, place.at("metrics").at(str(metric)), defaults=defaults)
            for metric, one in listed.items()
        )
        exposure = keys.get("exposure")
        level = number(keys.get("level", 0.95), place.at("level"), least=0.5, most=0.9999)
        return cls(
            name=name,
            metrics=metrics or with_windows(READY_METRICS, **defaults),
            control=text(keys.get("control", ""), place.at("control")),
            weights=_weights(keys.get("weights") or {}, place.at("weights")),
            looks=None if keys.get("looks") is None else _looks(keys["looks"], place.at("looks"), level),
            exposure=None if exposure is None else Measure.parse(exposure, place.at("exposure")),
            tag=text(keys.get("tag", ""), place.at("tag")),
            assigned_at=_instant(keys.get("assigned_at"), place.at("assigned_at")),
            level=level,
        )


def with_windows(
    metrics: tuple[Metric, ...], *, window_days: float | None = None, covariate_days: float = 0
) -> tuple[Metric, ...]:
    """Return metrics with another window and another time before the assignment.

    >>> [metric.window_days for metric in with_windows(READY_METRICS[:1], window_days=14)]
    [14]
    """
    return tuple(replace(metric, window_days=window_days, covariate_days=covariate_days) for metric in metrics)


def _weights(values: Any, place: Place) -> dict[str, float]:
    return {
        str(arm): number(weight, place.at(str(arm)), least=0, above=True)
        for arm, weight in mapping(values, place).items()
    }


def _instant(value: Any, place: Place) -> dt.datetime | None:
    if value is None or isinstance(value, dt.datetime):
        return value
    try:
        return dt.datetime.fromisoformat(text(value, place))
    except ValueError:
        raise place.error("an instant such as 2026-03-01T09:00:00+01:00", value) from None


def _looks(values: Any, place: Place, level: float) -> Looks:
    keys = mapping(values, place)
    only(keys, _LOOK_KEYS, place)
    for key in ("number", "users"):
        if key not in keys:
            raise place.error(f"a key {key!r}", list(keys))
        if not isinstance(keys[key], int) or isinstance(keys[key], bool):
            raise place.at(key).error("a whole number", keys[key])
    spending = choice(keys.get("spending", SPENDINGS[0]), SPENDINGS, place.at("spending"))
    return Looks(number=keys["number"], users=keys["users"], spending=spending, alpha=round(1 - level, 12))
