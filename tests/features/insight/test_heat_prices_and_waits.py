"""Price bands browsed and bought, and the time from first view to purchase: by hand and against slow references."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.insight.collecting import collected
from features.insight.heat import first_view_waits, price_band_shares, time_to_purchase
from tests.features.insight.insight_events import day, in_pandas, log

ITEMS = pd.DataFrame(
    {
        "item_id": ["a1", "a2", "b1", "b2", "c"],
        "category": ["a", "a/x", "b", "b", "b"],
        "price": [10, 20, 900, 950, None],
    }
)
ROWS = [
    ("ann", "view", 0, 0, "a2"),  # 60 s, dear
    ("ann", "view", 0, 1, "b1"),  # 20 s, cheap
    ("bob", "view", 0, 2, "b2"),  # not timed: 40 s, the mean; dear
    ("ann", "purchase", 1, 0, "a1"),  # 3 units, cheap
    ("bob", "purchase", 1, 0, "b2"),  # 1 unit, dear
    ("bob", "view", 1, 0, "c"),  # has no price
]
EVENTS = in_pandas(
    log(ROWS, dwell_ms=[60_000, 20_000, None, None, None, 999_000], quantity=[None, None, None, 3, None, None])
)


def test_price_bands_when_worked_out_by_hand_then_shares_of_seconds_and_units() -> None:
    table = price_band_shares(EVENTS, ITEMS, num_bands=2)
    assert table[["band", "looked", "bought"]].to_numpy().tolist() == [[1, 20, 3], [2, 100, 1]]
    assert table["browsed_share"].tolist() == pytest.approx([1 / 6, 5 / 6])
    assert table["bought_share"].tolist() == [0.75, 0.25]
    assert table["difference"].tolist() == pytest.approx([0.75 - 1 / 6, 0.25 - 5 / 6])
    # Influences on the difference of band 1: ann (3 - .75·3)/4 - (20 - 80/6)/120, bob (0 - .75·1)/4 - (0 - 40/6)/120
    ann, bob = 0.75 / 4 - (20 - 80 / 6) / 120, -0.75 / 4 + (40 / 6) / 120
    reach = 1.959964 * np.sqrt(ann**2 + bob**2)
    assert table.loc[0, "high"] - table.loc[0, "difference"] == pytest.approx(reach)
    assert table["timed"].tolist() == [1.0, 0.5]


def test_price_bands_when_by_category_then_each_has_its_own() -> None:
    table = price_band_shares(EVENTS, ITEMS, num_bands=2, by="category").set_index(["value", "band"])
    assert table.loc[("a", 1), "bought_share"] == 1.0
    assert table.loc[("b", 2), "browsed_share"] == pytest.approx(40 / 60)


def test_price_bands_when_no_view_is_timed_then_views_count() -> None:
    table = price_band_shares(EVENTS.assign(dwell_ms=pd.array([None] * 6, "Int64")), ITEMS, num_bands=2)
    assert table["looked"].tolist() == [1, 2]
    assert table["timed"].tolist() == [0, 0]


def test_price_bands_when_the_argument_is_wrong_then_says_so() -> None:
    with pytest.raises(ConfigError, match="by: expected one of shop, category, found 'item'"):
        price_band_shares(EVENTS, ITEMS, num_bands=2, by="item")


LAST = dt.datetime.combine(day(10), dt.time(), dt.UTC)
WAITS = in_pandas(
    log(
        [
            ("ann", "view", 0, 0, "sofa"),
            ("ann", "view", 4, 0, "sofa"),
            ("ann", "purchase", 5, 0, "sofa"),  # 5 days after the first look
            ("bob", "view", 9, 0, "sofa"),  # watched for a day
            ("cho", "purchase", 1, 0, "sofa"),  # unseen
            ("dan", "purchase", 1, 0, "sofa"),  # unseen, then
            ("dan", "view", 2, 0, "sofa"),  # looked, and
            ("dan", "purchase", 4, 30, "sofa"),  # bought again 2 days and 30 minutes later
            ("eve", "view", 1, 0, "sofa"),
            ("eve", "purchase", 9, 0, "sofa"),  # beyond a horizon of a week
        ]
    )
)
DAY = 24 * 60


def test_time_to_purchase_when_worked_out_by_hand_then_waits_and_what_is_censored() -> None:
    row = time_to_purchase(WAITS, last_at=LAST, horizon_days=7).iloc[0]
    assert row[["looks", "bought", "censored", "unseen"]].tolist() == [4, 2, 1, 2]
    # At risk: 4 at a day (bob leaves), 3 at dan's 2 days, 2 at ann's 5: 1 - 2/3 × 1/2
    assert row["share"] == pytest.approx(2 / 3)
    # Of the two thirds half are bought by dan's wait, all by ann's.
    assert row[["minutes_25", "minutes_50", "minutes_75"]].tolist() == [2 * DAY + 30, 2 * DAY + 30, 5 * DAY]
    assert (row["minutes_50_low"], row["minutes_50_high"]) == (2 * DAY + 30, 5 * DAY)


def test_time_to_purchase_when_asked_since_an_instant_then_earlier_rows_only_tell_which_looks_are_first() -> None:
    since = dt.datetime.combine(day(2), dt.time(), dt.UTC)
    row = time_to_purchase(WAITS, last_at=LAST, horizon_days=7, since=since).iloc[0]
    # ann and eve looked before; bob and dan look since. What cho and dan bought unseen was earlier.
    assert row[["looks", "bought", "censored", "unseen"]].tolist() == [2, 1, 1, 0]


def test_time_to_purchase_when_nothing_is_bought_then_no_quantiles() -> None:
    row = time_to_purchase(WAITS[WAITS["user_id"] == "bob"], last_at=LAST).iloc[0]
    assert (row["looks"], row["bought"], row["share"]) == (1, 0, 0.0)
    assert np.isnan(row["minutes_50"])


def test_time_to_purchase_when_the_instant_has_no_zone_then_refused() -> None:
    with pytest.raises(ConfigError, match="last_at: expected an instant with its zone"):
        time_to_purchase(WAITS, last_at=dt.datetime(2024, 1, 1))  # noqa: DTZ001 (that is the point)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from(["view", "purchase"]), st.integers(0, 9), st.integers(0, 3),
            st.sampled_from(["x", "y"]),
        ),
        min_size=1,
        max_size=14,
    )
)  # fmt: skip
def test_waits_when_compared_with_a_slow_reference_then_equal(rows: Any, connection: duckdb.DuckDBPyConnection) -> None:
    found = collected(first_view_waits(connection.from_arrow(log(rows)), last_at=LAST, by="item", horizon_days=3))
    expected: dict[Any, list[int]] = {}
    for user, item in {(row[0], row[4]) for row in rows}:
        views, buys = (
            sorted(n * DAY + m for u, kind, n, m, i in rows if (u, i, kind) == (user, item, wanted))
            for wanted in ("view", "purchase")
        )
        unseen = int(bool(buys) and (not views or buys[0] < views[0]))
        after = [at for at in buys if views and at >= views[0]]
        wait = (after[0] if after else 10 * DAY) - views[0] if views else 0
        bought = bool(after) and wait < 3 * DAY
        cell = expected.setdefault((item, min(wait, 3 * DAY)), [0, 0, 0])
        for place, number in enumerate([bought, bool(views) and not bought, unseen]):
            cell[place] += number
    assert {(row.value, row.minutes): [row.came, row.gone, row.unseen] for row in found.itertuples()} == expected
