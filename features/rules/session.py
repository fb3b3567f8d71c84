"""Rules over a feature directory's log and customer table, in DuckDB: whom they are true of, since when, and why.

    session.holders(rule)  ->  user_id, start_us, end_us, evidence

Evidence is a JSON list with one entry a leaf: what was asked, and the value or the events that answer it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb
import narwhals as nw
import pandas as pd

from features import columns as c
from features.customers.registry import COLUMNS
from features.customers.table import CustomerTable
from features.engine import private_connection, sql_name, sql_text
from features.event_log import EventLog
from features.rules.compile import BY_USER, Compiler
from features.rules.conditions import ColumnTest, Condition, Leaf, Rule, leaves
from features.rules.known_fields import Nature, nature_of
from features.rules.parse import Columns
from features.rules.rows import end_of_day_us, rule_rows
from features.rules.spells import FOREVER
from features.rules.words import in_words
from features.settings import EngineSettings, ShopSettings

_LAST = "last_item_id"


def columns_at_hand(frame: pd.DataFrame) -> Columns:
    """Return the columns of a customer table and how their values are compared; nothing for lists of numbers."""
    return {str(name): _nature(str(name), frame[name]) for name in frame if name != c.USER_ID}


def _nature(name: str, values: pd.Series) -> Nature | None:
    if name in COLUMNS:
        return nature_of(COLUMNS[name].kind, COLUMNS[name].unit)
    if pd.api.types.is_bool_dtype(values):
        return "flag"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    return "day" if pd.api.types.is_datetime64_any_dtype(values) else "text"


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleSession:
    """A log and a customer table, ready for rules.

    Args:
        connection: all relations live on it.
        compiler: evaluates conditions a user.
        as_of_us: the instant, UTC microseconds; no later event is looked at.
    """

    connection: duckdb.DuckDBPyConnection
    compiler: Compiler
    as_of_us: int

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        event_log: EventLog,
        items: Path,
        customers: CustomerTable,
        *,
        shop: ShopSettings,
        purpose: str = c.ANALYTICS,
        engine: EngineSettings = EngineSettings(),
        as_of_us: int | None = None,
    ) -> Iterator[RuleSession]:
        """Yield a session as of the end of the customer table's day, or of an instant on it.

        Args:
            event_log: the clean log.
            items: the contract's items, a Parquet file.
            customers: as of some day; the log is read up to its end.
            shop: its time zone.
            purpose: which rows of the log may be read: audiences and triggers that write to people need
                ``personalisation``.
            engine: memory limit, threads, where to spill.
            as_of_us: the instant, UTC microseconds, where the day is not over yet.
        """
        as_of_us = end_of_day_us(customers.as_of, shop.zone) if as_of_us is None else as_of_us
        with private_connection(engine, beside=event_log.path.parent) as connection:
            events = event_log.relation(connection, purpose=purpose)
            rows = rule_rows(events, connection.read_parquet(str(items)), as_of_us=as_of_us)
            connection.execute(f"CREATE TEMP TABLE rule_rows AS {rows.sql_query()}")
            connection.register("rule_customers", customers.frame)
            compiler = Compiler(
                rows=cast(Any, nw.from_native(connection.table("rule_rows"))),
                customers=cast(Any, nw.from_native(connection.sql("FROM rule_customers"))),
                as_of_us=as_of_us,
                as_of=customers.as_of,
                natures=columns_at_hand(customers.frame),
            )
            yield cls(connection=connection, compiler=compiler, as_of_us=as_of_us)

    def user_ids(self, condition: Condition) -> pd.Series:
        """Return whom a condition is true of, in order."""
        held = self.compiler.holding(condition).to_native()
        return cast(pd.DataFrame, held.select(c.USER_ID).order(c.USER_ID).df())[c.USER_ID]

    def holders(self, rule: Rule, *, by: Sequence[str] = BY_USER) -> pd.DataFrame:
        """Return whom a rule is true of, and why.

        Returns:
            the key's columns, start_us, end_us (``FOREVER`` where nothing tells when it lapses), evidence (JSON).
        """
        compiler = self.compiler_by(by)
        parts = list(leaves(rule.when))
        compiler.holding(rule.when).to_native().create_view("rule_held", replace=True)
        joins, entries = [], []
        for number, leaf in enumerate(parts):
            joins.append(self._join(compiler, leaf, f"leaf_{number}", by))
            entries.append(_entry(leaf, f"leaf_{number}"))
        keys = ", ".join(f"held.{name}" for name in by)
        return self.connection.sql(f"""
            SELECT {keys}, held.start_us, held.end_us, json_array({", ".join(entries)})::VARCHAR AS evidence
            FROM rule_held AS held {" ".join(joins)} ORDER BY {keys}""").df()

    def num_users(self) -> int:
        """Return how many customers the session's log knows."""
        return int(self.connection.sql("SELECT count(DISTINCT user_id) FROM rule_rows").fetchall()[0][0])

    def profile_column(self, name: str) -> dict[str, float]:
        """Return a number of the customer table by user; empty where it has no such column."""
        if name not in (self.compiler.natures or {}):
            return {}
        rows = self.connection.sql(f"SELECT user_id, {sql_name(name)}::DOUBLE FROM rule_customers").fetchall()
        return {user: value for user, value in rows if value is not None}

    def compiler_by(self, by: Sequence[str]) -> Compiler:
        """Return the session's compiler for another key."""
        return Compiler(
            rows=self.compiler.rows, customers=self.compiler.customers, as_of_us=self.as_of_us,
            as_of=self.compiler.as_of, by=by, natures=self.compiler.natures,
        )  # fmt: skip

    def _join(self, compiler: Compiler, leaf: Leaf, alias: str, by: Sequence[str]) -> str:
        if isinstance(leaf, ColumnTest):
            return f"LEFT JOIN rule_customers AS {alias} ON {alias}.user_id = held.user_id"
        compiler.evidence(leaf).to_native().create_view(alias, replace=True)
        return f"LEFT JOIN {alias} ON " + " AND ".join(f"{alias}.{name} = held.{name}" for name in by)


def instant(at_us: int) -> str | None:
    """Return UTC microseconds as ISO text; nothing for ``FOREVER``."""
    if at_us >= FOREVER:
        return None
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at_us)).isoformat()


def instants(at_us: pd.Series) -> pd.Series:
    """Return UTC microseconds as UTC instants; missing for ``FOREVER``."""
    known = at_us.where(at_us < FOREVER)
    return pd.to_datetime(known.astype("Int64"), unit="us", utc=True).astype("datetime64[us, UTC]")


def _entry(leaf: Leaf, alias: str) -> str:
    """SQL of one entry of the evidence."""
    what = sql_text(in_words(leaf))
    if isinstance(leaf, ColumnTest):
        return f"json_object('what', {what}, 'value', {alias}.{sql_name(leaf.column)})"
    return (
        f"json_object('what', {what}, 'found', coalesce({alias}.level, 0), 'events', coalesce({alias}.num_events, 0), "
        f"'first_at', strftime(make_timestamp({alias}.first_us), '%Y-%m-%dT%H:%M:%SZ'), "
        f"'last_at', strftime(make_timestamp({alias}.last_us), '%Y-%m-%dT%H:%M:%SZ'), 'last_item_id', {alias}.{_LAST})"
    )
