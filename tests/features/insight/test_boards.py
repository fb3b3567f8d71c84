"""Boards: what their files may say, and the pages that come of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from features.build import build_features
from features.errors import ConfigError
from features.insight.boards.board import Board
from features.insight.boards.page import BoardPage, keep_board, write_board
from features.insight.inputs import Period
from features.settings import EngineSettings
from tests.features.customers.page_world import build
from tests.features.tiny_shop import event, write_shop

BOARD: dict[str, Any] = {
    "title": "Tea & rice",
    "period": {"days": 30},
    "compare": "before",
    "widgets": [
        {"kpis": ["orders", "revenue", "average_order", "conversion"]},
        {"line": {"of": "revenue", "every": "week", "by": "channel"}},
        {"bars": {"of": "average_order", "by": "category", "title": "What an order brings"}},
        {"table": {"of": ["orders", "units"], "by": ["brand", "weekday"]}},
        {"heat": {"of": "views"}},
        {"funnel": {"steps": ["view", "purchase"]}},
        {"sql": {"title": "Items", "query": "SELECT count(*) AS n FROM items"}},
    ],
}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("board"))


def saved(directory: Path, **changed: Any) -> str:
    path = directory / "board.yaml"
    path.write_text(yaml.safe_dump(BOARD | changed))
    return str(path)


@pytest.mark.parametrize(
    ("widget", "said"),
    [
        ("kpis", r"widgets\[0\]: expected one of kpis, line, .* found 'kpis'"),
        ({"kpi": ["orders"]}, r"found 'kpi'\. Did you mean 'kpis'\?"),
        ({"kpis": ["orderz"]}, r"widgets\[0\]\.kpis\.metrics: expected a metric .* Did you mean 'orders'\?"),
        ({"kpis": []}, "metrics: expected at least one metric, found none"),
        ({"line": {"of": "orders", "evry": "day"}}, r"found 'evry'\. Did you mean 'every'\?"),
        ({"line": {"of": "orders", "every": "year"}}, "every: expected one of day, week, month"),
        ({"line": {"of": "orders", "top": 20}}, "top: expected a whole number from 1 to 8"),
        ({"bars": {"of": "orders"}}, "bars: expected by, found none"),
        ({"bars": {"of": "orders", "by": "chanel"}}, r"bars: expected a column to cut by .* Did you mean 'channel'\?"),
        ({"table": {"of": "orders", "by": "user_id"}}, r"found 'user_id'"),
        ({"bars": {"of": "orders", "by": "last_device_id"}}, r"found 'last_device_id'"),
        ({"bars": {"of": "orders", "by": "query"}}, r"found 'query'"),
        ({"table": {"of": ["orders", "orders"], "by": "channel"}}, "expected each name once, found 'orders' twice"),
        ({"heat": {"of": "orders", "rows": "hour"}}, "expected each name once, found 'hour' twice"),
        ({"kpis": ["orders", "orders"]}, "expected each name once, found 'orders' twice"),
        ({"heat": {"of": "orders", "rows": "moon"}}, r"heat: expected a column to cut by"),
        ({"funnel": {"steps": ["view", "purchse"]}}, r"Did you mean 'purchase'\?"),
        ({"sql": {"query": ""}}, "expected SQL, found ''"),
        ({"sql": {"query": "FROM nowhere"}}, r"sql1\.sql: .*nowhere.* Tables are "),
        ({"sql": {"query": "DROP TABLE items"}}, "expected a statement that reads"),
    ],
)
def test_board_when_a_widget_is_wrong_then_says_which_and_what_is_meant(
    features: Path, tmp_path: Path, widget: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        write_board(features, tmp_path / "b.html", BoardPage(board=saved(tmp_path, widgets=[widget])))
    assert not (tmp_path / "b.html").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"widgets": []}, "expected widgets, a list of at least one"),
        ({"period": {"days": 0}}, r"period\.days: expected a whole number of 1 or more"),
        ({"period": {"from": "soon"}}, r"expected \{days: 28\} or \{from"),
        ({"compare": "after"}, r"compare: expected \{days: 28\}"),
        ({"titel": "x"}, r"found 'titel'\. Did you mean 'title'\?"),
        ({"period": {"from": dt.date(2024, 3, 2), "to": dt.date(2024, 3, 1)}}, "expected a last day from 2024-03-02"),
    ],
)
def test_board_when_its_file_is_wrong_then_says_where(
    features: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        write_board(features, tmp_path / "b.html", BoardPage(board=saved(tmp_path, **changed)))


def test_periods_when_asked_then_days_are_counted_from_the_end_and_the_others_lie_before() -> None:
    board = Board.parse(BOARD, where="b")
    first, last = dt.date(2024, 1, 1), dt.date(2024, 5, 9)
    expected = (
        Period(first_day=dt.date(2024, 4, 10), last_day=last),
        Period(first_day=dt.date(2024, 3, 11), last_day=dt.date(2024, 4, 9)),
    )
    assert board.periods(first, last) == expected
    assert board.periods(dt.date(2024, 4, 12), last) == (Period(first_day=dt.date(2024, 4, 12), last_day=last), None)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_board_when_written_then_each_widget_stands_there_and_its_figures_in_files(
    features: Path, tmp_path: Path, language: Any
) -> None:
    page = BoardPage(board=saved(tmp_path), language=language, tables=tmp_path / "tables")
    found = write_board(features, tmp_path / "b.html", page)
    text = (tmp_path / "b.html").read_text()
    assert found["widgets"] == 7
    assert "<h1>Tea &amp; rice</h1>" in text
    assert ("What an order brings" in text) == ("Average order" in text or language == "zh")
    assert ("客单价" in text) == (language == "zh")
    by_category = pd.read_parquet(tmp_path / "tables" / "bars3_figures.parquet")
    as_csv = pd.read_csv(tmp_path / "tables" / "bars3_figures.csv")
    assert by_category["category"].tolist() == as_csv["category"].tolist()
    log = pd.read_parquet(features / "event_log.parquet")
    log = log[log["for_analytics"] & (log["event_type"] == "purchase")]
    log = log[pd.to_datetime(log["local_day"]) > pd.to_datetime(log["local_day"]).max() - pd.Timedelta(days=30)]
    tea = log[log["item_id"] == "i1"]
    expected = (tea["price"] * tea["quantity"].fillna(1)).sum() / tea["order_id"].nunique()
    assert by_category.set_index("category")["average_order"]["饮品"] == pytest.approx(expected)


def test_keep_board_when_a_round_fails_then_the_page_stays_and_the_next_goes_on(features: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "b.html", Path(saved(tmp_path, widgets=[{"kpis": ["orders"]}]))
    clock = [dt.datetime(2024, 6, 1, tzinfo=dt.UTC)]
    kept: list[str] = []

    def sleep(seconds: float) -> None:
        kept.append(out.read_text())
        clock[0] += dt.timedelta(seconds=seconds)
        path.write_text("widgets: [" if len(kept) == 1 else yaml.safe_dump(BOARD))

    until = clock[0] + dt.timedelta(minutes=45)
    page = BoardPage(board=str(path))
    found = keep_board(features, out, page, every_minutes=15, until=until, now=lambda: clock[0], sleep=sleep)
    assert (found["rounds"], found["failed"], found["widgets"]) == (4, 1, 7)
    assert kept[1] == kept[0]


def test_keep_board_when_the_first_round_fails_then_it_ends(features: Path, tmp_path: Path) -> None:
    page = BoardPage(board=saved(tmp_path, widgets=[]))
    with pytest.raises(ConfigError, match="expected widgets"):
        keep_board(features, tmp_path / "b.html", page, every_minutes=1)
    with pytest.raises(ConfigError, match="every: expected minutes above 0"):
        keep_board(features, tmp_path / "b.html", page, every_minutes=0)


def test_board_when_a_widget_has_nothing_to_show_then_the_others_stand_and_it_says_why(tmp_path: Path) -> None:
    data = write_shop(
        tmp_path / "data",
        events=[event(f"u{n}", "purchase", "2026-01-01 10:00", "i", price=5) for n in range(12)],
        items=[{"item_id": "i"}],
    )
    build_features(data, tmp_path / "features", engine=EngineSettings(threads=1))
    found = write_board(tmp_path / "features", tmp_path / "b.html")
    assert (found["widgets"], len(found["missing"])) == (5, 1)
    assert found["missing"][0] in (tmp_path / "b.html").read_text()
