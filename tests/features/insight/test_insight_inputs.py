"""What sections read beside the log: whose rows of other tables are, and whether consent held when they happened."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb

from features.insight.collecting import collected
from features.insight.inputs import Inputs, Period
from features.privacy.consents import ConsentBook
from features.settings import ShopSettings
from tests.features.tiny_shop import Rows, event, utc, write_shop

DAY = dt.date(2024, 5, 1)
SHOP = ShopSettings(consent_default="granted")
# The id a row arrived under, and the customer it is of: a shared device is two customers', a phone one customer's.
ARRIVED = [
    ("tablet", "anna"),
    ("tablet", "bert"),
    ("phone", "anna"),
    ("anna", "anna"),
    ("bert", "bert"),
    ("bert", "bert"),
]


def opened(data: Path, connection: duckdb.DuckDBPyConnection, *, keeps_consents: bool = False) -> Inputs:
    values = ", ".join(f"('{arrived}', '{customer}')" for arrived, customer in ARRIVED)
    return Inputs(
        connection=connection, log=connection.sql(f"FROM (VALUES {values}) rows(source_user_id, user_id)"), data=data,
        period=Period(first_day=DAY, last_day=DAY), last_at_us=0, items=connection.sql("SELECT 'i' AS item_id"), shop=SHOP,
        consents=ConsentBook.build(data, shop=SHOP) if keeps_consents else None,
    )  # fmt: skip


def shown(user_id: str, ts: str) -> dict[str, object]:
    return {"user_id": user_id, "item_id": "i", "slot": "home", "ts": utc(ts)}


def users(inputs: Inputs, name: str) -> list[str]:
    table = inputs.table(name)
    return [] if table is None else sorted(collected(table)["user_id"])


def test_table_when_an_id_is_of_two_customers_then_its_rows_are_nobodys(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    rows = [shown(user, "2024-05-01 10:00") for user in ("tablet", "phone", "bert", "stranger")]
    data = write_shop(tmp_path, exposures=rows, users=[{"user_id": "tablet"}, {"user_id": "anna"}, {"user_id": "bert"}])
    assert users(opened(data, connection), "exposures") == ["anna", "bert"]
    assert users(opened(data, connection), "users") == ["anna", "bert"]


def test_table_when_consent_came_later_then_rows_from_before_it_are_left_out(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    said = [
        {"user_id": user, "purpose": "analytics", "granted": granted, "at": utc(at)}
        for user, granted, at in (("anna", True, "2024-05-01 10:00"), ("bert", True, "2024-04-01 00:00"),
                                  ("bert", False, "2024-05-01 09:00"))
    ]  # fmt: skip
    coupons: Rows = [
        {"coupon_id": coupon, "user_id": user, "issued_at": utc(at), "value": 1}
        for coupon, user, at in (("late", "anna", "2024-05-01 10:00"), ("early", "anna", "2024-05-01 09:59"),
                                 ("refused", "bert", "2024-05-01 08:00"))
    ]  # fmt: skip
    rows = [shown("anna", "2024-04-30 23:00"), shown("phone", "2024-05-01 11:00"), shown("bert", "2024-05-01 08:00")]
    events = [event("anna", "view", "2024-05-01 11:00", "i")]
    data = write_shop(tmp_path, shop=SHOP, events=events, consents=said, coupons=coupons, exposures=rows)
    inputs = opened(data, connection, keeps_consents=True)
    table = inputs.table("coupons")
    assert table is not None
    assert collected(table)["coupon_id"].tolist() == ["late"]
    assert users(inputs, "exposures") == ["anna"]
    logged = inputs.of_customers(connection.sql(f"FROM '{data / 'exposures.parquet'}'"), at="ts")
    assert collected(logged)["user_id"].tolist() == ["anna"]


def test_table_when_nobody_said_anything_then_the_shops_default_holds(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    data = write_shop(tmp_path, shop=SHOP, exposures=[shown("bert", "2024-05-01 08:00")])
    assert users(opened(data, connection, keeps_consents=True), "exposures") == ["bert"]
