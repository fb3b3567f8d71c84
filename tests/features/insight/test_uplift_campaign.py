"""From a log and its arms to a trial, and the section about whom a campaign moved."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import features
from features.contract.tables import EVENTS
from features.errors import DataError
from features.insight.campaigns.windows import Windows
from features.insight.inputs import Inputs, Period
from features.insight.uplift.campaign import campaign_trial
from features.insight.uplift.section import sections
from features.report.sections import NothingToShow
from features.report.words import Words
from features.settings import ShopSettings
from tests.features.tiny_shop import arrow_table, event, utc

NUM_USERS, BEGINS = 900, dt.date(2024, 1, 29)


def _bought(user: int, day: int) -> dict[str, object]:
    when = utc("2024-01-01 12:00") + dt.timedelta(days=day)
    return event(f"u{user:03d}", "purchase", when, "i1", price=500)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign moves those who bought in the week before: a third of the customers."""
    rng, at = np.random.default_rng(0), tmp_path_factory.mktemp("shop")
    lot, lately, rows = rng.random(NUM_USERS) < 0.5, rng.random(NUM_USERS) < 1 / 3, []
    for user in range(NUM_USERS):
        rows.append(_bought(user, int(rng.integers(0, 14))))
        if lately[user]:
            rows.append(_bought(user, 25))
        if rng.random() < (0.7 if lately[user] and lot[user] else 0.2):
            rows.append(_bought(user, 30))
        if lot[user]:
            rows.append(event(f"u{user:03d}", "message_sent", "2024-01-29 08:00", campaign_id="c1", medium="email"))
    rows.append(_bought(0, 50))
    events = arrow_table(EVENTS, [row | {"event_id": f"e{number:05d}"} for number, row in enumerate(rows)])
    days = pa.array([when.date() for when in events["ts"].to_pylist()], pa.date32())
    pq.write_table(events.append_column("local_day", days), at / "log.parquet")
    arms = ["treatment" if on else "holdout" for on in lot]
    pq.write_table(pa.table({"user_id": [f"u{n:03d}" for n in range(NUM_USERS)], "tag_c1": arms}), at / "users.parquet")
    return at


def _inputs(shop: Path) -> Inputs:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return Inputs(
        connection=connection,
        log=connection.sql(f"SELECT *, user_id AS source_user_id FROM read_parquet('{shop / 'log.parquet'}')"),
        period=Period(first_day=dt.date(2024, 1, 1), last_day=dt.date(2024, 2, 20)),
        last_at_us=0,
        items=connection.sql("SELECT 'i1' AS item_id"),
        data=shop,
        shop=ShopSettings(),
    )


def test_campaign_trial_when_made_from_a_log_then_it_holds_what_was_known_before() -> None:
    log = pd.DataFrame(
        [_bought(0, 3), _bought(0, 27), _bought(0, 28), _bought(1, 28)],
        columns=["user_id", "event_type", "ts", "price"],
    ).assign(quantity=2, order_id=None)
    log["local_day"] = pd.to_datetime(log["ts"]).dt.tz_localize(None).dt.normalize()
    arms = pd.Series([True, False, False], index=["u000", "u001", "u002"])
    found = campaign_trial(log, arms, Windows.around(BEGINS, days=7, days_before=28))
    known = found.attributes
    assert known["days_known"].tolist()[:1] == [25]
    assert known["days_known"].isna().tolist() == [False, True, True]  # u001 came with the campaign
    assert np.expm1(known["revenue_before"]).tolist() == pytest.approx([2000, 0, 0])
    assert np.expm1(known["revenue_lately"]).tolist() == pytest.approx([1000, 0, 0])
    assert found.trial.outcome.tolist() == [1, 1, 0]
    with pytest.raises(DataError, match="expected customers with an arm, found none"):
        campaign_trial(log, arms[:0], Windows.around(BEGINS, days=7))


def test_section_when_some_customers_are_moved_then_the_first_fifth_is_theirs(shop: Path) -> None:
    words = Words.load("en", Path(features.__file__).parent / "insight" / "uplift")
    (section,) = sections(_inputs(shop), words)
    groups = section.tables["groups"]
    assert groups["uplift"].iloc[0] > 0.3
    assert groups["low"].iloc[-1] < 0 < groups["high"].iloc[-1]
    assert section.title.startswith("The 30% whom c1 moves most buy +")
    assert section.tables["scores"].set_index("measure").loc["qini", "low"] > 0


def test_section_when_nobody_was_held_out_then_says_so(shop: Path, tmp_path: Path) -> None:
    words = Words.load("en", Path(features.__file__).parent / "insight" / "uplift")
    pq.write_table(pa.table({"user_id": ["u000"], "tag_c1": ["treatment"]}), tmp_path / "users.parquet")
    pq.write_table(pq.read_table(shop / "log.parquet"), tmp_path / "log.parquet")
    with pytest.raises(NothingToShow, match="no campaign of these days held 200 customers out at random"):
        sections(_inputs(tmp_path), words)
