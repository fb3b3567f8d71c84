"""The pages of customers as a reader finds them, in both languages."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import footfall
from features.commands.report import run
from features.customers.pages.customers import CustomersPage, write_customers_page
from features.customers.pages.inputs import read_places, read_validation
from features.customers.pages.year_page import YearPage, write_year_page
from features.errors import ConfigError, ConsentMissing, DataError
from features.privacy.pseudonyms import KeyRing, Pseudonyms
from features.release import ReleaseStore
from tests.features.customers import page_world as world
from tests.features.tiny_shop import utc, write_shop

# What may stand in Latin letters on a Chinese page: names, units, codes.
LATIN = re.compile(
    r"RFM|CNY|UTC|CSV|Complete Journey|footfall tags validate|i\d|\bk\b|[0-9a-f]{7,}(-dirty)?|k\d:[0-9a-f]+|\d+k"
)
TAGS = {
    "settings": {"period_days": 28},
    "tags": [
        {"tag": "cart_left", "num_tagged": 40, "rate_tagged": 0.4, "rate_untagged": 0.2, "rate_lift": 2.0,
         "rate_low": 1.4, "rate_high": 2.7, "q": 0.001},
        {"tag": "我们的朋友", "num_tagged": 2, "rate_tagged": 1.0, "rate_untagged": 0.2, "rate_lift": 5.0,
         "rate_low": 1.0, "rate_high": 9.0, "q": 0.2},
    ],
}  # fmt: skip


class Texts(HTMLParser):
    """Collects what a reader sees, and the page's language."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.language = ""
        self._hidden = 0
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in {"style", "script"}
        self.language = dict(attrs).get("lang") or self.language
        self.shown += [text for name, text in attrs if name in {"aria-label", "alt", "title"} and text]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "script"}

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._hidden:
            self.shown.append(data.strip())


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("page_world"))


@pytest.fixture(scope="module", params=["en", "zh"])
def written(
    request: pytest.FixtureRequest, features: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp(request.param)
    pages = {name: directory / f"{name}.html" for name in ("customers", "year")}
    write_customers_page(features, pages["customers"], CustomersPage(language=request.param, tags=TAGS))
    write_year_page(features, world.TEA_DRINKER, pages["year"], YearPage(language=request.param))
    return {"language": request.param, **pages}


def test_pages_when_chinese_then_no_english_is_left(written: dict[str, Path]) -> None:
    for name in ("customers", "year"):
        texts = Texts(written[name])
        assert texts.language == written["language"]
        english = [text for text in texts.shown if re.search(r"[A-Za-z]{2,}", LATIN.sub("", text))]
        assert bool(english) == (written["language"] == "en"), english


def test_pages_when_opened_then_they_fetch_nothing_and_escape_the_shop(written: dict[str, Path]) -> None:
    for name in ("customers", "year"):
        text = written[name].read_text()
        assert "小店 &amp; 朋友" in text
        assert not re.search(r"@import|url\((?!#)|<script|<link|<iframe|<img", text)


def test_customers_page_when_written_then_every_figure_is_described(written: dict[str, Path]) -> None:
    for figure in re.findall(r"<svg.*?</svg>", written["customers"].read_text(), flags=re.DOTALL):
        assert re.search(r"<title>[^<]+</title><desc>[^<]+</desc>", figure)
        assert "#010203" not in figure


def test_customers_page_when_customers_jump_then_they_are_listed_under_other_names(
    features: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    names = Pseudonyms(key=b"0123456789abcdef", number=4, scope="customers page", digits=8)
    result = write_customers_page(features, out, CustomersPage(pseudonyms=names))
    text = out.read_text()
    assert names.of("客1") in text
    assert names.of("客2") in text
    assert "客1" not in text
    assert result["unusual"] >= 2
    write_customers_page(features, out, CustomersPage(show_ids=True))
    assert "客1" in out.read_text()
    write_customers_page(features, out)
    assert "客1" not in out.read_text()
    assert names.of("客1") not in out.read_text()


def test_customers_page_when_tags_are_given_then_small_ones_stay_hidden(written: dict[str, Path]) -> None:
    text = written["customers"].read_text()
    assert "1.40–2.70" in text
    assert "我们的朋友" not in text


def test_customers_page_when_something_is_missing_then_it_says_what_and_why(features: Path, tmp_path: Path) -> None:
    result = write_customers_page(features, tmp_path / "page.html", CustomersPage(days=1_000))
    assert any("1,000 days" in reason for reason in result["missing"])
    assert any("footfall tags validate" in reason for reason in result["missing"])
    assert "moves" not in result["sections"]


def test_moves_when_exported_then_as_counted_on_the_page_and_only_of_those_who_consent(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All moves of 28 days; one who never agreed is not in the log, one who withdrew since is not in the file."""
    out = tmp_path / "moves.csv"
    words = ["audiences", "moves", str(features), str(out), "--from", "2024-04-07"]
    assert footfall.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    found = pd.read_csv(out)
    assert (said["from"], said["to"]) == ("2024-04-07", "2024-05-05")
    assert (said["exported"], said["no_consent"]) == (len(found), said["moved"] - len(found))
    assert world.CHANGED_MIND not in set(found["user_id"])
    assert said["no_consent"] == 1
    assert (found["was"] != found["now"]).all()
    shown = {(one["was"], one["now"]): one["customers"] for one in said["moves"]}
    assert all(size is None or size >= 3 for size in shown.values())
    key = tmp_path / "key"
    KeyRing.create(key)
    assert (
        footfall.main([*words, "--was", "growing", "--now", "silent", "--pseudonyms_for", "ads", "--key", str(key)])
        == 0
    )
    named = pd.read_csv(out)
    chosen = found[(found["was"] == "growing") & (found["now"] == "silent")]
    assert len(chosen)
    assert set(named["pseudonym"]) == set(map(KeyRing.load(key).pseudonyms("ads").of, chosen["user_id"]))
    assert list(named) == ["pseudonym", "was", "now"]
    forgotten = str(found["user_id"].iloc[0])
    ReleaseStore(root=tmp_path / "store").erasures.add(forgotten)
    assert footfall.main([*words, "--store", str(tmp_path / "store")]) == 0
    assert set(pd.read_csv(out)["user_id"]) == set(found["user_id"]) - {forgotten}


def test_year_page_when_written_then_its_figures_are_the_customers(features: Path, tmp_path: Path) -> None:
    out = tmp_path / "year.html"
    result = write_year_page(features, world.TEA_DRINKER, out, YearPage(name="Ann", year=2024))
    text = out.read_text()
    # Six orders of two teas and one of a cup; 4 x 2 x 10.00 + 2 x 2 x 5.00 + 30.00, less the cup sent back.
    assert result["orders"] == 7
    assert "<strong>100 CNY</strong>" in text
    assert "<strong>13</strong>" in text
    assert "<strong>20.00 CNY</strong> <span>saved on 4 things" in text
    assert "<strong>1</strong> <span>order with a coupon" in text
    assert "绿茶, in 6 orders" in text
    assert "You like to order around 20:00." in text
    assert "绿茶: about every 20 days; last on 15 Apr 2024" in text
    assert "agreed" in text
    assert world.TEA_DRINKER not in text


def test_year_page_when_consent_is_missing_or_withdrawn_then_it_is_refused(features: Path, tmp_path: Path) -> None:
    out = tmp_path / "year.html"
    with pytest.raises(
        ConsentMissing, match="expected the customer's consent to personalisation at this moment, found none"
    ):
        write_year_page(features, world.CHANGED_MIND, out)
    for stranger in (world.NEVER_ASKED, "nobody"):
        with pytest.raises(ConsentMissing):
            write_year_page(features, stranger, out)
    assert not out.exists()


def test_year_page_when_newer_consents_are_given_then_they_count(features: Path, tmp_path: Path) -> None:
    withdrawn = {"user_id": world.TEA_DRINKER, "purpose": "personalisation", "granted": False, "at": utc("2024-06-01")}
    newer = write_shop(tmp_path / "newer", consents=[withdrawn])
    with pytest.raises(ConsentMissing):
        write_year_page(features, world.TEA_DRINKER, tmp_path / "year.html", YearPage(consents=newer))


def test_year_page_when_nothing_was_bought_then_it_says_so(features: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one from 2024 to 2024, found 2020"):
        write_year_page(features, world.TEA_DRINKER, tmp_path / "year.html", YearPage(year=2020))


def test_report_when_run_from_the_command_line_then_pages_are_written(features: Path, tmp_path: Path) -> None:
    tags, places = tmp_path / "tags.json", tmp_path / "places.csv"
    tags.write_text(json.dumps(TAGS))
    places.write_text("region,latitude,longitude\n北,40,116\n南,23,113\n")
    out = tmp_path / "page.html"
    found = run(
        ["customers", str(features), str(out), "--language", "zh", "--tags", str(tags), "--regions", str(places)]
    )
    assert found is not None
    assert "tags" in found["sections"]
    assert "1,9" in out.read_text()  # kilometres from Beijing to Canton
    found = run(["year", world.TEA_DRINKER, str(out), "--data", str(features)])
    assert found is not None
    assert found["purposes"] == ["personalisation"]
    with pytest.raises(ConfigError, match="expected --data FEATURES"):
        run(["year", world.TEA_DRINKER, str(out)])


def test_inputs_when_files_are_something_else_then_errors_say_so(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("[]")
    with pytest.raises(DataError, match="expected what `footfall tags validate` wrote"):
        read_validation(other)
    with pytest.raises(DataError, match="expected CSV with region, latitude, longitude"):
        read_places(other)
