"""What is measured of each user in a test: counts and sums over events, in a window after the user was assigned.

{count: revenue, window_days: 14, winsorise: 0.999}             revenue per user, 14 days each, capped
{count: revenue, per: {count: orders}}                          revenue per order: a ratio of two sums
{count: events, of: view, where: {slot: home_1}, per: {count: events, of: impression, where: {slot: home_1}}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from features import columns as c
from features.contract.tables import EVENTS
from features.errors import ConfigError, did_you_mean
from features.rules.place import Place, choice, event_types, mapping, number, only, text

Count = Literal["users", "events", "orders", "units", "revenue", "days"]
COUNTS: Final[tuple[Count, ...]] = get_args(Count)
DAY_US: Final = 86_400_000_000
_MOST_DAYS: Final = 36_525  # a century
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_TEXTS: Final = tuple(
    column.name for column in EVENTS.columns if column.kind in ("text", "id") and column.name != c.USER_ID
)
_MEASURE_KEYS: Final = ("count", "of", "where")
_METRIC_KEYS: Final = (*_MEASURE_KEYS, "per", "window_days", "winsorise", "covariate_days")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One whole number a user.

    Args:
        count: ``users`` is 1 where the user has such an event, else 0; ``events`` counts rows; ``orders`` distinct
            orders (a user's purchases of one local day where they have no id); ``units`` and ``revenue`` (minor units)
            are sums; ``days`` counts distinct local days.
        of: event types; ``purchase`` where left out.
        where: columns of the event and the texts that they may have.
    """

    count: Count
    of: tuple[str, ...] = (c.PURCHASE,)
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.count not in COUNTS:
            hint = did_you_mean(str(self.count), COUNTS)
            raise ConfigError(f"measure: expected count to be one of {', '.join(COUNTS)}, found {self.count!r}.{hint}")
        for name in self.of:
            if name not in c.EVENT_TYPES:
                hint = did_you_mean(str(name), c.EVENT_TYPES)
                raise ConfigError(f"measure: expected an event type of the contract, found {name!r}.{hint}")
        if not self.of:
            raise ConfigError("measure: expected at least one event type, found none.")
        for column, texts in self.where:
            if column not in _TEXTS:
                hint = did_you_mean(str(column), _TEXTS) or f" It has {', '.join(_TEXTS)}."
                raise ConfigError(f"measure: expected a text column of the events, found {column!r}.{hint}")
            if not texts:
                raise ConfigError(f"measure: expected at least one text for {column!r}, found none.")

    @classmethod
    def parse(cls, values: Any, place: Place) -> Measure:
        """Read ``{count, of, where}``."""
        keys = mapping(values, place)
        only(keys, _MEASURE_KEYS, place)
        if "count" not in keys:
            raise place.error(f"a key 'count' ({', '.join(COUNTS)})", list(keys))
        return cls(
            count=choice(keys["count"], COUNTS, place.at("count")),
            of=event_types(keys.get("of", c.PURCHASE), place.at("of")),
            where=_where(keys.get("where") or {}, place.at("where")),
        )


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A mean over users, or a ratio of two such means.

    Args:
        name: of a column: lower-case letters, digits and underscores.
        value: what is averaged over the users of an arm, or the ratio's upper part.
        per: the ratio's lower part; users where left out.
        window_days: what counts is what happens so many days from the instant of assignment; a user whose window has
            not ended is left out and counted. Nothing: all that the log holds after it.
        winsorise: a user's value above this quantile of all users of the test, zeros included and arms pooled, is taken
            down to it (0.999 caps one in a thousand); parts of a ratio one by one. Nothing caps nothing, and neither does
            a quantile below the least value above 0, as where fewer than one in a thousand bought: it would take all down.
            The effect is then one on the capped metric.
        covariate_days: days before the assignment of which the same metric explains what a user does anyway (CUPED); of a
            conversion, the days with such an event. 0 for no adjustment.
    """

    name: str
    value: Measure
    per: Measure | None = None
    window_days: float | None = None
    winsorise: float | None = None
    covariate_days: float = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"metric {self.name!r}: expected lower-case letters, digits and underscores in its name.")
        if self.window_days is not None and not 0 < self.window_days <= _MOST_DAYS:
            raise ConfigError(
                f"metric {self.name!r}: expected window_days above 0 up to {_MOST_DAYS:,}, found {self.window_days!r}; "
                "leave it out to count all that the log holds."
            )
        if not 0 <= self.covariate_days <= _MOST_DAYS:
            raise ConfigError(
                f"metric {self.name!r}: expected covariate_days from 0 to {_MOST_DAYS:,}, found {self.covariate_days!r}."
            )
        if self.winsorise is not None and not 0.5 < self.winsorise < 1:
            raise ConfigError(
                f"metric {self.name!r}: expected winsorise to be a quantile between 0.5 and 1, such as 0.999, "
                f"found {self.winsorise!r}."
            )

    @classmethod
    def parse(cls, name: str, values: Any, place: Place, *, defaults: Mapping[str, Any] | None = None) -> Metric:
        """Read one metric.

        Args:
            name: its name.
            values: as in the file.
            place: for errors.
            defaults: what ``window_days`` and ``covariate_days`` are where the metric does not say.
        """
        keys = mapping(values, place)
        only(keys, _METRIC_KEYS, place)
        keys = {**(defaults or {}), **keys}
        bounds = {
            key: number(keys[key], place.at(key), least=0, above=key == "window_days")
            for key in ("window_days", "covariate_days", "winsorise")
            if keys.get(key) is not None
        }
        return cls(
            name=name,
            value=Measure.parse({key: keys[key] for key in _MEASURE_KEYS if key in keys}, place),
            per=None if keys.get("per") is None else Measure.parse(keys["per"], place.at("per")),
            **bounds,
        )

    @property
    def window_us(self) -> int | None:
        """Length of the window in microseconds."""
        return None if self.window_days is None else round(self.window_days * DAY_US)

    @property
    def covariate_us(self) -> int:
        """Length of the time before the assignment in microseconds."""
        return round(self.covariate_days * DAY_US)


def _where(values: Any, place: Place) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for column, texts in mapping(values, place).items():
        listed = texts if isinstance(texts, list) else [texts]
        found.append((column, tuple(text(one, place.at(column)) for one in listed)))
    return tuple(found)
