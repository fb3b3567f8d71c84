"""Figures that several pages draw: bars, heat maps, lines by day, in the words of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from features.report.figures import PALETTE, drawing, looks, to_svg

_LETTERS, _CROWDED = 36, 8.2  # letters that fit below the columns, and the size of more
_WARM, _COOL = PALETTE[0], PALETTE[1]
_FAINTEST, _STRONGEST = 0.06, 0.66  # so that the page's ink stays readable on it, in light and in dark
_BAR_INCHES: Final = 0.36
_FEW_PLACES: Final = 20  # of more, markers would run into each other
_ROOM: Final = 1.28  # right of the longest bar, for its figure


def bars(
    names: Sequence[str],
    values: npt.ArrayLike,
    texts: Sequence[str],
    *,
    title: str,
    description: str,
    reference: float | None = None,
) -> Markup:
    """Return horizontal bars, the first on top, each with its figure at its end.

    Args:
        names: of the bars, in one line or two.
        values: their lengths; NaN draws none.
        texts: written at their ends.
        title: of the figure.
        description: in a sentence.
        reference: where a line is drawn that bars are held against.
    """
    inches = _BAR_INCHES * (1.3 if any("\n" in name for name in names) else 1.0)
    with drawing(0.5 + inches * len(names)) as (figure, axes):
        lengths = np.nan_to_num(np.asarray(values, float))
        places = np.arange(len(names))[::-1]
        axes.barh(places, lengths, height=0.66, color=_COOL, alpha=0.8)
        longest = max(float(lengths.max(initial=0)), 1e-9)
        for place, length, text in zip(places, lengths, texts, strict=True):
            axes.text(length + 0.015 * longest, place, text, va="center", ha="left", size=9.5)
        if reference is not None:
            axes.axvline(reference, color=PALETTE[7], linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_xlim(0, longest * _ROOM)
        axes.set_yticks(places, list(names))
        axes.set_xticks([])
        _bare(axes, "bottom")
        return to_svg(figure, title=title, description=description)


def heat(
    strength: npt.ArrayLike,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    description: str,
    texts: Sequence[Sequence[str]] | None = None,
    row_title: str = "",
    column_title: str = "",
    every: int = 1,
    cell_inches: float = 0.5,
    warm: bool = True,
) -> Markup:
    """Return a heat map; the stronger a cell the deeper its colour.

    Args:
        strength: 0 to 1, ``[R, C]``; NaN draws a cell that is empty.
        rows: names, the first on top.
        columns: names.
        title: of the figure.
        description: in a sentence.
        texts: written in the cells, ``[R][C]``.
        row_title: what the rows are, written above their names.
        column_title: what the columns are.
        every: which columns' names are written: each, or each third.
        cell_inches: height of a cell.
        warm: which of two colours.
    """
    strength = np.asarray(strength, float)
    with drawing(0.75 + cell_inches * len(rows)) as (figure, axes):
        for (row, column), value in np.ndenumerate(strength):
            shade = 0.0 if np.isnan(value) else _FAINTEST + (_STRONGEST - _FAINTEST) * float(value)
            corner = (column + 0.03, row + 0.03)
            axes.add_patch(Rectangle(corner, 0.94, 0.94, color=(*to_rgb(_WARM if warm else _COOL), shade), linewidth=0))
            if texts is not None and texts[row][column]:
                size = 9.5 if len(columns) <= 6 else 8.2
                axes.text(column + 0.5, row + 0.5, texts[row][column], ha="center", va="center", size=size)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
        axes.set_xticks(np.arange(0, len(columns), every) + 0.5, list(columns)[::every])
        axes.tick_params(length=0)
        if len(columns) * max(map(len, columns), default=0) > _LETTERS:
            axes.tick_params(axis="x", labelsize=_CROWDED)
        axes.grid(visible=False)
        axes.set_xlabel(column_title)
        if row_title:
            axes.set_title(row_title, loc="left", size=10, x=0, pad=7)
        _bare(axes, "bottom", "left")
        return to_svg(figure, title=title, description=description)


def daily_line(
    days: Sequence[str], counts: npt.ArrayLike, expected: npt.ArrayLike, unusual: Sequence[int], *, words: tuple[str, str, str],
    title: str, description: str,
) -> Markup:  # fmt: skip
    """Return counts a day beside what was expected, unusual days marked.

    Args:
        days: names of all days; the first, middle and last are written.
        counts: ``[D]``.
        expected: ``[D]``, NaN where unknown.
        unusual: positions of marked days.
        words: what counts, expectation and marks are called.
        title: of the figure.
        description: in a sentence.
    """
    counted, hoped = np.asarray(counts, float), np.asarray(expected, float)
    with drawing(2.4) as (figure, axes):
        places = np.arange(len(days))
        axes.plot(places, counted, color=_COOL, label=words[0], linewidth=1.6)
        axes.plot(places, hoped, color=PALETTE[7], linestyle=(0, (4, 2)), linewidth=1.4, label=words[1])
        if len(unusual):
            axes.plot(list(unusual), counted[list(unusual)], "o", color=_WARM, label=words[2], markersize=7)
        shown = sorted({0, len(days) // 2, len(days) - 1})
        axes.set_xticks(shown, [days[place] for place in shown])
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=3, fontsize=9.5)
        return to_svg(figure, title=title, description=description)


def lines(
    places: Sequence[str], series: Mapping[str, npt.ArrayLike], *, title: str, description: str,
    bands: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]] | None = None, as_share: bool = False,
    unfinished: int = 0, unit: str = "",
) -> Markup:  # fmt: skip
    """Return one line a series.

    Args:
        places: names along the x axis, in order; the first, middle and last are written.
        series: name -> values ``[P]``, NaN where nothing is known.
        title: of the figure.
        description: in a sentence.
        bands: name of a series -> lower and upper end of its interval, each ``[P]``.
        as_share: whether values are written as percent.
        unfinished: how many of the last places are not over yet; they are drawn with a broken line.
        unit: of the values, such as a currency.
    """
    with drawing(2.7) as (figure, axes):
        x = np.arange(len(places))
        whole = len(places) - unfinished
        for name, look in looks(list(series)).items():
            values = np.asarray(series[name], float)
            marker = look.marker if len(places) <= _FEW_PLACES else ""
            drawn: dict[str, Any] = {"color": look.color, "marker": marker, "markersize": 5, "linewidth": 1.8}
            axes.plot(x[:whole], values[:whole], label=name, **drawn)
            if unfinished:
                axes.plot(x[max(whole - 1, 0) :], values[max(whole - 1, 0) :], **drawn | {"linestyle": (0, (3, 2))})
            if bands and name in bands:
                low, high = (np.asarray(end, float) for end in bands[name])
                axes.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0)
        shown = sorted({0, len(places) // 2, len(places) - 1})
        axes.set_xticks(shown, [places[place] for place in shown])
        least, most = axes.get_ylim()
        axes.set_ylim(min(0.0, least), most + 0.03 * (most - min(0.0, least)))
        axes.set_ylabel(unit)
        if as_share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        else:
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=2, fontsize=9.5)
        return to_svg(figure, title=title, description=description)


def _bare(axes: Axes, *sides: str) -> None:
    axes.grid(visible=False)
    for side in sides:
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
