"""Every campaign of a log by the best comparison that there is."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError, UnknownId
from features.insight.campaigns.definition import CampaignsDefinition
from features.insight.campaigns.judge import Judgements, judge_campaigns, judged_table

FIRST = dt.date(2024, 1, 1)
NUM_DAYS, NUM_USERS = 60, 300


def _day(number: int) -> pd.Timestamp:
    return pd.Timestamp(FIRST) + pd.Timedelta(days=number)


def _log() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customers buy on two days of five for 100; ``fair`` doubles that for a half held in by lot, ``all`` does nothing."""
    rng = np.random.default_rng(0)
    lot = rng.random(NUM_USERS) < 0.5
    day, user = np.meshgrid(np.arange(NUM_DAYS), np.arange(NUM_USERS), indexing="ij")
    chance = np.where((day >= 35) & (day < 42) & lot[user], 0.8, 0.4)
    bought_then = rng.random(chance.shape) < chance
    day, user = day[bought_then], user[bought_then]
    bought = pd.DataFrame({"user_id": [f"u{n:03d}" for n in user], "local_day": [_day(n) for n in day]})
    bought = bought.assign(event_type="purchase", price=100, order_id=[f"o{n}" for n in range(len(bought))])
    sent = [
        pd.DataFrame({"user_id": [f"u{n:03d}" for n in who], "local_day": _day(number), "campaign_id": name})
        for name, number, who in (
            ("early", 3, np.arange(50)),
            ("some", 21, np.arange(100)),
            ("fair", 35, np.flatnonzero(lot)),
            ("all", 49, np.arange(NUM_USERS)),
            ("late", 57, np.arange(20)),
        )
    ]
    log = pd.concat([bought, *(part.assign(event_type="message_sent") for part in sent)], ignore_index=True)
    log["ts"] = log["local_day"].dt.tz_localize("UTC")
    log["quantity"] = 1
    users = pd.DataFrame({"user_id": [f"u{n:03d}" for n in range(NUM_USERS)]})
    return log, users.assign(tag_fair=np.where(lot, "treatment", "holdout"))


def _judged(**more: object) -> Judgements:
    log, users = _log()
    definition = CampaignsDefinition(days=7, days_before=14, **more)  # type: ignore[arg-type]
    last = FIRST + dt.timedelta(days=NUM_DAYS - 1)
    return judge_campaigns(log, definition, first_day=FIRST, last_day=last, users=users, costs={"fair": 5000.0})


def test_judge_when_campaigns_differ_then_each_by_what_it_has() -> None:
    found = _judged(margin=0.5)
    assert [(one.campaign_id, one.result.claim) for one in found.campaigns] == [
        ("some", "assumed"),
        ("fair", "causal"),
        ("all", "not_causal"),
    ]
    reasons = found.left_out.set_index("campaign_id")["reason"].to_dict()
    assert reasons == {"early": "no_time_before", "late": "not_over"}
    table = judged_table(found.campaigns).set_index("campaign_id")
    fair = table.loc["fair"]
    assert fair["compared"] == (_log()[1]["tag_fair"] == "treatment").sum()
    truth = fair["compared"] * 7 * 0.4 * 100
    assert fair["revenue_low"] <= truth <= fair["revenue_high"]
    assert fair["low"] <= 1.0 <= fair["high"]
    assert fair["on_spend"] == pytest.approx(fair["revenue"] * 0.5 / 5000)
    assert table.loc["some", "low"] <= 0 <= table.loc["some", "high"]
    assert np.isnan(table.loc["all", "revenue"])
    assert np.isnan(table.loc["all", "others_change"])
    # What ``fair`` had sold in one of the two weeks before looks like a loss: from .6 and .4 a day to .4.
    assert table.loc["all", "change"] == pytest.approx(-0.2, abs=0.04)


def test_judge_when_the_log_has_a_year_more_then_all_causes_stand_beside_the_change() -> None:
    log, users = _log()
    bought = log[log["event_type"] == "purchase"]
    year = pd.Timedelta(days=364)
    earlier = bought.assign(local_day=bought["local_day"] - year, ts=bought["ts"] - year, price=50)
    definition = CampaignsDefinition(days=7, days_before=14, only=("some",))
    last = FIRST + dt.timedelta(days=NUM_DAYS - 1)
    found = judge_campaigns(
        pd.concat([earlier, log]), definition, first_day=FIRST - dt.timedelta(days=364), last_day=last, users=users
    )
    causes = found.campaigns[0].change.causes.set_index("cause")
    assert causes["lift"].notna().all()
    panel = bought.assign(during=bought["local_day"] >= _day(21))[bought["local_day"].between(_day(7), _day(27))]
    counts = panel["during"].value_counts()  # half the price a year before: the change is that of these days
    row = judged_table(found.campaigns).iloc[0]
    assert row["year_before_change"] == pytest.approx(counts[True] / 7 / (counts[False] / 14) - 1)
    assert row["trend_low"] <= row["trend_change"] <= row["trend_high"]
    assert row["regression_low"] <= row["regression_change"] <= row["regression_high"]
    assert (row["compared"], row["others"]) == (100, 200)


@pytest.mark.parametrize(
    "values",
    [
        {"margin": "35%"},
        {"margin": True},
        {"holdout": 5},
        {"treated": 5},
        {"held_out": [1]},
        {"only": [1]},
        {"days": "7"},
    ],
)
def test_definition_when_a_value_is_of_another_kind_then_says_what_was_expected(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"campaigns\.{next(iter(values))}: expected"):
        CampaignsDefinition.parse(values)


def test_overlap_when_campaigns_write_to_the_same_customers_then_their_share() -> None:
    log, users = _log()
    twice = log[log["campaign_id"] == "some"].head(40).assign(campaign_id="more")
    last = FIRST + dt.timedelta(days=NUM_DAYS - 1)
    definition = CampaignsDefinition(days=7, days_before=14, only=("some",))
    found = judge_campaigns(pd.concat([log, twice]), definition, first_day=FIRST, last_day=last, users=users)
    assert found.campaigns[0].overlap == 0.4


def test_judge_when_something_is_unknown_then_says_what_was_meant() -> None:
    with pytest.raises(UnknownId, match=r"one of the 5 that wrote to customers, found 'fiar'\. Did you mean 'fair'"):
        _judged(only=("fiar",))
    with pytest.raises(ConfigError, match=r"expected 'treated' and 'holdout' in tag_fair .*, found \['holdout'\]"):
        _judged(treated="treated")
    with pytest.raises(ConfigError, match=r"campaigns: expected one of only, .*, found 'day'\. Did you mean 'days'"):
        CampaignsDefinition.parse({"day": 3})
    with pytest.raises(ConfigError, match=r"campaigns\.outcome: expected one of .*, found 'revenues'"):
        CampaignsDefinition.parse({"outcome": "revenues"})
    assert CampaignsDefinition.parse({"only": ["a"]}).only == ("a",)
