"""Pages as a browser and a reader find them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from features.report.figures import drawing, to_svg
from features.report.page import percent, points, render
from tests.browser import widths_in_frame
from tests.training.report_samples import (
    demand_report,
    policy_report,
    retrieval_report,
    row,
    table_of,
)
from training.report import retrieval as retrieval_page
from training.report.demand import write_demand_page
from training.report.list_qualities import list_qualities
from training.report.policy import write_policy_page
from training.report.retrieval import write_retrieval_page

TEMPLATE = Path(retrieval_page.__file__).with_name("retrieval.html")
PAGES = {
    "retrieval": lambda path: write_retrieval_page(path, retrieval_report()),
    "demand": lambda path: write_demand_page(path, demand_report()),
    "policy": lambda path: write_policy_page(path, policy_report()),
}


@pytest.fixture(scope="module", params=list(PAGES))
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    PAGES[request.param](path)
    return path


class Resources(HTMLParser):
    """Collects what a browser would fetch, and every id."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if "id" in values:
            self.ids.append(str(values["id"]))
        for name in ("src", "srcset", "href", "xlink:href", "data", "poster"):
            target = values.get(name)
            if target and target.startswith("#"):
                self.references.append(target[1:])
            elif target and tag != "a":
                self.fetched.append(target)


def test_page_when_opened_then_it_fetches_nothing(page: Path) -> None:
    text = page.read_text()
    resources = Resources()
    resources.feed(text)
    assert resources.fetched == []
    assert not re.search(r"@import|url\((?!#)|<script|<link|<iframe", text)


def test_page_when_figures_share_it_then_ids_are_distinct_and_resolve(page: Path) -> None:
    resources = Resources()
    resources.feed(page.read_text())
    assert set(resources.references) <= set(resources.ids)


def test_page_when_text_holds_markup_then_it_is_escaped(page: Path) -> None:
    text = page.read_text()
    assert "Corner &amp; Sons" in text
    assert "Invented &lt;figures&gt;." in text


def test_page_when_read_aloud_then_every_figure_has_title_and_description(page: Path) -> None:
    for figure in re.findall(r"<svg.*?</svg>", page.read_text(), flags=re.DOTALL):
        assert re.match(r'<svg role="img" aria-label="[^"]+"', figure)
        assert re.search(r"<title>[^<]+</title><desc>[^<]+</desc>", figure)
        assert "#010203" not in figure, "ink must follow the page's colours"


@pytest.mark.parametrize("width", [390, 1280])
def test_page_when_opened_in_a_browser_then_nothing_runs_over_the_side(
    page: Path, chromium: Path, tmp_path: Path, width: int
) -> None:
    shown, needed = widths_in_frame(chromium, page, tmp_path / "browser", width=width)
    assert 0 < needed <= shown <= width


def test_list_qualities_when_a_model_lacks_one_then_that_column_is_left_out() -> None:
    rows = [row("two-tower", 0.06, None), row("item-kNN", 0.05, 0.01)]
    rows[0]["lists"]["coverage@20"], rows[0]["lists"]["popularity_lift@20"] = 0.6, -0.4
    del rows[1]["lists"]["diversity@20"]
    found = list_qualities(table_of("new", [], *rows))
    assert found is not None
    names = [column["name"] for column in found["columns"]]
    assert names == ["Coverage", "Gini", "Novelty", "Popularity lift", "Miscalibration"]
    assert found["rows"][0]["cells"][0] == {"text": "60.0%", "share": 1.0}
    assert found["rows"][1]["cells"][0] == {"text": "30.0%", "share": 0.5}
    assert found["rows"][0]["cells"][3] == {"text": "−40%", "share": None}


def test_retrieval_page_when_a_report_is_older_then_it_is_still_written(tmp_path: Path) -> None:
    report = retrieval_report(learning_curve=[])
    del report["training"]
    for table in report["tables"]:
        for one in table["rows"]:
            one.pop("cost", None)
            one["lists"] = {"coverage@20": 0.3}
    write_retrieval_page(tmp_path / "page.html", report)
    assert "what it costs" not in (tmp_path / "page.html").read_text()


def test_demand_page_when_nothing_was_held_out_then_it_still_shows_what_lies_ahead(tmp_path: Path) -> None:
    write_demand_page(tmp_path / "page.html", demand_report(models=[], pit=None))
    assert "no window was held out" in (tmp_path / "page.html").read_text()


def test_render_when_a_name_is_missing_then_it_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render(TEMPLATE, report={})


def test_figure_when_titles_need_escaping_then_they_are() -> None:
    with drawing(1) as (figure, axes):
        axes.set_xlabel("a < b")
        svg = to_svg(figure, title='5" <b>', description="x & y")
    assert "<title>5&quot; &lt;b&gt;</title><desc>x &amp; y</desc>" in svg
    assert "a &lt; b" in svg


def test_numbers_when_written_then_percent_and_points_are_signed_and_rounded() -> None:
    assert (percent(0.07194), points(0.012), points(-0.012)) == ("7.2%", "+1.2", "−1.2")
