"""Price sensitivity: recovered where it is known, and equal to a slow loop; engines agree in test_profile_parity."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from features.contract.tables import EVENTS
from features.tables.price_sensitivity import category_slopes, occasions, price_cells, price_sensitivity, shop_slope
from features.tables.prices import list_prices
from tests.features.tiny_shop import arrow_table, event

AS_OF = dt.date(2024, 5, 31)


def _world(
    *, num_users: int, shop: float, spread: float, tea: float = 0.0, dear: float = 1.0
) -> tuple[pd.DataFrame, ...]:
    """Occasions whose takings follow the model; half of the items are tea, whose sensitivity is ``tea`` higher."""
    rng = np.random.default_rng(0)
    num_items, each = 60, 60
    user, item = np.repeat(np.arange(num_users), each), rng.integers(num_items, size=num_users * each)
    own = shop + spread * rng.standard_normal(num_users)
    appeal, habit = dear * rng.uniform(0.1, 0.3, num_items), rng.gamma(5, 0.2, num_users)
    price = rng.choice([100, 70, 85], size=len(user), p=[0.6, 0.2, 0.2])
    slope = own[user] + tea * (item % 2)
    rate = habit[user] * appeal[item] * np.exp(-slope * np.log(price / 100))
    seen = pd.DataFrame(
        {
            "user_id": [f"u{n:05}" for n in user],
            "item_id": [f"i{n:03}" for n in item],
            "price": price,
            "list_price": 100,
            "taken": (rng.random(len(user)) < 1 - np.exp(-rate)).astype(np.int64),
        }
    )
    items = pd.DataFrame(
        {"item_id": [f"i{n:03}" for n in range(num_items)], "category": ["food/nuts", "tea"] * (num_items // 2)}
    )
    return seen, items, pd.DataFrame({"user_id": [f"u{n:05}" for n in range(num_users)], "own": own})


def _estimate(seen: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    cells = price_cells(seen)
    return price_sensitivity(seen, category_slopes(cells, items, shop_slope(cells)))


def test_shop_slope_when_the_truth_is_known_then_recovered() -> None:
    # at small rates: an occasion holds one taking at most, which flattens the answer where rates are large
    seen, _, _ = _world(num_users=1500, shop=2.0, spread=0.0, dear=0.25)
    assert shop_slope(price_cells(seen))["slope"].iloc[0] == pytest.approx(2.0, abs=0.3)


def test_shop_slope_when_found_then_no_other_is_likelier() -> None:
    cells = price_cells(_world(num_users=200, shop=1.0, spread=0.5)[0])
    found = shop_slope(cells)["slope"].iloc[0]
    x = np.log(cells["price"] / cells["list_price"])

    def likelihood(slope: float) -> float:
        weight = cells["num_seen"] * np.exp(-slope * x)
        share = weight / weight.groupby(cells["item_id"]).transform("sum")
        return float((cells["num_taken"] * np.log(share)).sum())

    assert all(likelihood(found) > likelihood(found + step) for step in (-0.05, 0.05))


def test_category_slopes_when_categories_differ_then_apart_and_else_alike() -> None:
    seen, items, _ = _world(num_users=1500, shop=1.0, spread=0.0, tea=2.0)
    apart = category_slopes(price_cells(seen), items, shop_slope(price_cells(seen))).merge(items, on="item_id")
    nuts, tea = apart.groupby("category")["slope"].first()
    assert tea - nuts == pytest.approx(1.7, abs=0.5)
    seen, items, _ = _world(num_users=150, shop=1.0, spread=0.0)
    alike = category_slopes(price_cells(seen), items, shop_slope(price_cells(seen)))
    assert alike["slope"].max() - alike["slope"].min() < 0.6


def test_price_sensitivity_when_customers_differ_then_ranked_and_shrunk() -> None:
    seen, items, truth = _world(num_users=1500, shop=2.0, spread=1.5)
    found = _estimate(seen, items).merge(truth, on="user_id")
    assert found["price_sensitivity"].rank().corr(found["own"].rank()) > 0.4
    assert found["price_sensitivity"].std() < truth["own"].std()
    assert found["price_sensitivity"].mean() == pytest.approx(2.0, abs=0.5)


def test_price_sensitivity_when_compared_with_a_loop_then_equal() -> None:
    seen, items, _ = _world(num_users=40, shop=2.0, spread=1.0)
    cells = price_cells(seen)
    slopes = category_slopes(cells, items, shop_slope(cells)).set_index("item_id")
    found = price_sensitivity(seen, slopes.reset_index()).set_index("user_id")
    for user, own in seen.groupby("user_id"):
        x = np.log(own["price"] / own["list_price"]).to_numpy()
        slope, appeal = (slopes.loc[own["item_id"], name].to_numpy() for name in ("slope", "appeal"))
        expected = appeal * np.exp(-slope * x)
        habit = (own["taken"].sum() + 10) / (expected.sum() + 10)
        score = (habit * expected * x - own["taken"] * x).sum()
        information = (habit * expected * x * x).sum()
        prior = (expected * slope).sum() / expected.sum()
        assert found.loc[user, "price_sensitivity"] == pytest.approx(prior + score / (information + 1), rel=1e-9)
        assert found.loc[user, "price_information"] == pytest.approx(information, rel=1e-9)


def test_price_sensitivity_when_an_item_is_always_dear_or_cheap_then_it_says_nothing() -> None:
    seen, items, _ = _world(num_users=100, shop=2.0, spread=1.0)
    flat = seen.assign(price=seen["list_price"])
    found = _estimate(flat, items)
    assert found["price_sensitivity"].tolist() == pytest.approx([0.0] * 100, abs=1e-9)
    assert found["price_information"].tolist() == pytest.approx([0.0] * 100, abs=1e-9)


def test_occasions_when_an_item_is_viewed_twice_a_day_then_once_and_taken_without_a_view_then_none() -> None:
    rows = [
        event("ann", "view", "2024-05-01 09:00", "x", price=80),
        event("ann", "view", "2024-05-01 10:00", "x", price=90),
        event("ann", "purchase", "2024-05-01 11:00", "x", price=80),
        event("ann", "purchase", "2024-05-02 11:00", "x", price=100),  # bought again without a look
        event("ann", "view", "2024-05-03 11:00", "x", price=100),
        event("ann", "view", "2024-05-04 11:00", "x"),  # no price
    ]
    events = arrow_table(EVENTS, rows).to_pandas()
    events = events.assign(local_day=events["ts"].dt.tz_localize(None).dt.normalize())
    listed = list_prices(events, as_of=AS_OF, days=56, percent=90)
    found = occasions(events, listed, as_of=AS_OF, days=56).sort_values("price")
    assert found[["price", "list_price", "taken"]].values.tolist() == [[80, 100, 1], [100, 100, 0]]
