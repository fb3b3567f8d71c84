"""The customer table: put together from described parts, and what each column holds where little is known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from features.customers.basics import BASICS
from features.customers.loyalty.part import LOYALTY
from features.customers.parts import Part, column
from features.customers.profile import PROFILE
from features.customers.reference import reference, with_reference
from features.customers.registry import COLUMNS, PARTS
from features.customers.table import CustomerTable
from features.errors import DataError
from features.event_log import EventLog
from features.settings import EngineSettings, ProfileSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

PAGE = Path(__file__).parents[2] / "docs" / "customers.md"
ENGINE = EngineSettings(memory_limit="500MB", threads=1)
DESCRIBED = (*BASICS, *PROFILE, *LOYALTY)
SHOP = ShopSettings(time_zone="Europe/Paris", profile=ProfileSettings(min_chances=1, event_weights={"purchase": 1}))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> CustomerTable:
    root = tmp_path_factory.mktemp("customers")
    rows = [
        event("ann", "view", "2024-05-01 22:30", "x", channel="email", price=100, session_id="s"),
        event("ann", "purchase", "2024-05-01 22:40", "x", price=100, session_id="s", coupon_id="k"),
        event("ann", "message_sent", "2024-05-01 20:00", medium="push"),
        event("ann", "message_opened", "2024-05-01 20:30", medium="push"),
        event("bob", "message_sent", "2024-05-01 20:00", medium="push"),
    ]
    users = [{"user_id": "ann", "membership": "plus", "signup_at": utc("2024-04-30 22:30")}]
    coupons = [{"coupon_id": "k", "user_id": "ann", "issued_at": utc("2024-05-01"), "value": 550}]
    items = [{"item_id": "x", "category": "food/tea", "brand": "acme", "price": 100}]
    data = write_shop(root / "data", shop=SHOP, events=rows, users=users, coupons=coupons, items=items)
    log = EventLog.build(data, root / "log.parquet", shop=SHOP, engine=ENGINE)
    made = CustomerTable.build(log, data / "items.parquet", data=data, shop=SHOP, engine=ENGINE, parts=DESCRIBED)
    made.save(root / "customers.parquet")
    return CustomerTable.load(root / "customers.parquet")


def test_row_when_a_customer_did_a_little_of_everything_then_as_worked_out(table: CustomerTable) -> None:
    row = table.lookup("ann")
    assert row["num_visits"] == 1
    assert row["depth"] == 2.0
    assert row["dwell_seconds"] == 600.0  # nothing tells the dwell: from the first event to the last
    assert row["active_hours"] == [0, 22]  # 00:30 in Paris, and a message opened at 22:30
    assert row["channels"] == ["email"]
    assert row["preferred_categories"] == ["food/tea"]
    assert row["preferred_categories_shares"] == [1.0]
    assert row["preferred_price_bands"] == [1]
    assert (row["best_medium"], row["best_coupon"]) == ("push", 500)
    assert row["best_medium_rate"] < 1  # one answer of one, shrunk to the shop's one of two
    assert (row["membership"], row["signup_day"]) == ("plus", dt.date(2024, 5, 1))
    assert row["refund_rate"] == 0.0
    assert row["days_between_orders"] is None
    assert row["price_sensitivity"] == pytest.approx(0.0, abs=1e-12)  # one price: nothing to tell
    assert row["price_information"] == pytest.approx(0.0, abs=1e-12)
    assert row["loyalty_points"] is None


def test_row_when_a_customer_was_only_written_to_then_everything_else_is_missing(table: CustomerTable) -> None:
    row = table.lookup("bob")
    assert (row["frequency"], row["monetary"], row["lifecycle"]) == (0, 0, "prospect")
    known = {"user_id", "frequency", "monetary", "lifecycle"}
    assert {name for name, value in row.items() if value is not None} == known


def test_columns_when_the_table_is_made_then_those_of_the_registry_in_order(table: CustomerTable) -> None:
    assert list(table.frame) == ["user_id", *(each.name for part in DESCRIBED for each in part.columns)]
    names = [each.name for part in PARTS for each in part.columns]
    assert len(set(names)) == len(names)
    assert len({part.name for part in PARTS}) == len(PARTS)


def test_part_when_it_lacks_a_column_then_named(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", events=[event("ann", "view", "2024-05-01 22:30", "x")], items=[])
    log = EventLog.build(data, tmp_path / "log.parquet", shop=ShopSettings(), engine=ENGINE)
    broken = Part(
        name="broken",
        build=lambda context: context.empty(pa.schema([("user_id", pa.string())])),
        columns=(column("luck", "real", "", "Never there."),),
    )
    with pytest.raises(DataError, match="expected part 'broken' to make 'luck'"):
        CustomerTable.build(log, data / "items.parquet", engine=ENGINE, parts=[broken])


def test_page_when_columns_change_then_it_is_written_anew() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_reference(page), "run: python -m features.customers.reference docs/customers.md"
    assert all(f"| `{name}` |" in reference() for name in COLUMNS)
    assert all(described.meaning.endswith(".") for described in COLUMNS.values())
