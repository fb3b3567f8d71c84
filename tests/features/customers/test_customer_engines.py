"""The whole customer table: all users at once, some after the other, and on PySpark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.customers.table import CustomerTable
from features.customers.value.buyers import learned_from
from features.customers.value.purchase_days import purchase_days
from features.engine import connect
from features.event_log import EventLog
from features.settings import EngineSettings
from features.spark.customers import build_customers
from tests.features.customers.customer_world import NUM_USERS, SHOP, write_customer_shop
from tests.features.engines import assert_equal_tables

pytestmark = pytest.mark.xdist_group("spark")
ENGINE = EngineSettings(memory_limit="500MB", threads=1)


@dataclass(frozen=True, kw_only=True)
class World:
    root: Path
    data: Path
    log: EventLog
    table: CustomerTable

    @property
    def items(self) -> Path:
        return self.data / "items.parquet"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("customers")
    data = write_customer_shop(root / "data")
    log = EventLog.build(data, root / "log.parquet", shop=SHOP, engine=ENGINE)
    table = CustomerTable.build(log, data / "items.parquet", data=data, shop=SHOP, engine=ENGINE)
    return World(root=root, data=data, log=log, table=table)


def assert_equal(found: CustomerTable, expected: CustomerTable) -> None:
    assert (found.as_of, found.lifecycle) == (expected.as_of, expected.lifecycle)
    assert [str(kind) for kind in found.frame.dtypes] == [str(kind) for kind in expected.frame.dtypes]
    lists = [name for name in expected.frame if isinstance(expected.frame[name].dropna().iloc[0], np.ndarray)]
    assert_equal_tables(found.frame.drop(columns=lists), expected.frame.drop(columns=lists))
    for name in lists:
        assert_equal_tables(_long(found.frame, name), _long(expected.frame, name))


def _long(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row a value of a list; a missing list is one missing value."""
    long = frame[[c.USER_ID, name]].explode(name)
    return long.astype({name: float}) if name.endswith("_shares") else long


def test_table_when_the_shop_is_rich_then_every_column_is_known_of_someone(world: World) -> None:
    known = world.table.frame.notna().any()
    assert known.all(), f"no row has {list(known.index[~known])}"
    assert len(world.table) == NUM_USERS


def test_table_when_users_are_gone_through_in_ranges_then_the_same(world: World) -> None:
    path = world.root / "ranges.parquet"
    number = CustomerTable.write(
        world.log,
        world.items,
        path,
        data=world.data,
        shop=SHOP,
        engine=ENGINE,
        events_a_range=world.log.num_events // 2,
        users_a_range=70,
    )
    assert number == NUM_USERS
    assert_equal(CustomerTable.load(path), world.table)


def test_table_when_computed_by_pyspark_then_the_same(world: World, spark: Any) -> None:
    scratch = world.root / "scratch"
    scratch.mkdir()
    number = build_customers(
        spark,
        spark.read.parquet(str(world.log.path)).filter(c.FOR_ANALYTICS),
        spark.read.parquet(str(world.items)),
        world.root / "spark.parquet",
        data=world.data,
        as_of=world.log.last_day,
        shop=SHOP,
        scratch=scratch,
    )
    assert number == NUM_USERS
    assert_equal(CustomerTable.load(world.root / "spark.parquet"), world.table)


@pytest.fixture(scope="module")
def days(world: World) -> Iterator[Any]:
    with closing(connect(ENGINE, spill=world.root)) as connection:
        rows = world.log.relation(connection)
        purchase_days(rows, connection.read_parquet(str(world.items))).create("days")
        yield connection.table("days")


def test_buyers_learned_from_when_too_many_then_each_engine_draws_the_same(world: World, days: Any, spark: Any) -> None:
    asked = {"as_of": world.log.last_day, "trend_days": 90, "most": 40}
    drawn = learned_from(days, to_arrow=lambda frame: frame.to_arrow_table(), **asked).table
    assert 20 < len(drawn) < 60
    others = learned_from(spark.createDataFrame(days.to_arrow_table()), to_arrow=lambda frame: frame.toArrow(), **asked)
    assert drawn.to_pydict() == others.table.to_pydict()
    assert drawn[c.USER_ID].to_pylist() == sorted(drawn[c.USER_ID].to_pylist())
