"""What the page says of funnels, items and carts, in both languages."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from features import columns as c
from features.contract.tables import EVENTS, ITEMS
from features.insight.funnels import section
from features.insight.funnels.definition import FunnelDefinition
from features.insight.inputs import Inputs, Period
from features.report.sections import NothingToShow
from features.report.words import Words
from features.settings import PrivacySettings, ShopSettings
from tests.features.tiny_shop import arrow_table, event, utc

PERIOD = Period(first_day=dt.date(2024, 5, 8), last_day=dt.date(2024, 5, 14))


def _log() -> pa.Table:
    """Forty customers a week look; of these 20 (before: 10) fill a cart and 10 (before: 5) buy, on web or app."""
    rows = []
    for week, carts in ((0, 10), (1, 20)):
        for n in range(40):
            at = utc("2024-05-01 10:00") + dt.timedelta(days=7 * week + n % 5)
            more = {"channel": "web" if n % 2 else "app", "session_id": f"{week}-{n}", "price": 500}
            user = f"u{week}-{n}"
            rows.append(event(user, "view", at, f"i{n % 4}", **more))
            if n < carts:
                rows.append(event(user, "cart", at + dt.timedelta(minutes=5), f"i{n % 4}", **more))
            if n < carts // 2:
                rows.append(event(user, "purchase", at + dt.timedelta(minutes=9), f"i{n % 4}", **more))
    table = arrow_table(EVENTS, [{**row, "event_id": f"{n:04d}"} for n, row in enumerate(rows)])
    return table.append_column(c.LOCAL_DAY, pa.array([at.date() for at in table["ts"].to_pylist()], pa.date32()))


def _inputs(connection: duckdb.DuckDBPyConnection, minimum: int = 5, **more: Any) -> Inputs:
    items = arrow_table(ITEMS, [{"item_id": f"i{n}", "title": f"Tea {n}"} for n in range(4)])
    shop = ShopSettings(privacy=PrivacySettings(minimum_group=minimum))
    return Inputs(
        connection=connection,
        log=connection.from_arrow(_log()),
        period=PERIOD,
        last_at_us=int(utc("2024-05-14 10:00").timestamp()) * 1_000_000,
        items=connection.from_arrow(items),
        shop=shop,
        **more,
    )


def _words(language: Any) -> Words:
    return Words.load(language, Path(section.__file__).parent)


def test_sections_when_a_log_has_views_carts_and_orders_then_answers_with_intervals_and_change(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    compared = Period(first_day=dt.date(2024, 5, 1), last_day=dt.date(2024, 5, 7))
    found = {one.name: one for one in section.sections(_inputs(connection, 2, compared=compared), _words("en"))}
    assert list(found) == ["funnel_purchase", "items", "carts"]
    funnel, carts = found["funnel_purchase"], found["carts"]
    assert funnel.title == "Half are lost between “view” and “into the cart”"
    assert funnel.finding.startswith(
        "View to purchase: 25.0% (14.2% to 40.2%) of 40 customers get through within 14 days"
    )
    bought = funnel.listed[0].rows[-1]
    assert bought[1] == "10"
    assert bought[-2:] == ["50.0%", "0.0 points (−33.1 to +33.1)"]  # sqrt(.2007^2 + .2634^2)
    assert carts.title == "Half of carts are left, with 50.00 USD in them"


def test_sections_when_groups_are_small_then_hidden_in_tables_too(connection: duckdb.DuckDBPyConnection) -> None:
    funnel, *_ = section.sections(_inputs(connection, minimum=15), _words("zh"))
    assert funnel.title == "一半在“浏览”与“加入购物车”之间流失"
    assert [row[1] for row in funnel.listed[0].rows] == ["40", "20", "·"]
    assert funnel.tables["steps"]["num_units"].isna().tolist() == [False, False, True]
    assert funnel.tables["steps"]["overall_rate"].isna().tolist() == [False, False, True]


def test_carts_when_a_day_has_few_customers_then_it_is_hidden_and_so_is_another_as_the_total_is_shown(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    inputs = _inputs(connection, minimum=4)
    again = "* REPLACE (concat(event_id, '-', n) AS event_id, concat(session_id, '-', n) AS session_id)"
    # Of the last day's four customers one has left and the others have ten carts each.
    few = inputs.log.filter("NOT (user_id = 'u1-4' AND event_type <> 'view')").select("*, 0 AS n")
    many = few.union(
        few.filter("user_id IN ('u1-9', 'u1-14', 'u1-19')").select("* REPLACE (unnest(range(1, 10)) AS n)")
    )
    found = section.sections(dataclasses.replace(inputs, log=many.select(again)), _words("en"))
    (carts,) = (one for one in found if one.name == "carts")
    days = carts.tables["periods"]
    assert days["num_customers"].isna().sum() == 2
    assert days.loc[days["num_customers"].isna(), ["num_carts", "num_abandoned", "rate", "worth"]].isna().all(axis=None)


def test_sections_when_one_funnel_has_too_few_then_the_others_stand_and_a_note_tells(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    own = {"short": {"steps": ["view", "cart"]}, "rare": {"steps": ["search", "view"]}}
    found = section.sections(_inputs(connection, 2, definitions={"funnels": own}), _words("en"))
    assert [one.name for one in found] == ["funnel_short", "items", "carts"]
    assert found[0].notes[-1] == "Not shown: the funnel rare (too few entered)."
    inputs = _inputs(connection, 2)
    unsold = dataclasses.replace(inputs, log=inputs.log.filter("event_type <> 'purchase'"))
    (carts,) = section.sections(unsold, _words("en"))
    assert carts.name == "carts"


def test_sections_when_nobody_entered_or_no_steps_are_known_then_a_reason_is_given(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    words = _words("en")
    with pytest.raises(NothingToShow, match="too few entered"):
        section.sections(_inputs(connection, minimum=100), words)
    searches = FunnelDefinition.parse({"steps": ["search", "purchase"]}, where="funnels.s")
    with pytest.raises(NothingToShow, match="the funnel From a search"):
        section.funnel_section(_inputs(connection), searches, words, name="s", title="From a search")
