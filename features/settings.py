"""What a shop sets once: its zone, money, consent rule, clocks and the engine its tables run on.

A data directory holds these in ``shop.yaml``; every field can be overridden on the command line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml

from features import columns as c
from features.customers.settings import GrowthSettings, ValueSettings
from features.errors import ConfigError, did_you_mean
from features.identity.settings import IdentitySettings

SHOP_FILE = "shop.yaml"
EngineName = Literal["duckdb", "pyspark"]
ENGINES: Final[tuple[EngineName, ...]] = get_args(EngineName)
_MASTER: Final = re.compile(r"spark://\S+|yarn|k8s://\S+|local(\[(\d+|\*)(,\d+)?\]|-cluster\[.+\])?")
Repeat = Literal["allow", "discount", "exclude"]
REPEATS: Final[tuple[Repeat, ...]] = get_args(Repeat)
# What one event counts for preferences, where a shop says nothing else.
_EVENT_WEIGHTS: Final[Mapping[str, int]] = {c.VIEW: 1, c.FAVORITE: 3, c.CART: 4, c.PURCHASE: 8}
MAX_PRICE_BANDS = 100  # a band is an int8 in every sequence


@dataclass(frozen=True, kw_only=True)
class LifecycleSettings:
    """The two clocks of the customer lifecycle, in days before ``as_of``.

    Args:
        new_days: first purchase at most this many days ago.
        active_days: bought at most this many days ago.
        cooling_purchase_days: bought at most this many days ago, and ...
        cooling_interaction_days: ... interacted at most this many days ago.
        dormant_interaction_days: no interaction for this many days.
        churned_purchase_days: no purchase for this many days.
    """

    new_days: int = 30
    active_days: int = 30
    cooling_purchase_days: int = 180
    cooling_interaction_days: int = 90
    dormant_interaction_days: int = 90
    churned_purchase_days: int = 180

    def __post_init__(self) -> None:
        for name, days in vars(self).items():
            _whole(f"lifecycle.{name}", days, least=0)


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """What reports may show of small groups.

    Args:
        minimum_group: figures about fewer customers than these are not shown.
    """

    minimum_group: int = 10

    def __post_init__(self) -> None:
        _whole("privacy.minimum_group", self.minimum_group, least=1)


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """What the customer profile counts, and how fast it forgets.

    Args:
        visit_gap_minutes: a longer pause ends a visit that has no session id.
        half_life_days: days after which an event counts half for preferred categories, brands and price bands.
        event_weights: what one event counts for preferences, by type; types left out count nothing.
        quiet_hours: length of the quiet stretch of a day, 1 to 23.
        hour_prior: visits of the shop's hours that are mixed with each customer's own.
        min_chances: messages, coupons or promotions of one kind that it takes before a customer is said to answer
            to that kind.
        list_price_days: length of the periods within which an item has one list price.
        list_price_percent: the list price is the price that so many percent of an item's rows do not exceed.
        min_discount_percent: a price so far below the list price, or further, is a discount.
    """

    visit_gap_minutes: int = 30
    half_life_days: int = 60
    event_weights: Mapping[str, int] = field(default_factory=lambda: dict(_EVENT_WEIGHTS))
    quiet_hours: int = 8
    hour_prior: int = 10
    min_chances: int = 3
    list_price_days: int = 56
    list_price_percent: int = 90
    min_discount_percent: int = 5

    def __post_init__(self) -> None:
        for name, most in _PROFILE_MOST.items():
            _whole(f"profile.{name}", getattr(self, name), least=1, most=most)
        if not isinstance(self.event_weights, Mapping) or not self.event_weights:
            raise ConfigError(f"profile.event_weights: expected event types and weights, found {self.event_weights!r}.")
        for event_type, weight in self.event_weights.items():
            if event_type not in c.ITEM_EVENT_TYPES:
                hint = did_you_mean(str(event_type), c.ITEM_EVENT_TYPES)
                raise ConfigError(f"profile.event_weights: {event_type!r} is not an item event of the contract.{hint}")
            _whole(f"profile.event_weights.{event_type}", weight, least=0)


_PROFILE_MOST: Final[dict[str, int | None]] = {
    "visit_gap_minutes": None,
    "half_life_days": None,
    "quiet_hours": 23,
    "hour_prior": None,
    "min_chances": None,
    "list_price_days": None,
    "list_price_percent": 100,
    "min_discount_percent": 99,
}


@dataclass(frozen=True, kw_only=True)
class ShopSettings:
    """Facts about the shop that every stage needs.

    Args:
        name: shown in reports.
        time_zone: IANA name; local days and hours are computed in it, once, by the event log.
        currency: ISO 4217 code of the one currency.
        minor_units: minor units in one major unit (100 cents in a dollar).
        country: ISO 3166 code, for holidays.
        consent_default: what holds where no consents table is given; with one, a user or purpose without a row
            has not granted.
        event_types: item events that enter a behaviour sequence; at least one.
        num_price_bands: price bands within each top-level category, 1 to 100.
        repeat: whether lists of suggestions show what the customer bought before. ``exclude``: never (a bookshop).
            ``allow``: by how often it was bought. ``discount``: also by when, so that an item that is not due yet is
            held back (a grocer).
        lifecycle: the clocks of the customer lifecycle.
        profile: what the customer profile counts.
        privacy: what reports may show of small groups.
        identity: which ids make one customer.
        growth: when a customer grows, falls silent or is lost.
        value: how far ahead purchases, churn and value are expected.
    """

    name: str = "shop"
    time_zone: str = "UTC"
    currency: str = "USD"
    minor_units: int = 100
    country: str = "US"
    consent_default: Literal["granted", "denied"] = "granted"
    event_types: tuple[str, ...] = (c.VIEW, c.FAVORITE, c.CART, c.PURCHASE)
    num_price_bands: int = 5
    repeat: Repeat = "discount"
    lifecycle: LifecycleSettings = field(default_factory=LifecycleSettings)
    profile: ProfileSettings = field(default_factory=ProfileSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    growth: GrowthSettings = field(default_factory=GrowthSettings)
    value: ValueSettings = field(default_factory=ValueSettings)

    def __post_init__(self) -> None:
        _whole("minor_units", self.minor_units, least=1)
        _whole("num_price_bands", self.num_price_bands, least=1, most=MAX_PRICE_BANDS)
        if self.time_zone not in available_timezones():
            hint = did_you_mean(str(self.time_zone), available_timezones())
            raise ConfigError(
                f"time_zone: expected an IANA zone name such as 'Europe/Paris', found {self.time_zone!r}.{hint}"
            )
        if self.consent_default not in ("granted", "denied"):
            raise ConfigError(f"consent_default: expected 'granted' or 'denied', found {self.consent_default!r}.")
        if self.repeat not in REPEATS:
            raise ConfigError(f"repeat: expected one of {', '.join(REPEATS)}, found {self.repeat!r}.")
        if not self.event_types:
            raise ConfigError(f"event_types: expected at least one of {sorted(c.ITEM_EVENT_TYPES)}, found none.")
        for name in self.event_types:
            if name not in c.ITEM_EVENT_TYPES:
                hint = did_you_mean(str(name), c.ITEM_EVENT_TYPES)
                raise ConfigError(f"event_types: {name!r} is not an item event of the contract.{hint}")

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.time_zone)

    def save(self, directory: Path) -> None:
        """Write ``shop.yaml`` into ``directory``."""
        values = dataclasses.asdict(self)
        values["event_types"] = list(self.event_types)
        (directory / SHOP_FILE).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> ShopSettings:
        """Read ``shop.yaml`` from ``directory``; defaults hold where the file is absent.

        Raises:
            ConfigError: the file is no YAML, a key is unknown or a value does not fit.
        """
        path = directory / SHOP_FILE
        if not path.exists():
            return cls()
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected YAML, found something else ({error}).") from None
        _refuse_unknown_keys(values, cls, where=str(path))
        for name, kind in _GROUPS.items():
            group = values.get(name) or {}
            _refuse_unknown_keys(group, kind, where=f"{path}: {name}")
            values[name] = kind(**{key: tuple(x) if isinstance(x, list) else x for key, x in group.items()})
        if "event_types" in values:
            if not isinstance(values["event_types"], list):
                raise ConfigError(f"{path}: expected event_types as a list, found {values['event_types']!r}.")
            values["event_types"] = tuple(values["event_types"])
        return cls(**values)


# Settings of the shop that are groups of settings themselves.
_GROUPS: Final[dict[str, type]] = {
    "lifecycle": LifecycleSettings,
    "profile": ProfileSettings,
    "privacy": PrivacySettings,
    "identity": IdentitySettings,
    "growth": GrowthSettings,
    "value": ValueSettings,
}


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Where tables are computed.

    Args:
        name: ``duckdb``, on this machine; or ``pyspark``, on a Spark cluster.
        master: the cluster's URL, such as ``spark://host:7077``; ``pyspark`` needs one, ``duckdb`` takes none.
        memory_limit: the most memory a build may use, such as ``4GB``: DuckDB spills at three quarters of it, and the rest
            is for ids in Python, 0.2 GB a million items, and for what DuckDB does not count.
        threads: DuckDB's threads; 0 means one per core.
        temp_directory: where DuckDB spills; empty means beside the output.
    """

    name: EngineName = "duckdb"
    master: str = ""
    memory_limit: str = "4GB"
    threads: int = 0
    temp_directory: str = ""

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ConfigError(f"engine.name: expected one of {', '.join(ENGINES)}, found {self.name!r}.")
        if self.name != "pyspark" and self.master:
            raise ConfigError(
                f"engine.master: expected none with engine.name {self.name!r}, found {self.master!r}; choose pyspark."
            )
        if self.name == "pyspark" and not _MASTER.fullmatch(self.master):
            raise ConfigError(
                "engine.master: expected a Spark master such as 'spark://host:7077', 'yarn', 'k8s://https://host:443' or "
                f"'local[2]', found {self.master!r}."
            )

    @property
    def on_driver(self) -> EngineSettings:
        """The same limits for what one machine computes in DuckDB, beside a cluster."""
        return dataclasses.replace(self, name="duckdb", master="")


def _whole(name: str, value: object, *, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name}: expected a whole number {span}, found {value!r}.")


def _refuse_unknown_keys(values: Any, settings: type, *, where: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of settings, found {type(values).__name__}.")
    known = [f.name for f in dataclasses.fields(settings)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown setting {key!r}.{did_you_mean(str(key), known)}")
