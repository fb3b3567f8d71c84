"""The section about attribution: what its title says, whom it does not show, spend and another period beside it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from features.contract.tables import ITEMS, SPEND
from features.errors import ConfigError
from features.insight.attribution import section
from features.insight.inputs import Inputs, Period
from features.report.sections import NothingToShow
from features.report.words import LANGUAGES, Words
from features.settings import ShopSettings
from tests.features.insight.attribution_reference import START, log_of, seen
from tests.features.tiny_shop import arrow_table

FIRST = START.date()


def rows(channels: tuple[str | None, str | None] = ("display", "search")) -> list[dict[str, Any]]:
    """Each of 80 customers sees display; the 40 who then come by search buy, as do 3 and 8 by two rare ones, on day 20."""
    shown, follows = channels
    found = [seen(f"u{user}", 15, "view", shown, f"s{user}") for user in range(80)]
    for user in range(40):
        found.append(seen(f"u{user}", 20, "purchase", follows, f"t{user}", order_id=f"o{user}", price=500))
    for user in range(11):
        rare = shown and ("rare" if user < 3 else "seldom")
        found.append(seen(f"v{user}", 20, "purchase", rare, f"v{user}", price=500))
    for user in range(20):
        found.append(seen(f"u{user}", 5, "purchase", shown, f"w{user}", price=100))
    return found


def inputs(connection: duckdb.DuckDBPyConnection, log: list[dict[str, Any]], **more: Any) -> Inputs:
    return Inputs(
        connection=connection,
        log=connection.from_arrow(log_of(log)),
        period=Period(first_day=FIRST + dt.timedelta(days=10), last_day=FIRST + dt.timedelta(days=20)),
        last_at_us=int(START.timestamp() * 1e6) + 20 * 86_400_000_000,
        items=connection.from_arrow(arrow_table(ITEMS, [{"item_id": "i1"}])),
        shop=ShopSettings(),
        **more,
    )


@pytest.fixture(params=LANGUAGES)
def words(request: pytest.FixtureRequest) -> Words:
    return Words.load(request.param, Path(section.__file__).parent)


def test_section_when_a_log_is_read_then_says_where_the_last_touch_misleads_and_hides_the_few(
    words: Words, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    spent = [{"day": FIRST + dt.timedelta(days=day), "channel": "display", "cost": 1000} for day in (1, 12)]
    pq.write_table(arrow_table(SPEND, spent), tmp_path / "spend.parquet")
    before = Period(first_day=FIRST, last_day=FIRST + dt.timedelta(days=9))
    (found,) = section.sections(inputs(connection, rows(), data=tmp_path, compared=before), words)
    if words.language == "en":
        # of 51 orders display has half of 40 by Shapley's value, nothing by the last touch
        assert found.title == "“display” has 39% of orders by its Shapley value, 0% by the last touch"
    credit = found.tables["credit"].set_index(["model", "touch"])
    assert credit.loc[("shapley", "display"), "conversions"] == pytest.approx(20)
    assert credit.loc[("last", "search"), "conversions"] == pytest.approx(40)
    assert credit.loc[(slice(None), ["rare", "seldom"]), :].isna().all(axis=None)
    spend = found.tables["spend"].set_index("touch")
    assert spend.loc["display", "cost"] == 1000  # of the period alone
    assert spend.loc["display", "return_on_spend"] == pytest.approx(20 * 500 / 1000)
    assert found.tables["paths"]["path"].tolist() == ["display > search"]
    texts = [cell for listed in found.listed for row in listed.rows for cell in row]
    assert "·" in texts
    assert "display > search" in texts
    assert len(found.drawn) == 2


def test_section_when_no_event_says_how_customers_came_then_there_is_nothing_to_show(
    words: Words, connection: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(NothingToShow):
        section.sections(inputs(connection, rows((None, None))), words)


def test_section_when_the_shops_definition_is_wrong_then_says_where(connection: duckdb.DuckDBPyConnection) -> None:
    words = Words.load("en", Path(section.__file__).parent)
    given = inputs(connection, rows(), definitions={"attribution": {"lookback_days": "a month"}})
    with pytest.raises(ConfigError, match=r"attribution.lookback_days: expected a whole number from 1 to 365"):
        section.sections(given, words)
