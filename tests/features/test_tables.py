"""Values of the tables, worked out by hand or by a slow loop; engines are compared in test_tables_parity."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import columns as c
from features.contract.tables import EVENTS
from features.settings import LifecycleSettings
from features.tables import favourite_category, interactions, item_days, last_seen, lifecycle, purchases, rfm
from features.tables.expressions import day_number, frame_of
from tests.features.tiny_shop import Rows, arrow_table, event

AS_OF = dt.date(2024, 6, 30)


def frame(rows: Rows) -> pd.DataFrame:
    events = arrow_table(EVENTS, rows).to_pandas()
    return events.assign(local_day=events["ts"].dt.tz_localize(None).dt.normalize())


@given(days=st.lists(st.dates(dt.date(1900, 1, 1), dt.date(2262, 1, 1)), min_size=1))
def test_day_number_when_compared_with_python_then_its_ordinal(days: list[dt.date]) -> None:
    native = pd.DataFrame({"day": pd.Series(pd.to_datetime(days)).astype("datetime64[us]")})
    numbers = frame_of(native).select(day_number("day").alias("n")).to_native()["n"]
    assert numbers.tolist() == [day.toordinal() for day in days]


def test_purchases_when_orders_lack_an_id_then_a_day_is_an_order() -> None:
    rows = [
        event("ann", "purchase", "2024-05-01 09:00", "x", order_id="o1", quantity=2, price=300),
        event("ann", "purchase", "2024-05-01 09:00", "y", order_id="o1", quantity=1, price=400),
        event("ann", "purchase", "2024-05-03 09:00", "x", quantity=None, price=600),
        event("ann", "purchase", "2024-05-03 18:00", "y", quantity=4, price=None),
        event("ann", "purchase", "2024-05-04 18:00", "y"),
        event("ann", "view", "2024-06-01 09:00", "x", price=999),
        event("bob", "view", "2024-06-01 09:00", "x"),
    ]
    (row,) = purchases(frame(rows)).to_dict("records")
    # o1, 3 May, 4 May; units 2 + 1 + 1 + 4 + 1; 600 + 400 + 600
    assert (row["num_orders"], row["num_purchases"], row["num_units"], row["monetary"]) == (3, 5, 9, 1600)
    assert (row["first_purchase_day"], row["last_purchase_day"]) == (
        pd.Timestamp("2024-05-01"),
        pd.Timestamp("2024-05-04"),
    )


def test_interactions_when_the_shop_wrote_then_that_is_no_interaction() -> None:
    rows = [
        event("ann", "message_sent", "2024-05-01 09:00"),
        event("ann", "message_opened", "2024-05-02 09:00"),
        event("ann", "impression", "2024-05-03 09:00", "x"),
        event("bob", "message_delivered", "2024-05-02 09:00"),
    ]
    (row,) = interactions(frame(rows)).to_dict("records")
    assert (row["user_id"], row["num_interactions"], row["last_interaction_day"].day) == ("ann", 1, 2)


def test_rfm_when_values_tie_then_scores_tie() -> None:
    spent = [100, 200, 200, 300, 900]
    bought = pd.DataFrame(
        {
            c.USER_ID: list("abcde"),
            "num_orders": [1, 1, 1, 1, 2],
            "monetary": spent,
            "last_purchase_day": pd.to_datetime(["2024-06-30", "2024-06-29", "2024-06-01", "2024-05-31", "2023-06-30"]),
        }
    )
    scored = rfm(bought, as_of=AS_OF)
    assert scored["recency_days"].tolist() == [0, 1, 29, 30, 366]
    assert scored["recency_score"].tolist() == [5, 4, 3, 2, 1]
    assert scored["frequency_score"].tolist() == [1, 1, 1, 1, 5]
    assert scored["monetary_score"].tolist() == [1, 2, 2, 4, 5]


@pytest.mark.parametrize(
    ("first", "last", "quiet", "stage"),
    [
        (None, None, 0, "prospect"),
        (None, None, 500, "prospect"),
        (0, 0, 0, "new"),
        (30, 30, 30, "new"),
        (31, 31, 31, "cooling"),
        (31, 30, 30, "active"),
        (400, 30, 30, "active"),
        (400, 31, 0, "cooling"),
        (400, 90, 90, "cooling"),
        (400, 91, 91, "dormant"),
        (400, 180, 90, "cooling"),
        (400, 180, 91, "dormant"),
        (400, 180, 180, "dormant"),
        (400, 181, 90, "churned"),
        (400, 181, 0, "churned"),
        (400, 181, 181, "churned"),
    ],
)
def test_lifecycle_when_on_a_boundary_day_then_the_livelier_stage(
    first: int | None, last: int | None, quiet: int, stage: str
) -> None:
    assert _stage(first, last, quiet, LifecycleSettings()) == stage


def test_lifecycle_when_settings_leave_a_gap_then_cooling() -> None:
    gap = LifecycleSettings(cooling_interaction_days=60, churned_purchase_days=365)
    assert _stage(400, 100, 75, gap) == "cooling"
    assert _stage(400, 200, 10, gap) == "cooling"


def _stage(first: int | None, last: int | None, quiet: int | None, settings: LifecycleSettings) -> str:
    ago = [pd.NaT if days is None else pd.Timestamp(AS_OF) - pd.Timedelta(days=days) for days in (first, last, quiet)]
    names = ["first_purchase_day", "last_purchase_day", "last_interaction_day"]
    days = {name: pd.Series([day], dtype="datetime64[us]") for name, day in zip(names, ago, strict=True)}
    return lifecycle(pd.DataFrame({c.USER_ID: ["ann"], **days}), as_of=AS_OF, settings=settings)["lifecycle"].iloc[0]


def test_item_days_when_counted_then_by_item_and_local_day() -> None:
    rows = [
        event("ann", "view", "2024-05-01 09:00", "x"),
        event("bob", "view", "2024-05-01 10:00", "x"),
        event("ann", "cart", "2024-05-01 10:00", "x"),
        event("ann", "purchase", "2024-05-01 11:00", "x", quantity=2, price=300),
        event("ann", "purchase", "2024-05-01 12:00", "x", quantity=3),
        event("bob", "favorite", "2024-05-02 12:00", "x"),
        event("bob", "refund", "2024-05-03 12:00", "x"),
    ]
    first, second = item_days(frame(rows)).sort_values("local_day").to_dict("records")
    counts = ["num_views", "num_carts", "num_favourites", "num_purchases", "num_units", "priced_units", "revenue"]
    assert [first[name] for name in counts] == [2, 1, 0, 2, 5, 2, 600]
    assert first["num_buyers"] == 1
    assert [second[name] for name in counts] == [0, 0, 1, 0, 0, 0, 0]
    assert second["num_buyers"] == 0


def test_favourite_category_when_counts_tie_then_first_by_name() -> None:
    items = pd.DataFrame({"item_id": ["x", "y", "z"], "category": ["home/garden", "food", None]})
    rows = [event("ann", "purchase", "2024-05-01 09:00", item) for item in "xyzzz"]
    assert favourite_category(frame(rows), items)["favourite_category"].tolist() == ["food"]


def test_last_seen_when_the_newest_row_says_nothing_then_the_one_before_counts() -> None:
    rows = [
        event("ann", "login", "2024-05-01 09:00", region="north"),
        event("ann", "login", "2024-05-02 09:00", region="south"),
        event("ann", "login", "2024-05-03 09:00"),
        event("bob", "login", "2024-05-03 09:00"),
    ]
    assert last_seen(frame(rows), c.REGION).to_dict("records") == [{"user_id": "ann", "last_region": "south"}]
