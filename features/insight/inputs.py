"""What the sections of insight pages are made from: the log of a period, and the shop's other tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import duckdb

from features import columns as c
from features.build import ITEMS_FILE, FeatureSet
from features.contract.tables import TABLES
from features.engine import sql_name, sql_text
from features.errors import ConfigError, DataError
from features.parquet import is_table
from features.privacy.consents import ALWAYS, CONSENTS_FILE, NEVER, ConsentBook
from features.report.words import Money
from features.settings import EngineSettings, ShopSettings
from features.tables.sql import run

# When a row of a table happened, by which consent is judged; what a table of customers says has no instant.
_INSTANTS: Final = {"exposures": c.TS, "coupons": "issued_at"}
_EVENTS_FILE: Final = "events.parquet"


@dataclass(frozen=True, kw_only=True)
class Period:
    """Local days that are looked at, both ends included.

    Raises:
        ConfigError: it ends before it begins.
    """

    first_day: dt.date
    last_day: dt.date

    def __post_init__(self) -> None:
        if self.last_day < self.first_day:
            raise ConfigError(f"period: expected a last day from {self.first_day} on, found {self.last_day}.")

    @property
    def num_days(self) -> int:
        """How many days it has."""
        return (self.last_day - self.first_day).days + 1

    @property
    def before(self) -> Period:
        """The days just before it, as many."""
        last = self.first_day - dt.timedelta(days=1)
        return Period(first_day=last - dt.timedelta(days=self.num_days - 1), last_day=last)


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What a section is made from. Relations are lazy, of one connection in UTC.

    Args:
        connection: that computes.
        log: all rows of the event log that may serve analytics.
        period: the days that the page is about.
        compared: other days beside which its figures are held; nothing where left out.
        last_at_us: the log's last instant, UTC microseconds: what had not happened by then may still.
        items: the contract's items.
        data: directory with the contract's other tables (coupons, spend, exposures, users, ...).
        shop: its facts and settings.
        definitions: what the shop wants to see of each subject, from its YAML file: subject -> mapping.
        consents: since when rows of other tables may serve analytics; nothing where all of them may, of customers who
            are in the log.
        engine: for what is computed on a connection of its own.
        scratch: where that one spills; beside the data where left out.
    """

    connection: duckdb.DuckDBPyConnection
    log: duckdb.DuckDBPyRelation
    period: Period
    last_at_us: int
    items: duckdb.DuckDBPyRelation
    shop: ShopSettings
    compared: Period | None = None
    data: Path | None = None
    definitions: Mapping[str, Any] = field(default_factory=dict)
    consents: ConsentBook | None = None
    engine: EngineSettings = EngineSettings()
    scratch: Path | None = None

    @classmethod
    def open(
        cls,
        features: FeatureSet,
        connection: duckdb.DuckDBPyConnection,
        *,
        period: Period | None = None,
        compared: Period | None = None,
        data: Path | None = None,
        definitions: Mapping[str, Any] | None = None,
        engine: EngineSettings = EngineSettings(),
        scratch: Path | None = None,
    ) -> Inputs:
        """Read a feature directory.

        Args:
            features: what ``footfall features`` wrote.
            connection: from ``features.engine``.
            period: the whole log where left out.
            compared: see the class.
            data: the data directory of the log.
            definitions: see the class.
            engine: see the class.
            scratch: see the class.

        Raises:
            DataError: the log has no row of the period, or ``data`` is no data directory.
        """
        if data is not None and not is_table(data / _EVENTS_FILE):
            raise DataError(f"{data}: expected a data directory, with {_EVENTS_FILE}, found none.")
        log = features.event_log
        period = period or Period(first_day=log.first_day, last_day=log.last_day)
        if period.last_day < log.first_day or period.first_day > log.last_day:
            raise DataError(
                f"expected days from {log.first_day} to {log.last_day}, as the log has, "
                f"found {period.first_day} to {period.last_day}."
            )
        return cls(
            connection=connection,
            log=log.relation(connection, purpose=c.ANALYTICS),
            period=period,
            compared=compared,
            last_at_us=int(log.last_at.timestamp() * 1_000_000),
            items=connection.read_parquet(str(features.directory / ITEMS_FILE)),
            data=data,
            shop=features.shop,
            definitions=definitions or {},
            consents=ConsentBook.load(features.directory / CONSENTS_FILE),
            engine=engine,
            scratch=scratch,
        )

    @property
    def rows(self) -> duckdb.DuckDBPyRelation:
        """The log's rows of the period."""
        return self.rows_of(self.period)

    def rows_of(self, period: Period) -> duckdb.DuckDBPyRelation:
        """Return the log's rows of some days."""
        first, last = (sql_text(day.isoformat()) for day in (period.first_day, period.last_day))
        return self.log.filter(f"{c.LOCAL_DAY} BETWEEN DATE {first} AND DATE {last}")

    def instants(self, period: Period) -> tuple[int, int]:
        """Return when the first of some days begins and the last one ends, UTC microseconds, in the shop's zone."""
        zone, midnight = self.shop.zone, dt.time()
        ends = period.first_day, period.last_day + dt.timedelta(days=1)
        first, last = (round(dt.datetime.combine(day, midnight, zone).timestamp() * 1_000_000) for day in ends)
        return first, last

    @property
    def last_day(self) -> dt.date:
        """The log's last local day, which is not over."""
        return dt.datetime.fromtimestamp(self.last_at_us / 1e6, self.shop.zone).date()

    def known_until_us(self, period: Period) -> int:
        """Return the last instant up to which the log tells of some days, UTC microseconds."""
        return min(self.instants(period)[1] - 1, self.last_at_us)

    def table(self, name: str) -> duckdb.DuckDBPyRelation | None:
        """Return a table of the contract, such as ``coupons``; nothing where the shop has none, or it is empty.

        Rows of customers are theirs by the log's ids, and only of those of whom the log has rows that may serve
        analytics; a row with an instant counts if consent held by then. An id that the log gives to several
        customers is nobody's, and neither are its rows.
        """
        assert name in TABLES, name
        path = None if self.data is None else self.data / f"{name}.parquet"
        if path is None or not path.is_file():
            return None
        rows = self.connection.read_parquet(str(path))
        if c.USER_ID in rows.columns:
            rows = self.of_customers(rows, at=_INSTANTS.get(name))
        return rows if rows.limit(1).select("1").fetchall() else None

    def of_customers(self, rows: duckdb.DuckDBPyRelation, *, at: str | None) -> duckdb.DuckDBPyRelation:
        """Return rows of a table, or of what the service logged, under their customers, as ``table`` does.

        Args:
            rows: with user_id.
            at: the column with a row's instant, when consent must hold; nothing where rows have none.
        """
        others = ", ".join(f"t.{sql_name(column)}" for column in rows.columns if column != c.USER_ID)
        held = f"epoch_us(t.{at}) >= k.from_us" if at else "true"
        return run(
            f"SELECT k.user_id, {others} FROM {{rows}} t JOIN {{known}} k ON t.user_id = k.source_user_id WHERE {held}",
            rows=rows, known=self._known,
        )  # fmt: skip

    def titles(self, item_ids: Iterable[str]) -> dict[str, str]:
        """Return what items are called: title and id; those without a title are left out."""
        wanted = ", ".join(sql_text(item_id) for item_id in sorted(set(item_ids)))
        if not wanted:
            return {}
        rows = self.items.filter(f"{c.ITEM_ID} IN ({wanted})").select(f"{c.ITEM_ID}, {c.TITLE}").fetchall()
        return {item_id: f"{title} ({item_id})" for item_id, title in rows if title}

    @cached_property
    def _known(self) -> duckdb.DuckDBPyRelation:
        """Each id that the log's rows arrived under and that is one customer's: whose, and since when consent holds."""
        arrived = f"coalesce({c.SOURCE_USER_ID}, {c.USER_ID})"
        pairs = self.log.aggregate(
            f"{arrived} AS {c.SOURCE_USER_ID}, min({c.USER_ID}) AS {c.USER_ID}, max({c.USER_ID}) AS other", arrived
        )
        book = self.consents or ConsentBook.of_default(granted=True)
        known = run(
            f"""
            SELECT p.{c.SOURCE_USER_ID}, p.{c.USER_ID}, coalesce(s.from_us, {ALWAYS if book.otherwise else NEVER}) AS from_us
            FROM {{pairs}} p LEFT JOIN {{since}} s ON s.{c.USER_ID} = p.{c.USER_ID} WHERE p.{c.USER_ID} = p.other""",
            pairs=pairs, since=self.connection.from_arrow(book.since(c.ANALYTICS)),
        )  # fmt: skip
        return self.connection.from_arrow(known.to_arrow_table())

    @property
    def minimum(self) -> int:
        """The fewest customers that are shown together."""
        return self.shop.privacy.minimum_group

    @property
    def money(self) -> Money:
        """How amounts are written."""
        return Money.of(self.shop)
