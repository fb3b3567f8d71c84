"""Both languages say the same things, on every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import features
from features.report.words import LANGUAGES, Words, placeholders

PACKAGE = Path(features.__file__).parent
CATALOGUES = sorted({path.parent for path in PACKAGE.rglob("words_en.yaml")} - {PACKAGE / "report"})
# Names that are no English: a segmentation's, a currency's, a method's, a data set's.
LATIN = ("RFM", "footfall tags validate", "Complete Journey")


def forms(text: object) -> list[str]:
    return [text] if isinstance(text, str) else list(text.values())  # type: ignore[attr-defined]


@pytest.fixture(params=CATALOGUES, ids=lambda path: str(path.relative_to(PACKAGE)))
def both(request: pytest.FixtureRequest) -> tuple[Words, Words]:
    english, chinese = (Words.load(language, request.param) for language in LANGUAGES)
    return english, chinese


def test_catalogues_when_all_are_read_together_then_no_key_is_in_two() -> None:
    for language in LANGUAGES:
        together = Words.load(language, *CATALOGUES)
        alone = [yaml.safe_load((path / f"words_{language}.yaml").read_text(encoding="utf-8")) for path in CATALOGUES]
        assert all(set(catalogue) <= {key.split(".")[0] for key in together.texts} for catalogue in alone)


def test_catalogues_when_compared_then_they_have_the_same_keys(both: tuple[Words, Words]) -> None:
    english, chinese = both
    assert list(english.texts) == list(chinese.texts)


def test_catalogues_when_compared_then_each_text_has_the_same_placeholders(both: tuple[Words, Words]) -> None:
    def left_open(words: Words, key: str) -> set[str]:
        return {name for form in forms(words.texts[key]) for name in placeholders(form)}

    english, chinese = both
    assert [key for key in english.texts if left_open(english, key) != left_open(chinese, key)] == []


def test_chinese_when_read_then_no_english_is_left(both: tuple[Words, Words]) -> None:
    _, chinese = both
    for key, text in chinese.texts.items():
        for form in forms(text):
            bare = re.sub(r"\{.*?\}", "", form)
            for name in LATIN:
                bare = bare.replace(name, "")
            assert not re.search(r"[A-Za-z]{2,}", bare), (key, form)
