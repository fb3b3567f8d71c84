"""The sections about paths and tracking: what their titles say, and whom they do not show."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from features.contract.tables import EVENTS, ITEMS
from features.errors import ConfigError
from features.insight.health import section as health
from features.insight.inputs import Inputs, Period
from features.insight.paths import section as paths
from features.report.sections import NothingToShow, Section
from features.report.words import LANGUAGES, Words
from features.settings import ShopSettings
from tests.features.tiny_shop import arrow_table, event, utc, write_shop

START = utc("2024-05-01 10:00")
DAY = START.date()


def rows() -> list[dict[str, Any]]:
    """40 customers: 30 search, view and buy, 10 view alone; 3 of the 30 come by a login."""
    found = []
    for user in range(40):
        kinds = ["search", "view", "purchase"] if user < 30 else ["view"]
        for place, kind in enumerate([*(["login"] if user < 3 else []), *kinds]):
            at = START + dt.timedelta(minutes=place)
            found.append(event(f"u{user}", kind, at, "i1", price=400, query="hat", event_id=f"e{user}-{place}"))
    return found


def inputs(connection: duckdb.DuckDBPyConnection, **more: Any) -> Inputs:
    events = arrow_table(EVENTS, rows())
    events = events.append_column("local_day", pa.array([DAY] * len(events), pa.date32()))
    return Inputs(
        connection=connection,
        log=connection.from_arrow(events),
        period=Period(first_day=DAY, last_day=DAY),
        last_at_us=int(START.timestamp() * 1e6),
        items=connection.from_arrow(arrow_table(ITEMS, [{"item_id": "i1"}])),
        shop=ShopSettings(),
        **more,
    )


def told(found: list[Section], name: str) -> Section:
    return next(section for section in found if section.name == name)


@pytest.fixture(params=LANGUAGES)
def words(request: pytest.FixtureRequest) -> Words:
    return Words.load(request.param, *(Path(str(module.__file__)).parent for module in (paths, health)))


def test_sections_when_a_log_is_read_then_titles_answer_and_small_groups_are_hidden(
    words: Words, connection: duckdb.DuckDBPyConnection
) -> None:
    found = paths.sections(inputs(connection), words)
    assert [section.name for section in found] == [
        "paths_start", "paths_purchase", "paths_follows", "paths_value", "paths_search"
    ]  # fmt: skip
    if words.language == "en":
        assert told(found, "paths_start").title == "Two thirds of visits go from the start of a visit to: search"
        assert told(found, "paths_purchase").title == "100% of visits come to purchase straight from: view"
        assert told(found, "paths_value").finding.startswith(
            "A visit brings 4.00 USD (4.00 USD to 4.00 USD) after search; 3.00 USD"
        )
        assert told(found, "paths_search").title == "100% of searches are followed by a purchase"
    links = told(found, "paths_start").tables["links"]
    by_login = links[(links["source"] == "(start)") & (links["target"] == "login")]
    assert by_login["visits"].isna().all()
    assert "login" not in set(told(found, "paths_follows").tables["transitions"]["next_node"])


def test_sections_when_two_periods_are_compared_then_differences_have_intervals(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    english = Words.load("en", Path(str(paths.__file__)).parent)
    same = inputs(connection, compared=Period(first_day=DAY, last_day=DAY))
    table = told(paths.sections(same, english), "paths_start").listed[-1]
    row = next(row for row in table.rows if row[:2] == ["1", "search"])
    assert row[2:4] == ["67.5%", "67.5%"]
    assert row[4].startswith("0.0 points (−")


def test_sections_when_a_log_has_purchases_alone_then_no_paths_are_shown(
    words: Words, connection: duckdb.DuckDBPyConnection
) -> None:
    shop = inputs(connection)
    bought = dataclasses.replace(shop, log=shop.log.filter("event_type = 'purchase'"))
    with pytest.raises(NothingToShow, match=r"one kind alone|只有一种"):
        paths.sections(bought, words)


def test_sections_when_the_shop_names_an_unknown_step_then_an_error_says_so(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    english = Words.load("en", Path(str(paths.__file__)).parent)
    asked = inputs(connection, definitions={"paths": {"mine": {"nodes": "section"}}})
    with pytest.raises(ConfigError, match=r"paths\.mine: expected one of .*found 'nodes'\. Did you mean 'node'"):
        paths.sections(asked, english)


def test_health_section_when_an_event_is_there_twice_then_it_is_the_one_thing_wrong(
    words: Words, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    with pytest.raises(NothingToShow):
        health.sections(inputs(connection), words)
    data = write_shop(tmp_path / "shop", events=[*rows(), rows()[0]])
    (found,) = health.sections(inputs(connection, data=data), words)
    severities = found.tables["findings"]["severity"].tolist()
    assert severities == sorted(severities, key=["error", "warning", "notice"].index)
    assert "duplicates.same_event_id" in set(found.tables["findings"]["check"])
    assert len(found.drawn) == 1
    shown, details = found.listed[:2]
    assert [row[1:] for row in shown.rows] == found.tables["findings"][["do"]].to_numpy().tolist()
    assert [row[2:] for row in details.rows] == found.tables["findings"][["expected", "found"]].to_numpy().tolist()
    assert [table.open for table in (shown, details)] == [
        True,
        False,
    ]  # on a phone more columns have a word's room each
