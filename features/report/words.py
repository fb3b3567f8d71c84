"""The words of the pages: one catalogue a language, and how figures are written in it.

sizes:
caption: "{customers} customers"             text with placeholders
lines:   {one: "a line", other: "{count} lines"}    chosen by ``count``
"""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml

from features.errors import ConfigError
from features.report.page import number, percent
from features.settings import ShopSettings

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
_PLURAL: Final = frozenset({"one", "other"})
# How near a share must be to a fraction to be called by its name.
_FRACTIONS: Final = {"quarter": 1 / 4, "third": 1 / 3, "half": 1 / 2, "two_thirds": 2 / 3, "three_quarters": 3 / 4}
_LEAST: Final = 0.005  # below, percent would read 0%
_NEAR: Final = 0.015


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """A language.

    Args:
        language: its code, as in ``<html lang>``.
        texts: key with dots -> text, or one and other by number.
    """

    language: Language
    texts: Mapping[str, str | Mapping[str, str]]

    @classmethod
    def load(cls, language: Language, *directories: Path) -> Words:
        """Read what every page says, and the catalogues of the subjects that it has.

        Args:
            language: of the page.
            directories: where further ``words_LANGUAGE.yaml`` stand; no key is in two catalogues.

        Raises:
            ConfigError: there is no catalogue of this language.
        """
        if language not in LANGUAGES:
            raise ConfigError(f"language: expected one of {', '.join(LANGUAGES)}, found {language!r}.")
        texts: dict[str, str | Mapping[str, str]] = {}
        for directory in (Path(__file__).parent, *directories):
            text = (directory / f"words_{language}.yaml").read_text(encoding="utf-8")
            read = dict(_flat("", yaml.safe_load(text)))
            assert not texts.keys() & read.keys(), sorted(texts.keys() & read.keys())
            texts |= read
        return cls(language=language, texts=texts)

    def __call__(self, key: str, /, **values: Any) -> str:
        """Return a text with its placeholders filled; a number named ``count`` chooses between one and other.

        Whole numbers get their thousands set apart.
        """
        text = self.texts[key]
        if not isinstance(text, str):
            text = text["one" if values["count"] == 1 and "one" in text else "other"]
        return text.format(**{name: f"{value:,}" if type(value) is int else value for name, value in values.items()})

    def has(self, key: str) -> bool:
        """Whether the catalogue holds a key."""
        return key in self.texts

    def term(self, kind: str, value: str) -> str:
        """Return what a value of the data is called, such as a stage; the value itself where the shop named it."""
        if kind == "value_tier" and value.startswith("top_"):
            return self("value_tier.top", percent=value.removeprefix("top_"))
        text = self.texts.get(f"{kind}.{value}", value)
        return text if isinstance(text, str) else value

    def tag(self, name: str) -> str:
        """Return what a tag is called: a ready one in the page's language, a shop's own by its name."""
        return self.term("tag", name) if self.has(f"tag.{name}") else name.replace("_", " ")

    def day(self, day: dt.date) -> str:
        """Return a day, such as 5 Mar 2024."""
        return self("format.day", day=str(day.day), month=self.month(day.month), year=str(day.year))

    def days(self, first: dt.date, last: dt.date) -> str:
        """Return a span of days, or the day where it is one."""
        return self.day(first) if first == last else self("format.span", first=self.day(first), last=self.day(last))

    def month(self, number_: int) -> str:
        """Return a month's name, short."""
        return self(f"format.month_{number_}")

    def month_of(self, day: dt.date) -> str:
        """Return a month in full with its year."""
        return self("format.month_of", month=self(f"format.full_month_{day.month}"), year=str(day.year))

    def weekday(self, number_: int) -> str:
        """Return a weekday's name; 1 is Monday."""
        return self(f"format.weekday_{number_}")

    def hour(self, hour: int) -> str:
        """Return an hour of the day, such as 20:00."""
        return f"{hour:02d}:00"

    def fraction(self, share: float) -> str:
        """Return a share as a sentence has it: a third, 41%, or less than 1%."""
        if 0 < share < _LEAST:
            return self("format.least")
        for name, exact in _FRACTIONS.items():
            if abs(share - exact) <= _NEAR:
                return self(f"format.{name}")
        return percent(share, 0)

    def listing(self, parts: list[str]) -> str:
        """Return a list in words."""
        if len(parts) < 2:
            return "".join(parts)
        return self("format.and", first=self("format.comma").join(parts[:-1]), last=parts[-1])


@dataclass(frozen=True, kw_only=True)
class Money:
    """How a shop's money is written: major units with its currency's code.

    Args:
        currency: ISO 4217 code.
        minor_units: minor units in one major unit.
    """

    currency: str
    minor_units: int

    @classmethod
    def of(cls, shop: ShopSettings) -> Money:
        """Return the money of a shop."""
        return cls(currency=shop.currency, minor_units=shop.minor_units)

    def __call__(self, minor: float) -> str:
        """Return an amount of minor units.

        >>> Money(currency="EUR", minor_units=100)(123456), Money(currency="EUR", minor_units=100)(250)
        ('1,235 EUR', '2.50 EUR')
        """
        major = minor / self.minor_units
        return (
            f"{number(round(major)) if abs(major) >= 100 or self.minor_units == 1 else f'{major:,.2f}'} {self.currency}"
        )

    def short(self, minor: float) -> str:
        """Return an amount without its currency, for narrow places.

        >>> Money(currency="EUR", minor_units=100).short(1234567)
        '12.3k'
        """
        major = minor / self.minor_units
        return f"{major / 1000:,.1f}k" if abs(major) >= 10_000 else f"{major:,.0f}"


def placeholders(text: str) -> frozenset[str]:
    """Return the names that a text leaves open.

    >>> sorted(placeholders("{count} of {total}"))
    ['count', 'total']
    """
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name)


def _flat(prefix: str, node: Mapping[str, Any]) -> list[tuple[str, str | Mapping[str, str]]]:
    found: list[tuple[str, str | Mapping[str, str]]] = []
    for name, value in node.items():
        if isinstance(value, Mapping) and not set(value) <= _PLURAL:
            found += _flat(f"{prefix}{name}.", value)
        else:
            found.append((f"{prefix}{name}", value if isinstance(value, Mapping) else str(value)))
    return found
