"""The pages of insight whole, over a small simulated shop: what stands on them, in their files, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import footfall
from features.errors import ConfigError, DataError
from features.insight.pages.page import SUBJECTS, InsightPage, write_insight_page
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic import generate
from tests.browser import widths_in_frame
from tests.features.model_features import build_model_features

ENGINE = EngineSettings(threads=1)
# Columns of tables that hold numbers of customers.
CUSTOMERS = ("customers", "num_customers", "users", "num_users")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("insight_shop")
    generate(directory / "data", num_users=500, num_items=80, num_days=60, seed=3, engine=ENGINE)
    build_model_features(directory / "data", directory / "features", engine=ENGINE)
    return directory


@pytest.fixture(scope="module", params=[("behaviour", "zh"), ("campaigns", "en")], ids=lambda pair: pair[0])
def written(request: pytest.FixtureRequest, shop: Path) -> tuple[str, Path, dict[str, Any]]:
    kind, language = request.param
    out = shop / f"{kind}.html"
    page = InsightPage(
        language=language, data=shop / "data", tables=shop / f"{kind}_tables", engine=ENGINE,
        first_day=dt.date(2024, 3, 6), last_day=dt.date(2024, 4, 3), compare=True,
    )  # fmt: skip
    return kind, out, write_insight_page(kind, shop / "features", out, page)


def test_page_when_written_then_each_subject_stands_there_or_says_why_not(
    written: tuple[str, Path, dict[str, Any]],
) -> None:
    kind, out, found = written
    assert len(found["sections"]) + len(found["missing"]) >= len(SUBJECTS[kind])  # type: ignore[index]
    assert len(found["missing"]) <= 2
    text = out.read_text()
    assert [text.index(f'<h2 id="{name}">') for name in found["sections"]] == sorted(
        text.index(f'<h2 id="{name}">') for name in found["sections"]
    )
    assert all(reason in text for reason in found["missing"])


def test_page_when_opened_then_it_fetches_nothing_and_each_figure_is_described(
    written: tuple[str, Path, dict[str, Any]],
) -> None:
    text = written[1].read_text()
    assert not re.search(r"@import|url\((?!#)|<script|<link|<iframe|<img", text)
    figures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(figures) >= 4
    assert all(re.search(r"<title>[^<]+</title><desc>[^<]+</desc>", figure) for figure in figures)


def test_tables_when_written_then_each_is_there_twice_and_small_groups_are_hidden_in_them_too(
    shop: Path, written: tuple[str, Path, dict[str, Any]]
) -> None:
    kind, _, found = written
    directory, minimum = shop / f"{kind}_tables", ShopSettings.load(shop / "data").privacy.minimum_group
    assert sorted(path.stem for path in directory.glob("*.parquet")) == sorted(found["tables"])
    looked_at = 0
    for name in found["tables"]:
        table = pd.read_parquet(directory / f"{name}.parquet")
        assert len(pd.read_csv(directory / f"{name}.csv")) == len(table)
        for column in table.columns.intersection(CUSTOMERS):
            shown = table[column].dropna()
            assert not shown.between(1, minimum - 1).any(), (name, column)
            looked_at += 1
    assert looked_at


@pytest.mark.parametrize("width", [390, 1280])
def test_page_when_opened_in_a_browser_then_nothing_runs_over_the_side(
    written: tuple[str, Path, dict[str, Any]], chromium: Path, tmp_path: Path, width: int
) -> None:
    page = written[1]
    shown, needed = widths_in_frame(chromium, page, tmp_path / "browser", width=width)
    assert 0 < needed <= shown <= width


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        (
            {"subjects": ("funels",)},
            ConfigError,
            r"expected some of funnels, .* found 'funels'\. Did you mean 'funnels'",
        ),
        (
            {"first_day": dt.date(2024, 3, 9), "last_day": dt.date(2024, 3, 8)},
            ConfigError,
            "a last day from 2024-03-09",
        ),
        (
            {"first_day": dt.date(2031, 1, 1), "last_day": dt.date(2031, 1, 2)},
            DataError,
            "expected days from 2024-02-05",
        ),
        ({"data": Path("nowhere")}, DataError, r"nowhere: expected a data directory, with events\.parquet, found none"),
        ({"compare": True}, ConfigError, r"expected days before 2024-02-05 in the log, found none.*--since"),
    ],
)
def test_page_when_asked_for_what_there_is_not_then_it_says_what_was_expected(
    shop: Path, tmp_path: Path, changed: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        write_insight_page("behaviour", shop / "features", tmp_path / "x.html", InsightPage(engine=ENGINE, **changed))
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("definitions", "said"),
    [
        ({"funnel": {}}, r"found 'funnel'\. Did you mean 'funnels'\?"),
        (
            {"funnels": {"mine": {"steps": ["view", "purchse"]}}},
            r"funnels\.mine.*'purchse'\. Did you mean 'purchase'\?",
        ),
        ({"funnels": {"mine": {"steps": ["view"]}}}, "expected 2 to 12 of them, found 1"),
        ({"slots": {"goal": "fame"}}, r"slots\.goal: expected one of clicks, purchases, revenue, found 'fame'"),
        ([1], "expected a mapping of funnels"),
    ],
)
def test_command_when_definitions_do_not_fit_then_it_ends_with_what_was_meant(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], definitions: Any, said: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(definitions))
    words = ["report", "behaviour", str(shop / "features"), str(tmp_path / "x.html"), "--definitions", str(path)]
    subjects = ["--subjects", "[funnels]" if "funnels" in definitions else "[slots]"]
    assert footfall.main([*words, *subjects, "--data", str(shop / "data")]) == ConfigError.exit_code
    assert re.search(said, capsys.readouterr().err)


def test_command_when_days_are_named_then_the_page_is_about_them(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "behaviour", str(shop / "features"), str(tmp_path / "x.html"), "--subjects", "[baskets]"]
    assert footfall.main([*words, "--from", "2024-03-01", "--to", "2024-03-31"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first_day"], found["last_day"]) == ("2024-03-01", "2024-03-31")
    assert "1 Mar 2024 to 31 Mar 2024" in (tmp_path / "x.html").read_text()
    assert footfall.main([*words, "--from", "March"]) == ConfigError.exit_code
    assert "expected a day such as 2026-03-01, found 'March'" in capsys.readouterr().err
