"""One function, three engines: integers exact, floats to 1e-9 relative."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from features import columns as c
from features.contract.tables import EVENTS, ITEMS
from features.errors import ConfigError
from features.settings import LifecycleSettings
from features.tables import (
    favourite_category,
    interactions,
    item_days,
    last_seen,
    lifecycle,
    purchases,
    rfm,
    with_local_time,
)
from tests.features.engines import assert_equal_tables, canonical
from tests.features.tiny_shop import arrow_table, event, utc

pytestmark = pytest.mark.xdist_group("spark")
AS_OF = dt.date(2024, 12, 31)


def _events(num_rows: int = 300) -> pa.Table:
    generator = random.Random(7)
    kinds = ["view", "view", "cart", "favorite", "purchase", "purchase", "login", "message_sent", "impression"]
    rows = []
    for _ in range(num_rows):
        kind = generator.choice(kinds)
        item = None if kind in ("login", "message_sent") else f"i{generator.randrange(12)}"
        at = utc("2024-01-01 00:00") + dt.timedelta(minutes=generator.randrange(366 * 24 * 60))
        more = {
            "order_id": generator.choice([None, f"o{generator.randrange(80)}"]),
            "quantity": generator.choice([None, 1, 2, 5]),
            "price": generator.choice([None, 199, 250, 10_000]),
            "region": generator.choice([None, "north", "south"]),
            "device_id": generator.choice([None, "d1", "d2"]),
        }
        rows.append(event(f"u{generator.randrange(40)}", kind, at, item, **more))
    events = arrow_table(EVENTS, rows)
    days = [at.date() for at in events["ts"].to_pylist()]
    return events.append_column(c.LOCAL_DAY, pa.array(days, pa.date32()))


def _items() -> pa.Table:
    paths = ["food/fruit", "food/bread", "home", "home/garden/hose", None, ""]
    return arrow_table(ITEMS, [{"item_id": f"i{n}", "category": paths[n % 6]} for n in range(12)])


TABLES: dict[str, Callable[[Any, Any], Any]] = {
    "purchases": lambda events, items: purchases(events),
    "interactions": lambda events, items: interactions(events),
    "rfm": lambda events, items: rfm(purchases(events), as_of=AS_OF),
    "item_days": lambda events, items: item_days(events),
    "favourite_category": favourite_category,
    "last_region": lambda events, items: last_seen(events, c.REGION),
}
KEYS = {"item_days": [c.ITEM_ID, c.LOCAL_DAY]}


@pytest.fixture(scope="module")
def pandas_frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    return _events().to_pandas(date_as_object=False), _items().to_pandas()


@pytest.mark.parametrize("name", TABLES)
def test_table_when_run_by_duckdb_then_equal_to_pandas(
    name: str, pandas_frames: tuple[Any, Any], connection: duckdb.DuckDBPyConnection
) -> None:
    keys = KEYS.get(name, [c.USER_ID])
    expected = canonical(TABLES[name](*pandas_frames), keys)
    found = TABLES[name](connection.from_arrow(_events()), connection.from_arrow(_items()))
    assert isinstance(found, duckdb.DuckDBPyRelation)
    assert_equal_tables(canonical(found, keys), expected)
    assert len(expected) > 10


@pytest.mark.parametrize("name", TABLES)
def test_table_when_run_by_pyspark_then_equal_to_pandas(name: str, pandas_frames: tuple[Any, Any], spark: Any) -> None:
    keys = KEYS.get(name, [c.USER_ID])
    expected = canonical(TABLES[name](*pandas_frames), keys)
    found = TABLES[name](spark.createDataFrame(_events()), spark.createDataFrame(_items()))
    assert_equal_tables(canonical(found, keys), expected)


def _clocks() -> pa.Table:
    generator = random.Random(3)
    rows = []
    for user in range(300):
        quiet = generator.choice([0, 29, 30, 31, 89, 90, 91, 179, 180, 181, 400])
        last = generator.choice([None, quiet, quiet + 1, quiet + 90, 180, 181])
        first = None if last is None else max(last, quiet) + generator.choice([0, 1, 200])
        rows.append((f"u{user:03}", first, None if last is None else max(last, quiet), quiet))
    ago = [
        [None if days is None else AS_OF - dt.timedelta(days=days) for days in column]
        for column in zip(*[row[1:] for row in rows], strict=True)
    ]
    names = ["first_purchase_day", "last_purchase_day", "last_interaction_day"]
    days = {name: pa.array(values, pa.date32()) for name, values in zip(names, ago, strict=True)}
    return pa.table({c.USER_ID: [row[0] for row in rows], **days})


def test_lifecycle_when_run_by_each_engine_then_equal(connection: duckdb.DuckDBPyConnection, spark: Any) -> None:
    clocks = _clocks()
    frames = [clocks.to_pandas(date_as_object=False), connection.from_arrow(clocks), spark.createDataFrame(clocks)]
    stages = [lifecycle(frame, as_of=AS_OF, settings=LifecycleSettings()) for frame in frames]
    expected, *others = [canonical(stage, [c.USER_ID]) for stage in stages]
    assert set(expected["lifecycle"]) == {"prospect", "new", "active", "cooling", "dormant", "churned"}
    for other in others:
        assert_equal_tables(other, expected)


def test_local_time_when_run_by_duckdb_and_pyspark_then_equal_to_python(
    connection: duckdb.DuckDBPyConnection, spark: Any
) -> None:
    instants = _events().select([c.TS])
    local = [at.astimezone(ZoneInfo("America/New_York")) for at in instants[c.TS].to_pylist()]
    for frame in (connection.from_arrow(instants), spark.createDataFrame(instants)):
        found = with_local_time(frame, time_zone="America/New_York")
        found = (found.toArrow() if hasattr(found, "toArrow") else found.to_arrow_table()).sort_by(c.TS)
        assert sorted(found[c.LOCAL_DAY].to_pylist()) == sorted(at.date() for at in local)
        assert sorted(found[c.LOCAL_HOUR].to_pylist()) == sorted(at.hour for at in local)


def test_local_time_when_the_frame_is_of_pandas_then_refused() -> None:
    with pytest.raises(ConfigError, match="expected a DuckDB relation or a PySpark frame, found DataFrame"):
        with_local_time(pd.DataFrame({"ts": []}), time_zone="UTC")
