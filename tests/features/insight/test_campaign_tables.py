"""Messages, reach, coupons and outcomes: by hand, and alike on three engines."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features import columns as c
from features.contract.tables import COUPONS, EVENTS, SPEND
from features.errors import ConfigError, UnknownId
from features.insight.campaigns.coupons import coupon_campaigns, coupon_customers, coupon_rates, coupon_use
from features.insight.campaigns.messages import message_customers, message_funnel, message_rates
from features.insight.campaigns.outcomes import OUTCOMES, Panel, outcomes
from features.insight.campaigns.reach import overlap, reach, reach_by_medium
from features.insight.campaigns.sends import audiences, campaign_costs, campaigns_sent, first_days, known_campaign
from features.insight.inputs import Period
from tests.features.engines import assert_equal_tables, canonical
from tests.features.tiny_shop import arrow_table, event, utc

pytestmark = pytest.mark.xdist_group("spark")
DAY = dt.date(2024, 5, 1)
WEEKS = [
    Period(first_day=DAY, last_day=DAY + dt.timedelta(days=6)),
    Period(first_day=dt.date(2024, 5, 8), last_day=dt.date(2024, 5, 9)),
]


def _log(rows: list[dict[str, Any]]) -> pa.Table:
    rows = [row | {"event_id": f"e{number:04d}"} for number, row in enumerate(rows)]
    events = arrow_table(EVENTS, rows)
    return events.append_column(c.LOCAL_DAY, pa.array([at.date() for at in events["ts"].to_pylist()], pa.date32()))


def _message(user: str, kind: str, at: str, campaign: str | None = "spring", medium: str | None = "email") -> Any:
    return event(user, f"message_{kind}", at, campaign_id=campaign, medium=medium)


def _bought(user: str, at: str, price: int, **more: Any) -> Any:
    return event(user, "purchase", at, "i1", price=price, **more)


LOG = _log(
    [
        _message("ann", "sent", "2024-05-01 08:00"),
        _message("ann", "sent", "2024-05-02 08:00"),  # again: still one message
        _message("ann", "delivered", "2024-05-01 08:01"),
        _message("ann", "clicked", "2024-05-01 09:00"),  # its opening was hidden
        _bought("ann", "2024-05-01 08:30", 500),  # before the click
        _bought("ann", "2024-05-08 09:00", 700),  # exactly seven days after it
        _bought("ann", "2024-05-08 09:01", 900),  # too late
        _message("bob", "sent", "2024-05-01 08:00"),
        _message("bob", "opened", "2024-05-01 10:00"),  # it must have come
        _message("bob", "unsubscribed", "2024-05-01 10:01"),
        _message("cyd", "sent", "2024-05-01 08:00"),
        _message("cyd", "bounced", "2024-05-01 08:00"),
        _message("dan", "sent", "2024-05-01 08:00"),  # nobody says that it came
        _message("ann", "sent", "2024-05-02 08:00", "spring", "post"),  # a medium that never reports
        _message("bob", "sent", "2024-05-02 08:00", "spring", "post"),
        _message("bob", "bounced", "2024-05-04 08:00", "spring", "post"),
        _message("eve", "clicked", "2024-05-20 08:00", None, None),  # all that the log has of it
    ]
)


def _frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(date_as_object=False)


def test_message_funnel_when_worked_by_hand_then_equal() -> None:
    found = message_funnel(_frame(LOG), last_at_us=int(utc("2024-05-21 00:00").timestamp() * 1e6))
    found = found.set_index(["campaign_id", "medium"])
    columns = ["sent", "delivered", "opened", "clicked", "bought", "bounced", "unsubscribed", "open", "num_sent"]
    assert found.loc[("spring", "email"), columns].tolist() == [4, 2, 2, 1, 1, 1, 1, 0, 5]
    assert found.loc[("spring", "email"), ["revenue", "delivery_told"]].tolist() == [700, 1]
    assert found.loc[("spring", "post"), columns].tolist() == [2, 1, 0, 0, 0, 1, 0, 0, 2]
    assert found.loc[("(none)", "(none)"), columns].tolist() == [1, 1, 1, 1, 0, 0, 0, 1, 0]


def test_message_customers_when_media_write_to_the_same_then_each_once() -> None:
    # ann and bob were written to by email and by post: seven messages, five customers.
    stages = ["sent", "delivered", "opened", "clicked", "bought", "bounced", "unsubscribed"]
    assert message_customers(_frame(LOG))[stages].iloc[0].tolist() == [5, 3, 3, 2, 1, 2, 1]
    by_medium = message_customers(_frame(LOG), by="medium").set_index("medium")[stages]
    assert by_medium.loc["email"].tolist() == [4, 2, 2, 1, 1, 1, 1]
    assert by_medium.loc["post"].tolist() == [2, 1, 0, 0, 0, 1, 0]


def test_message_rates_when_media_are_put_together_then_shares_of_the_sums() -> None:
    found = message_rates(message_funnel(_frame(LOG))).set_index("stage")
    assert found["count"].to_dict() == {
        "sent": 7, "delivered": 4, "opened": 3, "clicked": 2, "bought": 1, "bounced": 2, "unsubscribed": 1
    }  # fmt: skip
    assert found.loc["bought", ["step", "overall"]].tolist() == pytest.approx([1 / 2, 1 / 7])
    assert found.loc["unsubscribed", "of_stage"] == "delivered"
    assert found.loc["unsubscribed", "step"] == 1 / 4
    # Wilson: (1/4 + z2/8 -+ z sqrt(3/64 + z2/64)) / (1 + z2/4) with z2 = 3.8415 and 4 delivered.
    assert found.loc["unsubscribed", ["step_low", "step_high"]].tolist() == pytest.approx([0.0456, 0.6994], abs=1e-4)
    by_medium = message_rates(message_funnel(_frame(LOG)), by=["medium"])
    assert len(by_medium) == 3 * 7
    assert by_medium.query("medium == 'email' and stage == 'opened'")["step"].item() == 1


def test_reach_when_media_overlap_then_each_set_once() -> None:
    sets = reach(_frame(LOG)).set_index("media")["customers"]
    # ann by email and post; bob by email, his letter came back; eve by a medium without a name.
    assert sets.to_dict() == {"email+post": 1, "email": 1, "(none)": 1}
    table = reach_by_medium(sets.reset_index(), num_customers=10).set_index("medium")
    assert table["customers"].to_dict() == {"email": 2, "(none)": 1, "post": 1, "all": 3}
    assert table["only"].to_dict() == {"email": 1, "(none)": 1, "post": 0, "all": 3}
    assert table["added"].to_dict() == {"email": 2, "(none)": 1, "post": 0, "all": 0}
    assert table.loc["all", "share"] == 0.3
    pairs = overlap(sets.reset_index()).set_index(["medium", "other"])
    assert pairs.loc[("post", "email")].tolist() == [1, 1.0]
    assert pairs.loc[("email", "post")].tolist() == [1, 0.5]


def _coupon(user: str, coupon: str, *, value: int = 200, until: str | None = "2024-05-10 00:00") -> dict[str, Any]:
    return {
        "coupon_id": coupon, "user_id": user, "issued_at": utc("2024-05-01 12:00"), "value": value,
        "expires_at": None if until is None else utc(until),
    }  # fmt: skip


COUPON_ROWS = [
    *(_coupon(user, "k1") for user in ("ann", "bob", "cyd")),
    _coupon("dan", "k1", until=None),
    _coupon("eve", "k2"),
]
COUPON_LOG = _log(
    [
        *(_message(user, "sent", "2024-04-30 20:00") for user in ("ann", "bob", "dan")),
        *(_message(user, "sent", "2024-05-01 20:00", "other") for user in ("ann", "cyd")),
        _message("eve", "sent", "2024-04-20 20:00"),  # too long before
        _bought("ann", "2024-05-02 12:00", 500, coupon_id="k1", order_id="o1"),
        _bought("ann", "2024-05-02 12:00", 300, coupon_id="k1", order_id="o1", quantity=2),
        _bought("bob", "2024-05-11 12:00", 400, coupon_id="k1", order_id="o2"),  # after it expired
        _bought("zoe", "2024-05-03 12:00", 100, coupon_id="k1", order_id="o3"),  # never got it
    ]
)


def test_coupon_use_when_worked_by_hand_then_equal() -> None:
    last = int(utc("2024-05-12 00:00").timestamp() * 1e6)
    coupons = arrow_table(COUPONS, COUPON_ROWS).to_pandas()
    found = coupon_rates(coupon_use(_frame(COUPON_LOG), coupons, last_at_us=last)).set_index("coupon_id")
    names = ["issued", "used", "open", "late", "not_issued", "orders", "revenue", "discount", "value", "days_to_use"]
    assert found.loc["k1", names].tolist() == [4, 2, 1, 1, 1, 3, 1600, 400, 200, (1 + 10) / 2]
    assert found.loc["k1", "rate"] == 0.5
    assert found.loc["k1", "low"] < 0.5 < found.loc["k1", "high"]
    assert found.loc["k2", names[:9]].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 200]
    assert np.isnan(found.loc["k2", "days_to_use"])


def test_coupon_campaigns_when_most_holders_were_written_to_then_that_campaign() -> None:
    found = coupon_campaigns(_frame(COUPON_LOG), arrow_table(COUPONS, COUPON_ROWS).to_pandas())
    assert found.to_dict("records") == [{"coupon_id": "k1", "campaign_id": "spring", "share": 0.75}]


def test_outcomes_when_units_did_nothing_then_the_panel_has_zeros() -> None:
    rows = outcomes(_frame(LOG), periods=WEEKS)
    assert rows.sort_values("period")["value"].tolist() == [500, 1600]
    panel = Panel.of(rows, periods=WEEKS, units=pd.Index(["ann", "bob"]))
    assert panel.rates.tolist() == [[500 / 7, 1600 / 2], [0, 0]]
    assert panel.mean_of(slice(0, 2)).tolist() == [2100 / 9, 0]
    assert panel.take(np.array([False, True])).units.tolist() == ["bob"]
    visits = outcomes(_frame(LOG), periods=WEEKS, outcome="visitor_days")
    assert visits["value"].tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"outcome: expected one of .*, found 'revenues'\. Did you mean 'revenue'"):
        outcomes(_frame(LOG), periods=WEEKS, outcome="revenues")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected windows that do not overlap"):
        outcomes(_frame(LOG), periods=[WEEKS[0], WEEKS[0]])


def test_known_campaign_when_it_is_not_then_says_which_is_near() -> None:
    known = campaigns_sent(_frame(LOG))["campaign_id"].tolist()
    assert known == ["spring"]
    with pytest.raises(UnknownId, match=r"the 1 that wrote to customers, found 'sprnig'\. Did you mean 'spring'"):
        known_campaign("sprnig", known)


def _busy() -> tuple[pa.Table, pa.Table, pa.Table]:
    generator = random.Random(3)
    rows = [_message(f"u{number}", "sent", "2024-05-01 00:30", "a") for number in range(0, 25, 2)]
    for _ in range(400):
        user, at = (
            f"u{generator.randrange(25)}",
            utc("2024-05-01 00:00") + dt.timedelta(minutes=generator.randrange(12 * 1440)),
        )
        if generator.random() < 0.7:
            kind = generator.choice(["sent", "sent", "delivered", "opened", "clicked", "bounced", "unsubscribed"])
            campaign, medium = generator.choice(["a", "b", None]), generator.choice(["email", "push", None])
            if (campaign, medium, kind) != ("b", "push", "delivered"):
                rows.append(event(user, f"message_{kind}", at, campaign_id=campaign, medium=medium))
        else:
            more = {
                "order_id": generator.choice([None, f"o{generator.randrange(40)}"]),
                "quantity": generator.choice([None, 1, 3]),
                "price": generator.choice([None, 199, 10_000]),
                "coupon_id": generator.choice([None, "k1", "k2"]),
                "region": generator.choice([None, "north", "south"]),
            }
            rows.append(event(user, generator.choice(["purchase", "purchase", "view"]), at, "i1", **more))
    coupons = [_coupon(f"u{number}", coupon) for number in range(0, 25, 2) for coupon in ("k1", "k2")]
    spend = [{"day": DAY, "channel": "email", "cost": 7, "campaign_id": name} for name in ("a", "a", None)]
    return _log(rows), arrow_table(COUPONS, coupons), arrow_table(SPEND, spend)


TABLES: dict[str, tuple[Any, list[str]]] = {
    "message_funnel": (lambda e, k, s: message_funnel(e, last_at_us=1_715_300_000_000_000), ["campaign_id", "medium"]),
    "message_customers": (lambda e, k, s: message_customers(e, by="medium"), ["medium"]),
    "coupon_customers": (lambda e, k, s: coupon_customers(e, k), ["campaign_id"]),
    "reach": (lambda e, k, s: reach(e), ["media"]),
    "coupon_use": (lambda e, k, s: coupon_use(e, k, last_at_us=1_715_300_000_000_000), ["coupon_id"]),
    "coupon_campaigns": (lambda e, k, s: coupon_campaigns(e, k), ["coupon_id"]),
    "campaigns_sent": (lambda e, k, s: campaigns_sent(e), ["campaign_id"]),
    "audiences": (lambda e, k, s: audiences(e), ["campaign_id", "user_id"]),
    "first_days": (lambda e, k, s: first_days(e), ["user_id"]),
    "campaign_costs": (lambda e, k, s: campaign_costs(s), ["campaign_id"]),
    **{
        f"outcomes {name}": (lambda e, k, s, name=name: outcomes(e, periods=WEEKS, outcome=name), ["unit", "period"])
        for name in OUTCOMES
    },
    "outcomes by region": (
        lambda e, k, s: outcomes(e, periods=WEEKS, outcome="buyer_days", unit="region"),
        ["unit", "period"],
    ),
}
ON_SPARK = ("message_funnel", "reach", "coupon_use", "coupon_campaigns", "outcomes orders")


@pytest.mark.parametrize("name", TABLES)
def test_table_when_run_by_duckdb_then_equal_to_pandas(name: str, connection: duckdb.DuckDBPyConnection) -> None:
    table, keys = TABLES[name]
    tables = _busy()
    on_duckdb = table(*(connection.from_arrow(one) for one in tables))
    assert isinstance(on_duckdb, duckdb.DuckDBPyRelation)
    found = canonical(on_duckdb, keys)
    assert len(found) > 0
    assert_equal_tables(found, canonical(table(*map(_frame, tables)), keys))


@pytest.mark.parametrize("name", ON_SPARK)
def test_table_when_run_by_spark_then_equal_to_pandas(name: str, spark: Any) -> None:
    table, keys = TABLES[name]
    tables = _busy()
    found = table(*(spark.createDataFrame(one) for one in tables))
    assert_equal_tables(canonical(found, keys), canonical(table(*map(_frame, tables)), keys))


def test_message_funnel_when_a_period_is_asked_for_then_messages_that_began_in_it() -> None:
    # ann's second sending is of the same message, so that nothing of it began on the second; the letters did.
    day = Period(first_day=dt.date(2024, 5, 2), last_day=dt.date(2024, 5, 2))
    found = message_funnel(_frame(LOG), period=day)
    assert found[["medium", "sent", "delivered", "bounced"]].to_numpy().tolist() == [["post", 2, 1, 1]]
    assert reach(_frame(LOG), period=day).to_numpy().tolist() == [["post", 1]]
