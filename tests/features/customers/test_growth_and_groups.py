"""Growth stages, RFM segments, value tiers, groups and moves, by hand."""

from __future__ import annotations

import datetime as dt
import itertools

import pandas as pd
import pytest

from features import columns as c
from features.contract.tables import EVENTS, ITEMS
from features.customers.groups import GROUPS, RFM_SEGMENTS, members, rfm_segment, value_tier
from features.customers.growth import growth_stage
from features.customers.moves import moved, step_counts, steps
from features.customers.settings import GrowthSettings, ValueSettings
from features.customers.value.purchase_days import buyers, came, purchase_days
from features.errors import ConfigError
from features.settings import ShopSettings
from tests.features.tiny_shop import arrow_table as table
from tests.features.tiny_shop import event

AS_OF = dt.date(2024, 6, 30)


@pytest.mark.parametrize(
    ("first", "last", "now", "before", "stage"),
    [
        (400, 181, 0, 0, "lost"),
        (400, 180, 0, 0, "silent"),
        (400, 61, 3, 3, "silent"),
        (400, 60, 3, 3, "loyal"),
        (400, 5, 2, 5, "silent"),  # 2 is less than half of 5
        (400, 5, 2, 4, "loyal"),  # half of 4
        (400, 5, 2, 2, "growing"),
        (31, 5, 4, 0, "growing"),
        (31, 5, 5, 0, "loyal"),
        (30, 0, 9, 0, "newcomer"),
        (0, 0, 1, 0, "newcomer"),
    ],
)
def test_growth_stage_when_on_a_boundary_then_the_first_rule_that_holds(
    first: int, last: int, now: int, before: int, stage: str
) -> None:
    row = {c.USER_ID: ["ann"], "first_days_ago": [first], "last_days_ago": [last]}
    frame = pd.DataFrame({**row, "trend_now": [now], "trend_before": [before]})
    assert growth_stage(frame, settings=GrowthSettings())["growth_stage"].tolist() == [stage]


def test_rfm_segment_when_every_combination_is_asked_then_each_has_exactly_one() -> None:
    scores = list(itertools.product(range(1, 6), repeat=3))
    names = ["recency_score", "frequency_score", "monetary_score"]
    frame = pd.DataFrame(scores, columns=names).assign(user_id=[str(score) for score in scores])
    found = rfm_segment(frame)
    assert len(found) == 125
    assert set(found["rfm_segment"]) == set(RFM_SEGMENTS)
    assert len(RFM_SEGMENTS) == 11
    by_scores = dict(zip(found["user_id"], found["rfm_segment"], strict=True))
    expected = {
        (5, 5, 5): "champion",
        (5, 4, 3): "champion",
        (5, 1, 1): "new",
        (4, 1, 1): "promising",
        (3, 4, 4): "loyal",
        (2, 5, 5): "at_risk",
        (1, 5, 5): "cannot_lose",
        (1, 1, 1): "lost",
        (1, 2, 2): "hibernating",
        (5, 2, 2): "potential_loyalist",
        (3, 2, 2): "about_to_sleep",
        (3, 3, 3): "need_attention",
    }
    assert {scores: by_scores[str(scores)] for scores in expected} == expected


def test_rfm_segment_when_a_user_never_bought_then_no_row() -> None:
    frame = pd.DataFrame(
        {"user_id": ["a"], "recency_score": [None], "frequency_score": [None], "monetary_score": [None]}
    )
    assert rfm_segment(frame.astype({name: "Int64" for name in frame if name != "user_id"})).empty


def test_value_tier_when_shares_are_taken_then_the_stated_counts() -> None:
    frame = pd.DataFrame({"user_id": range(201), "customer_lifetime_value": [None, *map(float, range(200))]})
    tiers = value_tier(frame, percents=(1, 5, 20)).set_index("user_id")["value_tier"]
    assert tiers.value_counts().to_dict() == {"top_1": 2, "top_5": 8, "top_20": 30, "rest": 160}
    assert tiers[200] == "top_1"
    assert 0 not in tiers.index


def test_value_tier_when_values_tie_then_they_share_the_better_tier() -> None:
    frame = pd.DataFrame({"user_id": list("abcde"), "customer_lifetime_value": [5.0, 5, 1, 1, 1]})
    assert value_tier(frame, percents=(20,))["value_tier"].tolist() == ["top_20", "top_20", "rest", "rest", "rest"]


def test_members_when_values_are_missing_then_nobody_is_in_by_accident() -> None:
    customers = pd.DataFrame(
        {
            "user_id": list("abcde"),
            "value_tier": ["top_1", "rest", None, "top_20", "rest"],
            "price_sensitivity": [1.0, 5.0, 2.0, None, 3.0],
            "frequency": [1, 2, 0, 1, 9],
            "monetary_score": pd.array([5, 1, None, 4, 4], "Int64"),
            "churn_risk": [0.9, 0.9, None, 0.1, 0.5],
            "num_interactions": [3, 3, 3, 3, 3],
        }
    )
    found = {group.name: "".join(members(customers, group)["user_id"]) for group in GROUPS}
    assert found == {
        "high_value": "ad",
        "price_sensitive": "",  # one in five of four buyers is less than one
        "one_time_buyer": "ad",
        "big_spender": "ade",
        "worth_winning_back": "ae",
        "browser": "c",
    }
    assert all(group.rule.endswith(".") and set(group.needs) <= set(customers) for group in GROUPS)


def test_moves_when_two_days_are_compared_then_who_became_what_and_how_many() -> None:
    before = pd.DataFrame({"user_id": list("abc"), "stage": ["growing", "loyal", "loyal"]})
    after = pd.DataFrame({"user_id": list("abde"), "stage": ["growing", "silent", "newcomer", None]})
    taken = steps(before, after, column="stage").sort_values("user_id", ignore_index=True)
    assert taken.to_dict("list") == {
        "user_id": ["a", "b", "c", "d"],
        "was": ["growing", "loyal", "loyal", "(none)"],
        "now": ["growing", "silent", "(none)", "newcomer"],
    }
    assert list(moved(taken)["user_id"]) == ["b", "c", "d"]
    assert list(moved(taken, was="loyal")["user_id"]) == ["b", "c"]
    assert list(moved(taken, was="loyal", now="silent")["user_id"]) == ["b"]
    counts = step_counts(taken)
    assert dict(zip(zip(counts["was"], counts["now"], strict=True), counts["customers"], strict=True)) == {
        ("(none)", "newcomer"): 1, ("growing", "growing"): 1, ("loyal", "(none)"): 1, ("loyal", "silent"): 1
    }  # fmt: skip


def test_buyers_when_counted_back_from_a_day_then_nothing_later_is_seen() -> None:
    items = table(ITEMS, [{"item_id": "x", "cost": 60}, {"item_id": "y"}]).to_pandas()
    rows = [
        event("ann", "purchase", "2024-01-10 09:00", "x", quantity=2, price=100),
        event("ann", "purchase", "2024-01-10 18:00", "y", quantity=1, price=50),
        event("ann", "purchase", "2024-06-01 09:00", "x", quantity=1, price=90),
        event("ann", "purchase", "2024-06-29 09:00", "x"),
        event("ann", "purchase", "2024-07-01 09:00", "x", price=9_999),
        event("bob", "view", "2024-06-01 09:00", "x", price=1),
    ]
    events = table(EVENTS, rows).to_pandas()
    days = purchase_days(events.assign(local_day=events["ts"].dt.tz_localize(None).dt.normalize()), items)
    (row,) = buyers(days, as_of=AS_OF, trend_days=90).to_dict("records")
    assert row == {
        "user_id": "ann",
        "num_days": 3,
        "first_days_ago": 172,  # 10 January to 30 June 2024
        "last_days_ago": 1,
        "month_days": 2,  # 1 June is 29 days ago
        "trend_now": 2,
        "trend_before": 1,
        "amount": 340,
        "costed_amount": 290,  # y's cost is not known, nor the price of 29 June
        "cost": 180,
        "first_amount": 250,
    }
    later = came(days, after=AS_OF, until=dt.date(2024, 7, 31))
    assert later.to_dict("records") == [{"user_id": "ann", "num_came": 1}]


def test_settings_when_they_make_no_sense_then_refused() -> None:
    with pytest.raises(ConfigError, match="expected silent_days up to lost_days, found 200 and 180"):
        GrowthSettings(silent_days=200)
    with pytest.raises(ConfigError, match=r"expected rising shares below 100 such as 1, 5, 20, found \(5, 1\)"):
        ValueSettings(tier_percents=(5, 1))
    with pytest.raises(ConfigError, match=r"value.horizon_days: expected a whole number of 1 or more, found 0"):
        ValueSettings(horizon_days=0)


def test_settings_when_saved_then_read_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    shop = ShopSettings(growth=GrowthSettings(silent_days=45), value=ValueSettings(tier_percents=(2, 10)))
    shop.save(tmp_path)
    assert ShopSettings.load(tmp_path) == shop
