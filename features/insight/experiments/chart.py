"""Lifts and their ranges, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from features.report.figures import PALETTE, drawing, looks, to_svg
from features.report.sections import records

_ROW_INCHES: Final = 0.34


def forest(lifts: pd.DataFrame, names: Sequence[str], *, arms: Sequence[str], title: str, description: str) -> Markup:
    """Return a line a metric and arm: its lift as a mark, its range as a line, no effect as a line across.

    Args:
        lifts: lift, lift_low, lift_high, arm; the first on top.
        names: of the metrics, one a row of ``lifts``; written once where several rows have one.
        arms: that are tried, in order of their colours.
        title: of the figure.
        description: in a sentence.
    """
    styles = looks(list(arms))
    with drawing(0.9 + _ROW_INCHES * len(lifts)) as (figure, axes):
        places = np.arange(len(lifts))[::-1]
        drawn: set[str] = set()
        for place, row in zip(places, records(lifts), strict=True):
            style, label = styles[str(row.arm)], "" if row.arm in drawn else str(row.arm)
            drawn.add(str(row.arm))
            axes.plot([row.lift_low, row.lift_high], [place, place], color=style.color, linewidth=2.2)
            axes.plot(row.lift, place, style.marker, color=style.color, markersize=7, label=label or None)
        axes.axvline(0, color=PALETTE[7], linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_yticks(places, [name if new else "" for name, new in zip(names, _first(names), strict=True)])
        axes.set_ylim(-0.6, len(lifts) - 0.4)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        if len(arms) > 1:
            figure.legend(loc="outside upper left", ncols=3, fontsize=9.5)
        return to_svg(figure, title=title, description=description)


def _first(names: Sequence[str]) -> list[bool]:
    return [place == 0 or names[place - 1] != name for place, name in enumerate(names)]
