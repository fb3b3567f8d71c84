"""The figures of boards: by hand, against brute force, and the same on every engine."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.insight.boards.dimensions import Dimensions
from features.insight.boards.hiding import shown
from features.insight.boards.measure import change, customer_counts, group_sums, measured, with_first_day
from features.insight.boards.metrics import METRICS
from features.insight.collecting import collected
from tests.features.engines import assert_equal_tables, canonical

ALL = list(METRICS.values())
DAY = dt.date(2026, 3, 2)  # a Monday
COLUMNS = ("user_id", "event_type", "day", "hour", "item_id", "quantity", "price", "order_id", "coupon_id", "channel")
ROWS = [
    ("a", "view", 0, 9, "i", None, None, None, None, "web"),
    ("a", "cart", 0, 9, "i", None, None, None, None, "web"),
    ("a", "purchase", 0, 10, "i", 2, 300, "o1", "k", "web"),
    ("a", "purchase", 0, 10, "j", 1, 400, "o1", None, "web"),
    ("a", "refund", 1, 10, "j", 1, 400, "o1", None, "web"),
    ("b", "cart", 1, 11, "j", None, None, None, None, "app"),
    ("c", "purchase", 1, 12, "j", None, 500, None, None, "app"),  # without an order: a day's purchases are one
    ("c", "purchase", 1, 13, "i", None, 300, None, None, "app"),
    ("d", "message_sent", 1, 12, None, None, None, None, None, None),  # nobody who came
]


def log() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS, columns=list(COLUMNS))
    days = [DAY + dt.timedelta(days=day) for day in frame["day"]]
    at = pd.to_datetime(days) + pd.to_timedelta(frame["hour"], unit="h")
    return frame.assign(
        ts=pd.DatetimeIndex(at).tz_localize("UTC").as_unit("us"),
        local_day=pd.to_datetime(days).astype("datetime64[us]"),
        local_hour=frame["hour"].astype("int32"),
        quantity=frame["quantity"].astype("Int64"),
        price=frame["price"].astype("Int64"),
    ).drop(columns=["day", "hour"])


def figures(rows: Any, by: tuple[str, ...] = ()) -> pd.DataFrame:
    sums = collected(group_sums(customer_counts(rows, ALL, by=by), ALL, by=by))
    return pd.concat([sums[list(by)], *(measured(sums, one)["value"].rename(one.name) for one in ALL)], axis=1)


def test_figures_when_counted_by_hand_then_equal() -> None:
    found = figures(with_first_day(log(), log())).iloc[0].to_dict()
    assert found == pytest.approx(
        {
            "active_customers": 3, "new_customers": 3, "buyers": 2, "views": 1, "carts": 2, "orders": 2, "units": 5,
            "revenue": 2 * 300 + 400 + 500 + 300, "refunded": 400, "conversion": 2 / 3, "cart_to_purchase": 1 / 2,
            "average_order": 1800 / 2, "units_per_order": 5 / 2, "orders_per_buyer": 1.0,
            "revenue_per_customer": 600.0, "coupon_use": 1 / 2, "refund_rate": 400 / 1800,
        }
    )  # fmt: skip


def test_new_customers_when_the_log_goes_back_further_then_only_those_of_these_days_are_new() -> None:
    second_day = log()[log()["local_day"] == pd.Timestamp(DAY + dt.timedelta(days=1))]
    assert figures(with_first_day(second_day, log()))["new_customers"].tolist() == [2]  # b and c; a came the day before


def test_cuts_when_made_of_log_items_customers_and_times_then_each_group_is_counted() -> None:
    items = pd.DataFrame({"item_id": ["i", "j"], "category": ["food/tea", "home"], "brand": ["x", None]})
    customers = pd.DataFrame({"user_id": ["a", "b", "c"], "growth_stage": ["old", "new", "new"]})
    dimensions = Dimensions.of(log().columns, ["user_id", "growth_stage"])
    by = ["weekday", "category", "growth_stage"]
    cut = dimensions.attach(with_first_day(log(), log()), by, items=items, customers=customers)
    found = figures(cut, ("by_0", "by_1", "by_2")).set_index(["by_0", "by_1", "by_2"])["revenue"]
    assert found[found > 0].to_dict() == {
        (1, "food", "old"): 600, (1, "home", "old"): 400, (2, "home", "new"): 500, (2, "food", "new"): 300
    }  # fmt: skip


def test_new_customers_when_a_message_came_first_then_the_first_visit_counts() -> None:
    early = log()[:1].assign(
        event_type="message_sent", event_id="m", local_day=pd.Timestamp(DAY - dt.timedelta(days=4)), item_id=None
    )
    everything = pd.concat([early, log()], ignore_index=True)
    assert figures(with_first_day(log(), everything))["new_customers"].tolist() == [3]


def test_shown_when_few_stand_behind_a_figure_then_it_is_hidden_and_small_groups_lose_their_names() -> None:
    def of(group: str, came: int, bought: int) -> pd.DataFrame:
        return pd.DataFrame(
            {"user_id": [f"{group}{n}" for n in range(came)], "by_0": group, "active": 1.0,
             "bought": [float(n < bought) for n in range(came)], "revenue": [50.0 * (n < bought) for n in range(came)]}
        )  # fmt: skip

    counts = pd.concat(
        [of("large", 40, 20), of("none", 30, 0), of("one", 30, 1), of("other", 30, 15), of("tiny", 2, 1)]
    )
    metrics = [METRICS["active_customers"], METRICS["conversion"], METRICS["revenue"]]
    sums = group_sums(counts, metrics, by=["by_0"])
    frame = sums[["by_0", "customers"]].rename(columns={"by_0": "channel"})
    for one in metrics:
        for name, values in measured(sums, one).items():
            frame[one.name if name == "value" else f"{one.name}_{name}"] = values
    found = shown(frame, metrics, by=["channel"], minimum=10)
    rows = found.frame.set_index("channel")
    assert "tiny" not in rows.index
    assert rows.loc["large", "active_customers"] == 40
    assert rows.loc["one", "active_customers"] == 30
    assert rows.loc["none", ["conversion", "revenue"]].tolist() == [0, 0]
    assert rows.loc["one", ["conversion", "conversion_low", "revenue"]].isna().all()
    assert rows.loc["large", "revenue"] == 1000
    assert rows.index.tolist().count("(small)") == 2  # tiny, and spare, which the total would give away with it
    assert (found.num_small, found.num_complementary) == (2, 1)


def world(seed: int, users: int) -> pd.DataFrame:
    """Counts of customers whose orders and revenue go together, many with none."""
    rng = np.random.default_rng(seed)
    orders = rng.poisson(rng.gamma(0.5, 2.0, users)).astype(float)
    revenue = np.array([rng.lognormal(3, 1, int(n)).sum() for n in orders])
    return pd.DataFrame({"user_id": [f"u{n}" for n in range(users)], "orders": orders, "revenue": revenue})


def test_interval_when_customers_differ_then_it_is_the_bootstraps() -> None:
    metric, counts = METRICS["average_order"], world(0, 2_000)
    sums = group_sums(counts, [metric])
    found = measured(sums, metric).iloc[0]
    rng = np.random.default_rng(1)
    orders, revenue = counts["orders"].to_numpy(), counts["revenue"].to_numpy()
    draws = [revenue[drawn].sum() / orders[drawn].sum() for drawn in rng.integers(0, 2_000, (2_000, 2_000))]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found["high"] - found["low"] == pytest.approx(high - low, rel=0.08)
    assert found["value"] == pytest.approx(revenue.sum() / orders.sum())


def test_change_when_customers_are_the_same_then_its_interval_knows() -> None:
    metric, before = METRICS["average_order"], world(0, 1_000)
    now = before.assign(revenue=before["revenue"] + before["orders"])  # each order one more: no doubt about it
    assert change(now, before, metric) == pytest.approx((1.0, 1.0, 1.0))
    others = now.assign(user_id=now["user_id"] + "x")
    difference, low, high = change(others, before, metric)
    reach = [measured(group_sums(frame, [metric]), metric).iloc[0] for frame in (now, before)]
    widths = [(one["high"] - one["low"]) / 2 for one in reach]
    assert difference == pytest.approx(1.0)
    assert (high - low) / 2 == pytest.approx(np.hypot(*widths), rel=1e-3)  # of different customers errors add up


def test_figures_when_nobody_is_there_then_ratios_are_missing() -> None:
    found = figures(with_first_day(log()[:0], log())).iloc[0]
    assert found["orders"] == 0
    assert np.isnan(found["average_order"])


@pytest.mark.xdist_group("spark")
def test_figures_when_run_by_another_engine_then_equal_to_pandas(connection: Any, spark: Any) -> None:
    items = pd.DataFrame({"item_id": ["i", "j"], "category": ["food/tea", "home"], "brand": ["x", None]})
    by = ["week", "hour", "category", "channel"]

    def counted(make: Any) -> pd.DataFrame:
        rows, things = make(log()), make(items)
        cut = Dimensions.of(log().columns).attach(with_first_day(rows, rows), by, items=things)
        keys = [f"by_{place}" for place in range(len(by))]
        found = canonical(group_sums(customer_counts(cut, ALL, by=keys), ALL, by=keys), keys)
        return found.astype({"by_0": "datetime64[us]"})

    expected = counted(lambda frame: frame)
    assert len(expected) == 7
    assert_equal_tables(counted(connection.from_df), expected)
    assert_equal_tables(counted(lambda frame: spark.createDataFrame(pa.Table.from_pandas(frame))), expected)
