"""Tables of funnels over a small shop whose figures are counted by hand."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from features import columns as c
from features.contract.tables import EVENTS, ITEMS, USERS
from features.insight.collecting import collected
from features.insight.funnels.abandonment import abandonment
from features.insight.funnels.attempts import funnel
from features.insight.funnels.breakdown import Breakdown, with_breakdowns
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.items import item_funnels
from features.insight.funnels.steps import Exclusion, Step
from features.insight.funnels.table import step_table
from features.insight.funnels.trend import trend
from features.insight.intervals import wilson
from tests.features.engines import assert_equal_tables, canonical
from tests.features.insight.funnel_worlds import funnel_of, log_of, spelled
from tests.features.tiny_shop import arrow_table, event, utc

pytestmark = pytest.mark.xdist_group("spark")
SHOPPING = funnel_of("A", "B", "D", window_days=2)
LAST_AT_US = int(utc("2024-05-10 12:00").timestamp()) * 1_000_000


def _shop() -> pa.Table:
    """ann buys on May 1; bob puts a mug in the cart on May 2; cat looks on May 9; dan looks and orders on May 10."""
    rows = [
        event("ann", "view", "2024-05-01 10:00", "tea", channel="web", session_id="a1"),
        event("ann", "view", "2024-05-01 11:00", "tea", channel="app", session_id="a2"),
        event("ann", "cart", "2024-05-01 11:10", "tea", price=300, quantity=2, session_id="a2"),
        event("ann", "purchase", "2024-05-01 12:10", "tea", price=300, quantity=2, channel="app", session_id="a2"),
        event("bob", "view", "2024-05-02 10:00", "mug", session_id="b1"),
        event("bob", "cart", "2024-05-02 10:20", "mug", price=900, channel="web", session_id="b1"),
        event("bob", "cart", "2024-05-02 10:30", "tea", price=300, session_id="b1"),
        event("bob", "remove_from_cart", "2024-05-02 10:40", "tea", session_id="b1"),
        event("bob", "checkout", "2024-05-02 10:50", session_id="b1"),
        event("cat", "view", "2024-05-09 23:00", "tea", channel="web"),
        event("dan", "view", "2024-05-10 10:00", "mug", channel="app"),
        event("dan", "cart", "2024-05-10 11:00", "mug", price=900, channel="app"),
    ]
    table = arrow_table(EVENTS, [{"event_id": f"{n:02d}", **row} for n, row in enumerate(rows)])
    return table.append_column(c.LOCAL_DAY, pa.array([at.date() for at in table["ts"].to_pylist()], pa.date32()))


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    return _shop().to_pandas(date_as_object=False)


def test_step_table_when_counted_by_hand_then_rates_intervals_times_and_open_units(shop: pd.DataFrame) -> None:
    table = step_table(funnel(shop, SHOPPING), SHOPPING, last_at_us=LAST_AT_US)
    assert table["num_units"].tolist() == [4, 3, 1]
    assert table["num_base"].tolist() == [4, 4, 3]
    assert table["step_rate"].tolist() == [1, 3 / 4, 1 / 3]
    assert table["overall_rate"].tolist() == [1, 3 / 4, 1 / 4]
    low, high = wilson([3, 1], [4, 3])
    assert table["step_rate_low"].tolist()[1:] == low.tolist()
    assert table["step_rate_high"].tolist()[1:] == high.tolist()
    assert table["num_open"].tolist() == [0, 1, 1]  # cat may still fill a cart, and dan may still buy
    assert table["seconds_p50"].tolist()[1:] == [20 * 60, 60 * 60]  # 10, 20 and 60 minutes; one hour
    assert table["seconds_p25"].tolist()[1:] == [15 * 60, 60 * 60]
    assert table["total_seconds_p50"].tolist()[1:] == [20 * 60, 70 * 60]


def test_step_table_when_only_settled_units_count_then_late_ones_are_left_out(shop: pd.DataFrame) -> None:
    table = step_table(funnel(shop, SHOPPING), SHOPPING, last_at_us=LAST_AT_US, settled_only=True)
    assert table["num_units"].tolist() == [2, 2, 1]
    assert table["num_open"].tolist() == [0, 0, 0]


def test_step_table_when_nobody_entered_then_zeros_and_no_rates(shop: pd.DataFrame) -> None:
    table = step_table(funnel(shop.iloc[:0], SHOPPING), SHOPPING, last_at_us=LAST_AT_US)
    assert table["num_units"].tolist() == [0, 0, 0]
    assert table["step_rate"].isna().all()


def test_step_table_when_steps_come_in_any_order_then_a_row_a_number_of_steps(shop: pd.DataFrame) -> None:
    definition = funnel_of("D", "A", "B", window_days=2, mode="any")
    table = step_table(funnel(shop, definition), definition, last_at_us=LAST_AT_US)
    assert table["name"].tolist() == ["any 1 of 3", "any 2 of 3", "any 3 of 3"]
    assert table["num_units"].tolist() == [4, 3, 1]


def test_trend_when_by_week_then_late_weeks_are_marked(shop: pd.DataFrame) -> None:
    table = trend(shop, SHOPPING, last_at_us=LAST_AT_US, every="week", to="B")
    assert table["period_day"].tolist() == [pd.Timestamp("2024-04-29"), pd.Timestamp("2024-05-06")]
    assert table["num_entered"].tolist() == [2, 2]
    assert table["rate"].tolist() == [1.0, 0.5]
    assert table["num_open"].tolist() == [0, 1]
    assert table["immature"].tolist() == [False, True]


def test_trend_when_a_unit_enters_on_two_days_then_each_day_counts_what_followed_it() -> None:
    # A on day 0, again on day 1, B on day 2; on day 3 it enters once more and goes no further.
    events = log_of({"u": spelled("A0 A24 B48 A72")}).to_pandas(date_as_object=False)
    for window, reached in ((2, [1, 1, 0]), (1, [0, 1, 0])):
        table = trend(events, funnel_of("A", "B", window_days=window), last_at_us=LAST_AT_US)
        assert table["num_entered"].tolist() == [1, 1, 1]
        assert table["num_reached"].tolist() == reached


def test_breakdowns_when_by_touch_and_step_then_groups_as_told(shop: pd.DataFrame) -> None:
    touches = [
        Breakdown(field="channel"),
        Breakdown(field="channel", touch="last_touch"),
        Breakdown(field="brand", touch="step", step="B"),
    ]
    items = arrow_table(ITEMS, [{"item_id": "tea", "brand": "leaf"}, {"item_id": "mug"}]).to_pandas()
    found = with_breakdowns(funnel(shop, SHOPPING), shop, SHOPPING, touches, items).set_index("user_id").sort_index()
    assert found["channel_first_touch"].tolist() == ["web", "web", "web", "app"]  # ann's view on the web; bob's cart
    assert found["channel_last_touch"].tolist() == ["app", "web", "web", "app"]
    assert found["brand_at_B"].fillna("-").tolist() == ["leaf", "-", "-", "-"]
    one = with_breakdowns(funnel(shop, SHOPPING), shop, SHOPPING, touches[:1], most_values=1)
    table = step_table(one, SHOPPING, last_at_us=LAST_AT_US, by=["channel_first_touch"])
    assert table["channel_first_touch"].tolist() == ["(other)"] * 3 + ["web"] * 3
    assert table["num_units"].tolist() == [1, 1, 0, 3, 2, 1]
    assert table["overall_rate"].tolist() == [1, 1, 0, 1, 2 / 3, 1 / 3]


def test_breakdowns_when_a_step_has_a_free_name_then_it_names_the_column_and_is_no_sql(shop: pd.DataFrame) -> None:
    named = dataclasses.replace(
        SHOPPING, steps=tuple(dataclasses.replace(one, name=f'a "{one.name}" {{x}}, 1') for one in SHOPPING.steps)
    )
    touch = Breakdown(field="channel", touch="step", step=named.names[1])
    table = step_table(
        with_breakdowns(funnel(shop, named), shop, named, [touch]), named, last_at_us=LAST_AT_US, by=[touch.column]
    )
    assert touch.column == 'channel_at_a "B" {x}, 1'
    firsts = table[table["step"] == 1].set_index(touch.column)["num_units"]
    assert firsts[["app", "web"]].tolist() == [1, 1]


def test_attempts_when_the_unit_is_a_session_then_each_visit_is_one(shop: pd.DataFrame) -> None:
    found = funnel(shop, dataclasses.replace(SHOPPING, unit="session")).set_index(["user_id", "visit_id"]).sort_index()
    assert found["deepest"].to_dict() == {
        ("ann", "a1"): 1,
        ("ann", "a2"): 3,
        ("bob", "b1"): 2,
        ("cat", "gap 1"): 1,
        ("dan", "gap 1"): 1,  # the cart came after an hour's pause
    }


def test_item_funnels_when_counted_by_hand_then_rates_and_shrunk_rates(shop: pd.DataFrame) -> None:
    table = item_funnels(shop).set_index("item_id")
    assert table[["num_view", "num_cart", "num_purchase"]].to_numpy().tolist() == [[2, 2, 0], [2, 1, 1]]
    assert table.loc["tea", "cart_rate"] == 0.5
    assert table.loc["tea", "total_seconds_p50"] == 70 * 60
    assert 0.5 < table.loc["tea", "cart_shrunk"] < table.loc["mug", "cart_shrunk"] < 1


def test_abandonment_when_counted_by_hand_then_rate_and_value_left(shop: pd.DataFrame) -> None:
    carts = abandonment(shop, last_at_us=LAST_AT_US).iloc[0]
    assert carts[["num_carts", "num_abandoned", "num_left", "value_left", "num_open"]].tolist() == [2, 1, 1, 900, 1]
    assert carts["rate"] == 0.5
    checkouts = abandonment(shop, last_at_us=LAST_AT_US, of="checkout").iloc[0]
    assert checkouts[["num_checkouts", "num_abandoned", "value_left"]].tolist() == [1, 1, 900]
    users = arrow_table(USERS, [{"user_id": "ann", "device": "phone"}]).to_pandas()
    by = abandonment(shop, last_at_us=LAST_AT_US, by=["device", "local_day"], users=users)
    assert by["device"].tolist() == ["(none)", "(none)", "phone"]
    assert by[c.LOCAL_DAY].dt.day.tolist() == [2, 10, 1]
    assert by["num_abandoned"].tolist() == [1, 0, 0]
    twice = pd.concat([users, users.assign(device="tablet")])  # as a customer is, known under two ids
    again = abandonment(shop, last_at_us=LAST_AT_US, by=["device"], users=twice)
    assert again["num_carts"].tolist() == [1, 1]


def test_abandonment_when_put_in_and_bought_at_one_instant_then_it_is_not_left() -> None:
    rows = [
        event("ann", "cart", "2024-05-01 10:00", "tea", price=300, event_id="y"),
        event("ann", "checkout", "2024-05-01 10:00", event_id="x"),
        event("ann", "purchase", "2024-05-01 10:00", "tea", price=300, event_id="w"),
    ]
    at = pa.array([row["ts"].date() for row in rows], pa.date32())
    shop = arrow_table(EVENTS, rows).append_column(c.LOCAL_DAY, at).to_pandas(date_as_object=False)
    for of in ("cart", "checkout"):
        assert abandonment(shop, last_at_us=LAST_AT_US, of=of).iloc[0][[f"num_{of}s", "num_abandoned"]].tolist() == [
            1,
            0,
        ]


def test_intervals_when_customers_repeat_themselves_then_five_visits_of_one_are_worth_one() -> None:
    """Ten of twenty customers fill a cart in each of five visits, and five of these buy each time; the others never."""
    rows = []
    for user, day, (n, kind) in itertools.product(range(20), range(5), enumerate(["view", "cart", "purchase"])):
        if user < (20, 10, 5)[n]:
            at, visit = utc("2024-05-06 10:00") + dt.timedelta(days=day, minutes=n), f"{user}-{day}"
            rows.append(event(f"u{user:02}", kind, at, "tea", session_id=visit, channel="web", event_id=f"{visit}-{n}"))
    days = pa.array([row["ts"].date() for row in rows], pa.date32())
    shop = arrow_table(EVENTS, rows).append_column(c.LOCAL_DAY, days).to_pandas(date_as_object=False)
    definition = dataclasses.replace(SHOPPING, unit="session")
    of_carts, of_orders = [float(end) for end in wilson(10, 20)], [float(end) for end in wilson(5, 10)]
    last_at_us = LAST_AT_US + 5 * 24 * 3600 * 1_000_000
    attempts = funnel(shop, definition)
    for by in ([], ["entered_day"]):
        steps = step_table(attempts, definition, last_at_us=last_at_us, by=by)
        assert steps["num_units"].sum() == 100 + 50 + 25
        last = steps[steps["step"] == 3].iloc[-1]
        assert last[["step_rate_low", "step_rate_high"]].tolist() == pytest.approx(of_orders)
    carts = trend(shop, definition, last_at_us=last_at_us, every="week", to="B").iloc[0]
    assert carts[["num_entered", "num_reached"]].tolist() == [100, 50]
    assert carts[["rate_low", "rate_high"]].tolist() == pytest.approx(of_carts)
    left = abandonment(shop, last_at_us=last_at_us, by=["local_week"]).iloc[0]
    assert left[["num_carts", "num_abandoned", "num_customers", "worth"]].tolist() == pytest.approx([50, 25, 10, 10])
    assert left[["rate_low", "rate_high"]].tolist() == pytest.approx(of_orders)


PACED = FunnelDefinition(
    steps=(
        Step(name="view", events=("view",)),
        Step(name="cart", events=("cart",), within_days=1),
        Step(name="pay", events=("checkout",), optional=True),
        Step(name="purchase", events=("purchase",)),
    ),
    exclusions=(Exclusion(events=("remove_from_cart",), after="cart"),),
    window_days=2,
)
FUNNELS = {
    "ordered": SHOPPING,
    "strict": dataclasses.replace(SHOPPING, mode="strict", unit="session"),
    "any": dataclasses.replace(SHOPPING, mode="any"),
    "paced": PACED,
}


@pytest.mark.parametrize("name", FUNNELS)
def test_funnel_when_run_by_each_engine_then_equal(
    name: str, shop: pd.DataFrame, connection: duckdb.DuckDBPyConnection, spark: Any
) -> None:
    definition = FUNNELS[name]
    frames = [shop, connection.from_arrow(_shop()), spark.createDataFrame(_shop())]
    expected, *others = [canonical(funnel(frame, definition), list(definition.keys)) for frame in frames]
    assert len(expected) >= 4
    for other in others:
        assert_equal_tables(other, expected)


def test_tables_when_run_by_each_engine_then_equal(
    shop: pd.DataFrame, connection: duckdb.DuckDBPyConnection, spark: Any
) -> None:
    touches = [Breakdown(field="channel"), Breakdown(field="channel", touch="step", step="B")]
    tables = []
    for frame in (shop, connection.from_arrow(_shop()), spark.createDataFrame(_shop())):
        attempts = funnel(frame, SHOPPING)
        apart = collected(with_breakdowns(attempts, frame, SHOPPING, touches)).sort_values(c.USER_ID)
        tables.append(
            [
                apart.reset_index(drop=True).drop(columns="entered_day"),
                step_table(attempts, SHOPPING, last_at_us=LAST_AT_US),
                trend(frame, SHOPPING, last_at_us=LAST_AT_US, every="week"),
                abandonment(frame, last_at_us=LAST_AT_US, of="checkout", by=["channel", "local_day"]),
            ]
        )
    for others in tables[1:]:
        for other, expected in zip(others, tables[0], strict=True):
            assert_equal_tables(other, expected)
