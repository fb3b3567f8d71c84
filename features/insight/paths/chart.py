"""The Sankey diagram: columns of steps, bands of visits between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline

from features.insight.paths.links import SOURCE, TARGET
from features.insight.paths.step_matrix import STEP
from features.insight.paths.steps import END, OTHER, START
from features.report.figures import PALETTE, drawing, to_svg
from features.report.sections import records

_BAR: Final = 0.07  # width of a step's bar, in columns
_GAP: Final = 0.035  # between bars above each other, as a share of all visits
_LEAST_LABELLED: Final = 0.035
_QUIET: Final = PALETTE[7]


def sankey_chart(links: pd.DataFrame, *, name_of: Callable[[str], str], title: str, description: str) -> Markup:
    """Return the diagram of one audience's links.

    Args:
        links: from ``sankey``: step, source, target, share; a missing share is not drawn.
        name_of: what a step is called.
        title: of the figure.
        description: in a sentence.
    """
    shown = links.dropna(subset=["share"])
    shown = shown.assign(**{STEP: shown[STEP] - shown[STEP].min()})  # the leftmost column is 0
    columns = int(shown[STEP].max()) + 2
    names = pd.unique(pd.concat([shown[SOURCE], shown[TARGET]]))
    named = [name for name in names if name not in (START, END, OTHER)]
    colors = {name: PALETTE[place % (len(PALETTE) - 1)] for place, name in enumerate(named)}
    with drawing(3.9) as (figure, axes):
        tops = [_bars(axes, shown, column, colors, name_of) for column in range(columns)]
        _bands(axes, shown, tops, colors)
        axes.set_xlim(-0.05, columns - 0.3)
        axes.set_ylim(1.0 + _GAP * 8, -0.03)
        axes.set_axis_off()
        return to_svg(figure, title=title, description=description)


def _bars(
    axes: Axes, links: pd.DataFrame, column: int, colors: Mapping[str, str], name_of: Callable[[str], str]
) -> dict[str, float]:
    """Draw a column's bars; return where each begins."""
    into = links[links[STEP] == column - 1].groupby(TARGET)["share"].sum()
    out = links[links[STEP] == column].groupby(SOURCE)["share"].sum()
    size = pd.concat([into, out], axis=1).max(axis=1).sort_values(ascending=False, kind="stable")
    order = sorted(size.index, key=lambda name: (name in (START, END), name == OTHER))
    top, tops = 0.0, {}
    for name in order:
        tops[name] = top
        axes.add_patch(Rectangle((column, top), _BAR, size[name], color=colors.get(name, _QUIET), linewidth=0))
        if size[name] >= _LEAST_LABELLED:
            text = f"{name_of(name)} {100 * size[name]:.0f}%"
            axes.text(column + _BAR + 0.03, top + size[name] / 2, text, va="center", ha="left", size=8)
        top += size[name] + _GAP
    return tops


def _bands(axes: Axes, links: pd.DataFrame, tops: list[dict[str, float]], colors: Mapping[str, str]) -> None:
    used_out: dict[Any, float] = {}
    used_in: dict[Any, float] = {}
    places = [(link, link.step) for link in records(links)]
    for link, column in sorted(
        places, key=lambda one: (one[1], tops[one[1]][one[0].source], tops[one[1] + 1][one[0].target])
    ):
        out, into = (column, link.source), (column + 1, link.target)
        left = tops[column][link.source] + used_out.get(out, 0.0)
        right = tops[column + 1][link.target] + used_in.get(into, 0.0)
        used_out[out] = used_out.get(out, 0.0) + link.share
        used_in[into] = used_in.get(into, 0.0) + link.share
        color = _QUIET if link.target == END else colors.get(link.source, _QUIET)
        axes.add_patch(
            PathPatch(_band(column + _BAR, left, column + 1, right, link.share), color=color, alpha=0.28, linewidth=0)
        )


def _band(x: float, top: float, to_x: float, to_top: float, height: float) -> Outline:
    middle = (x + to_x) / 2
    points = [(x, top), (middle, top), (middle, to_top), (to_x, to_top),
              (to_x, to_top + height), (middle, to_top + height), (middle, top + height), (x, top + height), (x, top)]  # fmt: skip
    bezier = [Outline.CURVE4] * 3
    return Outline(np.array(points), [Outline.MOVETO, *bezier, Outline.LINETO, *bezier, Outline.CLOSEPOLY])
