"""Both languages say the same things."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from features.customers import pages
from features.errors import ConfigError
from features.report.words import LANGUAGES, Language, Money, Words
from features.settings import ShopSettings
from features.tags.build import tag_rules

CATALOGUE = Path(pages.__file__).parent
ENGLISH, CHINESE = (Words.load(language, CATALOGUE) for language in LANGUAGES)


def test_catalogues_when_a_tag_is_ready_then_both_name_it() -> None:
    for rule in tag_rules(ShopSettings(), None):
        assert ENGLISH.tag(rule.name) == rule.title
        assert CHINESE.tag(rule.name) != rule.name.replace("_", " ")
    assert CHINESE.tag("our_own_tag") == "our own tag"


def test_words_when_called_then_numbers_are_written_and_plurals_chosen() -> None:
    assert ENGLISH("short.unusual", count=1, days=28) == "One unusual thing was found in the last 28 days."
    assert ENGLISH("short.unusual", count=1_234, days=28) == "1,234 unusual things were found in the last 28 days."
    assert CHINESE("short.unusual", count=1, days=28) == "最近28天发现1处异常。"


@pytest.mark.parametrize(
    ("language", "day", "month", "span"),
    [
        ("en", "5 Mar 2024", "March 2024", "5 Mar 2024 to 6 Mar 2024"),
        ("zh", "2024年3月5日", "2024年3月", "2024年3月5日至2024年3月6日"),
    ],
)
def test_words_when_days_are_written_then_as_the_language_does(
    language: Language, day: str, month: str, span: str
) -> None:
    words, date = Words.load(language), dt.date(2024, 3, 5)
    assert words.day(date) == words.days(date, date) == day
    assert words.month_of(date) == month
    assert words.days(date, dt.date(2024, 3, 6)) == span


@pytest.mark.parametrize(("share", "text"), [(0.335, "a third"), (0.5, "half"), (0.41, "41%"), (0.0, "0%")])
def test_fraction_when_a_share_is_near_one_then_it_has_its_name(share: float, text: str) -> None:
    assert ENGLISH.fraction(share) == text


def test_listing_when_there_are_several_then_the_last_is_joined_otherwise() -> None:
    assert [ENGLISH.listing(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert CHINESE.listing(["甲", "乙", "丙"]) == "甲、乙和丙"


def test_term_when_the_shop_named_it_then_it_stays() -> None:
    assert ENGLISH.term("lifecycle", "cooling") == "cooling"
    assert CHINESE.term("lifecycle", "cooling") == "降温客户"
    assert CHINESE.term("value_tier", "top_5") == "前5%"
    assert CHINESE.term("rfm_segment", "our friends") == "our friends"


def test_load_when_the_language_is_unknown_then_it_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="expected one of en, zh, found 'fr'"):
        Words.load("fr")  # type: ignore[arg-type]


def test_money_when_written_then_small_amounts_keep_their_cents() -> None:
    yen = Money(currency="JPY", minor_units=1)
    assert (yen(5), yen(12_345)) == ("5 JPY", "12,345 JPY")
    assert Money(currency="EUR", minor_units=100).short(12_345_678) == "123.5k"
