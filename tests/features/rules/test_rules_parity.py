"""Rules on three engines: the same holders, since and until, whole numbers exact."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest
import yaml

from features.rules.compile import BY_USER, BY_USER_AND_ITEM, Compiler
from features.rules.parse import RuleParser
from features.rules.place import Place
from features.rules.rows import rule_rows
from tests.features.rules import rule_worlds as worlds
from tests.features.rules.slow_rules import day_of
from tests.features.tiny_shop import event

pytestmark = pytest.mark.xdist_group("spark")

# Small ones: PySpark analyses a plan anew at every step, so the cost grows with the square of a rule's length.
RULES = {
    "count": "{events: view, where: {category: a, price: {at_least: 1}}, at_least: 2, within_days: 7}",
    "distinct": "{events: purchase, distinct: order, at_least: 1, at_most: 2, within_days: 5}",
    "open": "{events: cart, not_followed_by: [purchase, remove_from_cart], of_same: item, for_hours: 24, within_days: 7}",
    "orders": "{orders: {amount: {at_least: 2.5}, lines: {at_most: 3}}, within_days: 3}",
    "share": "{events: purchase, where: {brand: kin}, share_at_least: 0.5}",
    "joined": "{all: [{not: {events: purchase, within_days: 5}}, {column: lifecycle, one_of: [active, new]}]}",
}


def _rows() -> list[dict[str, Any]]:
    generator, rows = random.Random(5), []
    for _ in range(150):
        kind = generator.choice(worlds.TYPES)
        at = worlds.START + dt.timedelta(hours=generator.randrange(20 * 24))
        more = {"price": generator.choice([None, 250, 1000]), "order_id": generator.choice([None, "o1", "o2"])}
        item = None if kind == "search" else f"i{generator.randrange(6)}"
        rows.append(event(generator.choice(("ann", "bob", "cem")), kind, at, item, **more))
    return rows


def spells(rule: str, events: Any, items: Any, customers: Any, by: Any) -> list[tuple[Any, ...]]:
    rows = rule_rows(events, items, as_of_us=worlds.AS_OF_US)
    compiler = Compiler(
        rows=nw.from_native(rows), customers=nw.from_native(customers), as_of_us=worlds.AS_OF_US,
        as_of=day_of(worlds.AS_OF_US), by=by, natures=worlds.NATURES,
    )  # fmt: skip
    condition = RuleParser(columns=worlds.NATURES).condition(yaml.safe_load(rule), Place(file="here"))
    native: Any = compiler.spells(condition).to_native()
    frame = (
        native.toArrow().to_pandas() if hasattr(native, "toArrow") else native.df() if hasattr(native, "df") else native
    )
    return sorted(frame[[*by, "start_us", "end_us"]].itertuples(index=False, name=None))


CASES = [*((name, BY_USER) for name in RULES), ("open", BY_USER_AND_ITEM)]


@pytest.mark.parametrize(("name", "by"), CASES)
def test_rule_when_run_by_duckdb_then_equal_to_pandas(
    name: str, by: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    events, items, customers = worlds.log_table(_rows()), worlds.items_table(), worlds.customers_frame()
    expected = spells(RULES[name], events.to_pandas(date_as_object=False), items.to_pandas(), customers, by)
    frames = [connection.from_arrow(events), connection.from_arrow(items), connection.from_df(customers)]
    assert spells(RULES[name], *frames, by) == expected
    assert expected


@pytest.mark.parametrize(("name", "by"), CASES)
def test_rule_when_run_by_pyspark_then_equal_to_pandas(name: str, by: Any, spark: Any) -> None:
    events, items, customers = worlds.log_table(_rows()), worlds.items_table(), worlds.customers_frame()
    expected = spells(RULES[name], events.to_pandas(date_as_object=False), items.to_pandas(), customers, by)
    # PySpark 4.3 takes no frame of pandas 3; Arrow it does.
    frames = [spark.createDataFrame(table) for table in (events, items, pa.Table.from_pandas(customers))]
    assert spells(RULES[name], *frames, by) == expected
