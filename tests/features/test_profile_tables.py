"""Values of the profile's table functions, worked out by hand or by a slow loop; engines agree in test_profile_parity."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contract.tables import COUPONS, EVENTS, PLAN
from features.tables import answers, hours, order_habits, orders, prices, shares, visits
from tests.features.tiny_shop import Rows, arrow_table, event, utc

AS_OF = dt.date(2024, 5, 31)


def frame(rows: Rows) -> pd.DataFrame:
    numbered = [{"event_id": f"e{number:03}", **row} for number, row in enumerate(rows)]
    events = arrow_table(EVENTS, numbered).to_pandas()
    local = events["ts"].dt.tz_localize(None)
    return events.assign(local_day=local.dt.normalize(), local_hour=local.dt.hour)


def test_visits_when_a_session_id_is_missing_then_a_longer_pause_opens_another() -> None:
    rows = [
        event("ann", "view", "2024-05-01 23:50", "x", session_id="s1", dwell_ms=4000),
        event("ann", "view", "2024-05-02 01:50", "x", session_id="s1"),  # one id is one visit
        event("ann", "view", "2024-05-03 10:00", "x"),
        event("ann", "purchase", "2024-05-03 10:30", "x"),  # exactly 30 minutes: the same visit
        event("ann", "search", "2024-05-03 11:00:00.000001"),  # a microsecond more
        event("ann", "message_opened", "2024-05-03 12:00"),  # no visit
    ]
    found = visits.visits(frame(rows), gap_minutes=30).sort_values("visit_id").to_dict("records")
    seen = [
        (v["visit_id"], v["local_hour"], v["num_events"], v["num_views"], v["dwell_ms"], v["bought"]) for v in found
    ]
    assert seen == [
        ("gap 1", 10, 2, 1, 30 * 60_000, 1),  # nothing tells the dwell: from the first to the last event
        ("gap 2", 11, 1, 0, 0, 0),
        ("s1", 23, 2, 2, 4000, 0),
    ]
    assert found[2]["local_day"] == pd.Timestamp("2024-05-01")
    (habits,) = visits.visit_habits(visits.visits(frame(rows), gap_minutes=30), as_of=AS_OF).to_dict("records")
    assert habits["num_visits"] == 3
    assert habits["num_visits_28d"] == 0  # 3 May is 28 days before 31 May: the 29th day back
    assert habits["active_days"] == 2
    assert habits["depth"] == pytest.approx(5 / 3)
    assert habits["dwell_seconds"] == 4.0
    assert habits["visit_conversion"] == pytest.approx(1 / 3)


@settings(max_examples=30, deadline=None)
@given(minutes=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 300)), min_size=1, max_size=25))
def test_visits_when_compared_with_a_loop_then_equal(minutes: list[tuple[str, int]]) -> None:
    rows = [event(user, "view", utc("2024-05-01 00:00") + dt.timedelta(minutes=m), "x") for user, m in minutes]
    found = visits.visits(frame(rows), gap_minutes=30)
    for user in {user for user, _ in minutes}:
        times = sorted(m for u, m in minutes if u == user)
        starts = [i for i, m in enumerate(times) if i == 0 or m - times[i - 1] > 30]
        expected = [b - a for a, b in zip(starts, [*starts[1:], len(times)], strict=True)]
        own = found[found["user_id"] == user]
        order = own["visit_id"].str.removeprefix("gap ").astype(int).argsort()
        assert own["num_events"].iloc[order].tolist() == expected


def _at_hours(user: str, *clock: int) -> pd.DataFrame:
    day = pd.Timestamp("2024-05-01")
    return pd.DataFrame({"user_id": user, "local_day": day, "local_hour": list(clock), "weekday": 3})


def test_hours_when_worked_out_by_a_loop_then_equal() -> None:
    generator = np.random.default_rng(3)
    moments = pd.concat([_at_hours(f"u{n}", *generator.integers(24, size=n + 1)) for n in range(12)])
    found = hours.hours_to_write(hours.hour_counts(moments), quiet_hours=8, prior=10).set_index("user_id")
    shop = np.bincount(moments["local_hour"], minlength=24) / len(moments)
    for user, own in moments.groupby("user_id"):
        share = (np.bincount(own["local_hour"], minlength=24) + 10 * shop) / (len(own) + 10)
        smooth = sum(w * np.roll(share, -step) for step, w in [(-2, 1), (-1, 2), (0, 3), (1, 2), (2, 1)]) / 9
        stretch = [round(sum(smooth[(start + k) % 24] for k in range(8)), 12) for start in range(24)]
        quiet = int(np.argmin(stretch))
        open_hours = [h for h in range(24) if (h - quiet) % 24 >= 8]
        best = max(open_hours, key=lambda h: (round(smooth[h], 12), -h))
        row = found.loc[user]
        assert (row["quiet_from"], row["quiet_until"], row["best_hour"]) == (quiet, (quiet + 8) % 24, best)
        assert row["best_hour_share"] == pytest.approx(smooth[best], rel=1e-12)
        assert row["num_moments"] == len(own)


def test_hours_when_a_customer_comes_late_then_it_is_written_to_across_midnight_and_shrunk_with_little_evidence() -> (
    None
):
    many = [_at_hours("owl", *[23, 0, 0, 1] * 10), _at_hours("new", 3)]
    shop = [_at_hours(f"u{n}", 12, 13, 13, 14) for n in range(30)]
    found = hours.hours_to_write(hours.hour_counts(pd.concat([*many, *shop])), quiet_hours=8, prior=10).set_index(
        "user_id"
    )
    assert found.loc["owl", "best_hour"] == 0
    assert found.loc["new", "best_hour"] == 13  # one visit at 3 in the morning does not outweigh the shop


def test_moments_when_a_message_is_opened_then_it_counts_and_weekends_are_told() -> None:
    rows = [event("ann", "message_opened", "2024-05-04 09:00"), event("ann", "view", "2024-05-06 10:00", "x")]
    found = hours.moments(visits.visits(frame(rows), gap_minutes=30), frame(rows)).sort_values("local_hour")
    assert found["weekday"].tolist() == [6, 1]  # a Saturday and a Monday
    assert hours.weekend_share(found)["weekend_share"].tolist() == [0.5]


def test_interest_when_a_half_life_has_passed_then_half_is_left() -> None:
    rows = [
        event("ann", "view", "2024-05-31 09:00", "x"),
        event("ann", "purchase", "2024-05-11 09:00", "y"),  # 20 days: two half-lives
        event("ann", "login", "2024-05-31 09:00"),
    ]
    made = shares.interest(frame(rows), as_of=AS_OF, half_life_days=10, event_weights={"view": 1, "purchase": 8})
    assert made.set_index("item_id")["weight"].to_dict() == {"x": 1_000_000, "y": 2_000_000}
    items = pd.DataFrame({"item_id": ["x", "y"], "brand": ["acme", None]})
    assert shares.item_shares(made, items, "brand")[["value", "share"]].to_dict("records") == [
        {"value": "acme", "share": 1.0}
    ]


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 5)), min_size=1))
def test_shares_when_summed_then_one_and_ranks_follow_them(rows: list[tuple[str, str, int]]) -> None:
    table = pd.DataFrame(rows, columns=["user_id", "brand", "weight"])
    found = shares.shares(table, "brand")
    expected = Counter[tuple[str, str]]()
    for user, brand, weight in rows:
        expected[user, brand] += weight
    assert len(found) == sum(weight > 0 for weight in expected.values())
    for user, own in found.groupby("user_id"):
        assert own["share"].sum() == pytest.approx(1)
        order = sorted(own["value"], key=lambda value: (-expected[user, value], value))
        assert own.sort_values("rank")["value"].tolist() == order
        assert sorted(own["rank"]) == list(range(1, len(own) + 1))


def _priced(item: str, day: str, price: int, kind: str = "view", **more: Any) -> dict[str, Any]:
    return event("ann", kind, f"{day} 09:00", item, price=price, **more)


def test_list_prices_when_a_few_rows_are_cheap_or_mistyped_then_the_usual_price() -> None:
    rows = [_priced("x", "2024-05-30", p) for p in [80] * 4 + [100] * 15 + [9900]]
    rows += [_priced("x", "2024-04-30", 90), _priced("y", "2024-05-30", 70, "refund")]
    found = prices.list_prices(frame(rows), as_of=AS_OF, days=20, percent=90)
    # 19 of 20 rows do not exceed 100; 30 April is 31 days back: period 1
    assert found.sort_values("period")[["item_id", "period", "list_price"]].to_dict("records") == [
        {"item_id": "x", "period": 0, "list_price": 100},
        {"item_id": "x", "period": 1, "list_price": 90},
    ]


def test_price_bands_when_prices_tie_then_they_share_a_band() -> None:
    items = pd.DataFrame(
        {
            "item_id": list("abcdef"),
            "category": ["food/tea", "food/nuts", "food", "food", "home", None],
            "price": [100, 200, 200, 900, 50, None],
        }
    )
    found = prices.price_bands(items, num_bands=4).set_index("item_id")["price_band"]
    assert found.to_dict() == {"a": 1, "b": 2, "c": 2, "d": 4, "e": 1}


def test_order_habits_when_worked_out_by_hand_then_equal() -> None:
    rows = [
        _priced("x", "2024-05-01", 100, "purchase", order_id="o1", quantity=2),
        _priced("y", "2024-05-01", 300, "purchase", order_id="o1"),
        _priced("x", "2024-05-11", 80, "purchase", order_id="o2"),
        _priced("x", "2024-05-14", 100, "purchase", order_id="o3"),
        _priced("y", "2024-05-20", 300, "refund", order_id="o1"),
        *(_priced("x", "2024-05-02", 100) for _ in range(30)),
        event("bob", "purchase", "2024-05-01 09:00", "x"),
        event("bob", "refund", "2024-05-02 09:00", "x", price=100),
    ]
    events = frame(rows)
    ann, bob = order_habits.repeats(events, orders.purchases(events)).sort_values("user_id").to_dict("records")
    assert ann["repeat_rate"] == pytest.approx(2 / 3)  # of three orders two came after the first
    assert ann["rebuy_share"] == pytest.approx(2 / 4)  # x again on the 11th and the 14th
    assert ann["units_per_order"] == pytest.approx(5 / 3)
    assert (bob["repeat_rate"], bob["rebuy_share"]) == (0.0, 0.0)
    gaps = order_habits.days_between_orders(events)
    assert gaps.to_dict("records") == [{"user_id": "ann", "days_between_orders": 6.5}]  # 10 and 3 days
    back = order_habits.refunds(events).to_dict("records")
    # 300 of 680; bob's purchase has no price, so there is no rate
    assert [(row["user_id"], row["refunded"]) for row in back] == [("ann", 300)]
    assert back[0]["refund_rate"] == pytest.approx(300 / 680)
    listed = prices.list_prices(events, as_of=AS_OF, days=60, percent=90)
    cheap = order_habits.discounts(events, listed, as_of=AS_OF, days=60, min_percent=5)
    assert cheap["user_id"].tolist() == ["ann"]
    assert cheap["discount_share"].iloc[0] == pytest.approx(80 / 680)


def test_message_answers_when_opened_twice_then_once_a_message() -> None:
    def sent(kind: str, count: int, medium: str | None = "email") -> list[dict[str, Any]]:
        return [event("ann", f"message_{kind}", f"2024-05-01 09:{n:02}", medium=medium) for n in range(count)]

    rows = (
        sent("sent", 4) + sent("bounced", 1) + sent("opened", 5) + sent("delivered", 2, "push") + sent("sent", 3, None)
    )
    found = answers.message_answers(frame(rows), "medium").sort_values("arm").to_dict("records")
    assert [(row["arm"], row["num_chances"], row["num_answers"]) for row in found] == [("email", 3, 3), ("push", 2, 0)]


def test_coupon_answers_when_used_then_by_size_with_one_digit() -> None:
    values = {"k1": 550, "k2": 500, "k3": 1999, "k4": 7}
    coupons = [
        {"coupon_id": k, "user_id": "ann", "issued_at": utc("2024-05-01"), "value": value}
        for k, value in values.items()
    ]
    rows = [event("ann", "purchase", "2024-05-02 09:00", item, coupon_id="k1") for item in "xy"]
    found = answers.coupon_answers(frame(rows), arrow_table(COUPONS, coupons).to_pandas()).sort_values("arm")
    assert found[["arm", "num_chances", "num_answers"]].values.tolist() == [[7, 1, 0], [500, 2, 1], [1000, 1, 0]]


def test_promotion_answers_when_an_item_has_two_kinds_then_it_counts_for_both() -> None:
    day = dt.date(2024, 5, 1)
    plan = [
        {"item_id": "x", "day": day, "announced_at": utc("2024-04-01"), "promotion": 0.2, "display": 1.0},
        {"item_id": "y", "day": day, "announced_at": utc("2024-04-01"), "promotion": 0.1, "mailer": 0.0},
    ]
    rows = [
        event("ann", "view", "2024-05-01 09:00", "x"),
        event("ann", "view", "2024-05-01 10:00", "x"),
        event("ann", "purchase", "2024-05-01 11:00", "x"),
        event("ann", "view", "2024-05-01 11:00", "y"),
        event("ann", "view", "2024-05-02 11:00", "y"),  # not promoted
        event("ann", "purchase", "2024-05-01 11:00", "z"),
    ]
    found = answers.promotion_answers(frame(rows), _days(arrow_table(PLAN, plan).to_pandas())).sort_values("arm")
    counts = found[["arm", "num_chances", "num_answers"]].values.tolist()
    assert counts == [["discount", 2, 1], ["display", 1, 1]]


def _days(plan: pd.DataFrame) -> pd.DataFrame:
    return plan.assign(day=pd.to_datetime(plan["day"]).astype("datetime64[us]"))


def test_shrunk_rates_when_customers_differ_by_chance_alone_then_the_shops_rate() -> None:
    generator = np.random.default_rng(0)
    chances = generator.integers(1, 30, 4000)
    same = _counts(chances, generator.binomial(chances, 0.3))
    assert answers.shrunk_rates(same)["rate"].std() < 0.02


def test_shrunk_rates_when_customers_truly_differ_then_the_spread_is_recovered() -> None:
    generator = np.random.default_rng(1)
    chances = generator.integers(5, 60, 6000)
    truth = generator.beta(2, 6, 6000)  # strength 8
    found = answers.shrunk_rates(_counts(chances, generator.binomial(chances, truth)))
    k, n = found["num_answers"].to_numpy(), found["num_chances"].to_numpy()
    p, moved = k.sum() / n.sum(), found["rate"].to_numpy()
    strength = (k - n * moved) / np.where(moved == p, np.nan, moved - p)
    assert np.nanmedian(strength) == pytest.approx(8, rel=0.1)
    assert np.abs(moved - truth).mean() < np.abs(k / n - truth).mean()


def test_shrunk_rates_when_nobody_answers_then_nobody_is_said_to() -> None:
    found = answers.shrunk_rates(_counts(np.array([3, 4]), np.array([0, 0])))
    assert found["rate"].tolist() == [0, 0]
    assert len(answers.best_answers(found, min_chances=1)) == 0


def test_best_answers_when_there_is_little_evidence_then_none() -> None:
    rates = pd.DataFrame(
        {
            "user_id": ["ann", "ann", "bob", "cat"],
            "arm": ["email", "push", "email", "sms"],
            "num_chances": [5, 9, 2, 9],
            "num_answers": [2, 1, 2, 0],
            "rate": [0.3, 0.1, 0.9, 0.5],
        }
    )
    assert answers.best_answers(rates, min_chances=3).to_dict("records") == [
        {"user_id": "ann", "best": "email", "best_rate": 0.3}
    ]


def _counts(chances: np.ndarray, answered: np.ndarray) -> pd.DataFrame:
    users = [f"u{n:05}" for n in range(len(chances))]
    return pd.DataFrame({"user_id": users, "arm": "email", "num_chances": chances, "num_answers": answered})
