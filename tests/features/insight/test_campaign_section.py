"""The sections of campaigns, of a small shop whose campaign doubled what half of its customers bought."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import features
from features.contract.tables import COUPONS, EVENTS, SPEND, USERS
from features.insight.campaigns.coupons import coupon_rates
from features.insight.campaigns.coupons_section import coupon_section, suppressed_use
from features.insight.campaigns.effects_section import effects_section
from features.insight.campaigns.judge import judge_campaigns
from features.insight.campaigns.messages_section import _reach_shown
from features.insight.campaigns.section import sections
from features.insight.inputs import Inputs, Period
from features.report.sections import NothingToShow
from features.report.words import Words
from features.settings import PrivacySettings, ShopSettings
from tests.features.tiny_shop import arrow_table, event, utc

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 2, 29)


def _words(language: str) -> Words:
    insight = Path(features.__file__).parent / "insight"
    return Words.load(language, insight / "campaigns")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, at = np.random.default_rng(0), tmp_path_factory.mktemp("shop")
    lot, rows = rng.random(200) < 0.5, []
    for user in range(200):
        for day in range(60):
            moved = lot[user] and 35 <= day < 49
            if rng.random() < (0.6 if moved else 0.3):
                when = utc("2024-01-01 12:00") + dt.timedelta(days=day)
                rows.append(event(f"u{user:03d}", "purchase", when, "i1", price=500, coupon_id="k1" if moved else None))
        if lot[user]:
            for kind in ("sent", "delivered", *(["opened"] * (user % 2)), *(["clicked"] * (user % 4 == 1))):
                for medium in ("email", "push") if user % 3 else ("email",):
                    rows.append(
                        event(
                            f"u{user:03d}", f"message_{kind}", "2024-02-05 08:00", campaign_id="winter", medium=medium
                        )
                    )
    numbered = [row | {"event_id": f"e{number:06d}"} for number, row in enumerate(rows)]
    arms = [{"user_id": f"u{user:03d}"} for user in range(200)]
    users = arrow_table(USERS, arms).append_column("tag_winter", [["treatment" if on else "holdout" for on in lot]])
    coupons = [
        {"coupon_id": "k1", "user_id": f"u{user:03d}", "issued_at": utc("2024-02-05 08:00"), "value": 100}
        for user in np.flatnonzero(lot)
    ]
    spend = [{"day": dt.date(2024, 2, 5), "channel": "email", "cost": 20_000, "campaign_id": "winter"}]
    for name, table in (
        ("events", arrow_table(EVENTS, numbered)),
        ("users", users),
        ("coupons", arrow_table(COUPONS, coupons)),
        ("spend", arrow_table(SPEND, spend)),
    ):
        pq.write_table(table, at / f"{name}.parquet")
    return at


def _inputs(data: Path, **more: object) -> Inputs:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    log = connection.sql(
        f"SELECT *, CAST(ts AS DATE) AS local_day, user_id AS source_user_id FROM read_parquet('{data / 'events.parquet'}')"
    )
    period = more.pop("period", Period(first_day=FIRST, last_day=LAST))
    return Inputs(
        connection=connection, log=log, period=period, last_at_us=int(utc("2024-02-29 12:00").timestamp() * 1e6),  # type: ignore[arg-type]
        items=connection.sql("SELECT 'i1' AS item_id"), data=data, **({"shop": ShopSettings()} | more),  # type: ignore[arg-type]
    )  # fmt: skip


def test_sections_when_a_campaign_worked_then_its_effect_is_the_title(shop: Path) -> None:
    found = {section.name: section for section in sections(_inputs(shop), _words("en"))}
    assert list(found) == ["campaigns", "messages", "reach", "coupons"]
    assert "winter" in found["campaigns"].title
    effect = found["campaigns"].tables["effects"].iloc[0]
    assert effect["claim"] == "causal"
    assert effect["low"] < 1.0 < effect["high"]
    assert effect["on_spend"] == pytest.approx(effect["revenue"] / 20_000)
    stages = found["messages"].tables["all"].set_index("stage")["overall"]
    assert stages["opened"] == pytest.approx(0.5, abs=0.1)
    assert found["reach"].tables["by_medium"].set_index("medium").loc["email", "only"] > 0
    assert found["coupons"].tables["by_campaign"]["campaign_id"].tolist() == ["winter"]
    assert all(section.drawn and section.listed and section.defined for section in found.values())


def test_sections_when_periods_are_compared_then_the_messages_of_both_stand_side_by_side(shop: Path) -> None:
    period = Period(first_day=dt.date(2024, 2, 5), last_day=LAST)
    same = _inputs(shop, period=period, compared=period)
    messages = next(section for section in sections(same, _words("en")) if section.name == "messages")
    rows = messages.listed[-1].rows
    assert [row[0] for row in rows] == ["delivered", "opened", "clicked", "bought", "came back", "unsubscribed"]
    assert all(row[1] == row[2] and row[3].startswith("0.0 (") for row in rows)


def test_sections_when_groups_are_small_then_their_figures_are_hidden(shop: Path) -> None:
    hidden = _inputs(shop, shop=ShopSettings(privacy=PrivacySettings(minimum_group=150)))
    found = {section.name: section for section in sections(hidden, _words("en"))}
    assert pd.isna(found["campaigns"].tables["effects"]["revenue"].iloc[0])
    assert found["campaigns"].title == "No campaign moved what customers bought beyond chance"


def test_effects_when_few_stand_on_one_side_then_hidden_though_many_were_written_to(shop: Path) -> None:
    inputs = _inputs(shop)
    table = pd.read_parquet(shop / "users.parquet")
    table["tag_winter"] = np.where(table["user_id"] > "u012", None, np.where(table.index % 4, "treatment", "holdout"))
    judged = judge_campaigns(inputs.log, first_day=FIRST, last_day=LAST, users=table)
    effects = effects_section(judged, inputs, _words("en"))
    assert effects is not None
    row = effects.tables["effects"].iloc[0]
    assert row[["revenue", "lift", "p", "compared", "others", "others_change", "regression_change"]].isna().all()
    assert effects.listed[1].columns[-4:] == ["Others' change", "A year before", "Line before", "Back to usual"]


def test_coupons_when_issued_late_in_the_day_then_of_the_shops_day(shop: Path) -> None:
    # Given on 5 February at 08:00 UTC, which is the 4th at 22:00 in Honolulu.
    fourth, fifth = dt.date(2024, 2, 4), dt.date(2024, 2, 5)
    far = ShopSettings(time_zone="Pacific/Honolulu")
    days = {day: Period(first_day=day, last_day=day) for day in (fourth, fifth)}
    given = {day: coupon_section(_inputs(shop, period=days[day], shop=far), _words("en")) for day in days}
    assert given[fourth] is not None
    assert given[fifth] is None


def test_coupons_when_one_campaign_is_small_then_another_is_hidden_with_it() -> None:
    # a + b + c is told: with c hidden alone, it would be the rest. Three got b's 12 coupons: customers count.
    named = {"campaign_id": ["a", "b", "c"]}
    sums = {
        name: [40, 12, 30] for name in ("issued", "used", "open", "late", "not_issued", "orders", "revenue", "discount")
    }
    by = coupon_rates(pd.DataFrame(named | sums).assign(days_to_use=1.0))
    found = suppressed_use(by, pd.DataFrame(named | {"holders": [40, 3, 30], "users": [40, 3, 30]}), minimum=10).frame
    assert found["issued"].isna().tolist() == [False, True, True]
    assert found["rate"].isna().tolist() == [False, True, True]
    few = suppressed_use(by, pd.DataFrame(named | {"holders": [40, 20, 30], "users": [1, 0, 30]}), minimum=10).frame
    assert few["issued"].tolist() == [40, 12, 30]
    assert few["revenue"].isna().tolist() == [True, False, True]


def test_messages_when_few_customers_are_at_a_stage_then_it_and_shares_of_it_are_hidden(shop: Path) -> None:
    log = duckdb.sql(f"SELECT * FROM read_parquet('{shop / 'events.parquet'}')")
    clicked = log.filter("event_type = 'message_clicked'").aggregate("count(DISTINCT user_id)").fetchall()[0][0]
    opened = log.filter("event_type = 'message_opened'").aggregate("count(DISTINCT user_id)").fetchall()[0][0]
    assert clicked < opened  # by e-mail and push: twice as many messages
    some = _inputs(shop, shop=ShopSettings(privacy=PrivacySettings(minimum_group=clicked + 1)))
    messages = next(section for section in sections(some, _words("en")) if section.name == "messages")
    assert messages.title.startswith("Too few customers")
    assert messages.finding == ""
    whole = messages.tables["all"].set_index("stage")
    assert whole["count"].isna().to_dict() == {
        "sent": False, "delivered": False, "opened": False, "clicked": True, "bought": True, "bounced": False,
        "unsubscribed": False,
    }  # fmt: skip
    assert whole.loc["bought", ["step", "overall"]].isna().all()
    by_campaign = messages.tables["by_campaign_id"].set_index("stage")
    assert by_campaign["count"].isna().equals(whole["count"].isna())


def test_reach_when_few_are_reached_by_no_other_then_hidden() -> None:
    table = pd.DataFrame(
        {"medium": ["email", "push", "all"], "customers": [40, 30, 43], "only": [13, 3, 43], "added": [40, 3, 0]}
    )
    found = _reach_shown(table.assign(share=0.5, low=0.4, high=0.6), minimum=10).frame
    assert found["only"].isna().tolist() == [False, True, False]
    assert found["added"].isna().tolist() == [False, True, False]


def test_sections_when_nothing_was_sent_then_says_so(shop: Path) -> None:
    early = Period(first_day=FIRST, last_day=dt.date(2024, 1, 20))
    with pytest.raises(NothingToShow, match="nobody was written to and no coupon was given"):
        sections(_inputs(shop, period=early), _words("en"))
