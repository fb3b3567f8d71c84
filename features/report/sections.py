"""What a page is put together from: sections of findings, figures and tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from features.privacy.small_groups import Suppressed
from features.report.page import percent
from features.report.words import Money, Words

HIDDEN: Final = "·"
_FEW_LETTERS: Final = 12  # of a name that stay before a long id


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure and what it says.

    Args:
        svg: inline.
        caption: below it.
    """

    svg: Markup
    caption: str


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A table to read and to copy.

    Args:
        caption: above it.
        columns: names; the first is of the rows' names.
        rows: cells as written.
        open: whether it is shown at once, or on a click.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    open: bool = False

    @property
    def csv(self) -> str:
        """The table as CSV, as it is written."""
        text = io.StringIO()
        csv.writer(text).writerows([self.columns, *self.rows])
        return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class Card:
    """One figure that stands for itself.

    Args:
        value: as written.
        name: of the figure.
        note: below it, such as how it changed.
    """

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """How a figure is counted, one click away from it.

    Args:
        name: of the figure.
        text: what it is, with its formula.
        source: a paper, standard or page that it is taken from; may be empty.
    """

    name: str
    text: str
    source: str = ""


class NothingToShow(Exception):
    """A section cannot be made of this log; the reason in the page's language, as part of a list of such reasons."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One subject of a page.

    Args:
        name: of its anchor.
        title: the subject; where one figure answers its question, the answer.
        text: what one looks at.
        finding: the answer with its figure, where there is one.
        cards: figures that stand for themselves.
        drawn: figures.
        listed: tables.
        notes: what a reader must know.
        defined: how its figures are counted.
        tables: name -> the figures behind the section, for Parquet and CSV files; small groups are hidden in them too.
    """

    name: str
    title: str
    text: str
    finding: str = ""
    cards: Sequence[Card] = ()
    drawn: Sequence[Drawn] = ()
    listed: Sequence[Listed] = ()
    notes: Sequence[str] = field(default=())
    defined: Sequence[Definition] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def hidden_note(words: Words, suppressed: Suppressed, minimum: int) -> list[str]:
    """Return what a reader must know of hidden groups, in the page's language; nothing where none are."""
    if not suppressed.num_small:
        return []
    key = "page.hidden" if suppressed.num_complementary else "page.hidden_plain"
    return [words(key, small=suppressed.num_small, more=suppressed.num_complementary, minimum=minimum)]


def records(frame: pd.DataFrame) -> list[Any]:
    """Return a frame's rows with their values as attributes."""
    return list(frame.itertuples(index=False))


def whole(value: Any) -> str:
    """Return a count as written, a dot where it is hidden."""
    return HIDDEN if pd.isna(value) else f"{int(value):,}"


def share_text(value: Any, digits: int = 1) -> str:
    """Return a share as percent, a dot where it is hidden."""
    return HIDDEN if pd.isna(value) else percent(float(value), digits)


def decimal(value: Any, digits: int) -> str:
    """Return a number with decimals, a dot where it is hidden."""
    return HIDDEN if pd.isna(value) else f"{float(value):.{digits}f}"


def amount(value: Any, money: Money) -> str:
    """Return money as written, a dot where it is hidden."""
    return HIDDEN if pd.isna(value) else money(float(value))


def numbers(values: pd.Series | pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return values as floats, NaN where hidden."""
    return np.asarray(values.astype("Float64").to_numpy(float, na_value=np.nan), np.float64)


def greatest(frame: pd.DataFrame, column: str) -> Any:
    """Return the row with the largest value; of equals the first."""
    return records(frame.sort_values(column, ascending=False, kind="stable")[:1])[0]


def capital(text: str) -> str:
    """Return a text that begins with a capital.

    >>> capital("a third")
    'A third'
    """
    return text[:1].upper() + text[1:]


def short(name: str, *, letters: int, item_id: str = "") -> str:
    """Return a name that fits beside a bar: cut where it is long, before the id that it ends in: many items are called alike.

    >>> short("Assorted soft drinks of the season (i1)", letters=32, item_id="i1")
    'Assorted soft drinks of th… (i1)'
    >>> short("winter-2024-letter", letters=14)
    'winter-2024-l…'
    """
    end = f" ({item_id})"
    title = name.removesuffix(end)
    end = "" if title == name else end
    room = max(letters - len(end), _FEW_LETTERS)
    return f"{title if len(title) <= room else title[: room - 1].rstrip() + '…'}{end}"
