"""Demand cut by who buys: shares by hand, and groups that add up to the whole."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest

from features.build import FeatureSet
from features.panel.build import PanelSettings
from features.settings import EngineSettings
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, utc, write_shop
from training.demand.backtesting.buyers import Buyers, buyers_before, by_buyers
from training.demand.backtesting.scores import Scores

FIRST, NUM_DAYS = utc("2024-03-01 10:00"), 50


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> FeatureSet:
    """``regular`` buys one of ``a`` every other day; ``fresh`` comes on day 40 for 3 of ``a`` and all of ``b``."""
    directory = tmp_path_factory.mktemp("buyers")
    events = [event("regular", "purchase", FIRST + dt.timedelta(days=day), "a", quantity=1) for day in range(0, 50, 2)]
    events += [event("fresh", "purchase", FIRST + dt.timedelta(days=40), "a", quantity=3)]
    events += [event("fresh", "purchase", FIRST + dt.timedelta(days=day), "b", quantity=2) for day in (40, 45, 49)]
    events += [event("late", "purchase", FIRST + dt.timedelta(days=46), "a", quantity=9)]
    items = [{"item_id": "a", "category": "x"}, {"item_id": "b", "category": "x"}]
    data = write_shop(directory / "data", events=events, items=items)
    panel, engine = PanelSettings(min_purchases=1), EngineSettings(threads=1)
    build_model_features(data, directory / "features", engine=engine, panel=panel)
    return FeatureSet.load(directory / "features")


def test_buyers_when_a_window_begins_then_shares_are_of_units_before_it(features) -> None:
    days = features.panel.num_periods
    assert days == NUM_DAYS
    found = {one.title: one for one in buyers_before(features, 44)}
    growth = found["Growth stage"]
    share = dict(zip(features.panel.item_ids, growth.share, strict=True))
    stage = {label: column for column, label in enumerate(growth.labels)}
    assert share["a"][stage["loyal"]] == pytest.approx(22 / 25)  # 22 days of regular's, 3 units of fresh's
    assert share["a"][stage["newcomer"]] == pytest.approx(3 / 25)
    assert share["b"][stage["newcomer"]] == 1
    assert dict(zip(growth.labels, growth.num_customers, strict=True)) == dict.fromkeys(growth.labels, 0) | {
        "loyal": 1,
        "newcomer": 1,
    }
    for one in found.values():
        assert one.share.sum(axis=1) == pytest.approx(1)


def test_buyers_when_somebody_buys_other_items_alone_then_not_counted(features) -> None:
    names = np.where(features.panel.item_ids == "b", "b", "elsewhere").astype(object)  # of b, fresh is the only buyer
    narrow = dataclasses.replace(features, panel=dataclasses.replace(features.panel, item_ids=names))
    growth = next(one for one in buyers_before(narrow, 44) if one.title == "Growth stage")
    counts = dict(zip(growth.labels, growth.num_customers, strict=True))
    assert counts == dict.fromkeys(growth.labels, 0) | {"newcomer": 1}


def test_buyers_when_nobody_has_bought_yet_then_no_share(features) -> None:
    growth = next(one for one in buyers_before(features, 10) if one.title == "Growth stage")
    row = features.panel.item_ids.tolist().index("b")
    assert growth.share[row].sum() == 0


def test_by_buyers_when_groups_are_put_together_again_then_the_whole() -> None:
    rng = np.random.default_rng(0)
    units = rng.integers(0, 9, 12).astype(float)
    scores = Scores(names=("wql", "rmsse"), top=rng.random((12, 2)), bottom=np.stack([units, np.ones(12)], axis=1))
    share = rng.dirichlet(np.ones(3), 12)
    share[:, 2] = 0  # who buys nothing
    sizes = np.array([7, 8, 0])
    buyers = Buyers(title="Growth stage", labels=("new", "loyal", "lost"), share=share, num_customers=sizes)
    rows = by_buyers({"ours": scores}, buyers, minimum=5)["rows"]
    assert [row["label"] for row in rows] == ["new", "loyal"]
    for row, weight in zip(rows, share.T, strict=False):
        assert row["share_of_units"] == pytest.approx((weight * units).sum() / units.sum())
        expected = (weight * scores.top[:, 0]).sum() / (weight * units).sum()
        assert row["models"]["ours"] == {"wql": pytest.approx(expected)}


def test_by_buyers_when_a_group_is_small_then_it_is_not_shown_nor_told_by_the_others() -> None:
    scores = Scores(names=("wql",), top=np.ones((1, 1)), bottom=np.ones((1, 1)))
    share, sizes = np.array([[0.5, 0.3, 0.2]]), np.array([90, 9, 2])
    buyers = Buyers(title="Growth stage", labels=("loyal", "new", "lost"), share=share, num_customers=sizes)
    found = by_buyers({"ours": scores}, buyers, minimum=5)
    assert [row["label"] for row in found["rows"]] == ["loyal"]
    assert (
        found["note"] == "Not shown: 1 group of fewer than 5 customers, and 1 more that a total would have given away."
    )
