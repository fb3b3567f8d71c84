"""The figures of the demand page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib.dates import DateFormatter
from matplotlib.ticker import MaxNLocator

from training.report.figures import PALETTE, drawing, looks, to_svg

Row = Mapping[str, Any]
_FOUR_IN_FIVE: Final = "light and dark: 4 outcomes in 5"
_TWO_IN_FIVE: Final = "dark: 2 outcomes in 5"


def wql_forest(models: Sequence[Row]) -> Markup:
    """Draw each forecaster's WQL with its interval, best at the top."""
    ordered = sorted(models, key=lambda row: -float(row["metrics"]["wql"]))
    styles = looks([row["model"] for row in models])
    with drawing(0.7 + 0.42 * len(ordered)) as (figure, axes):
        for height, row in enumerate(ordered):
            look = styles[row["model"]]
            axes.plot([row["low"], row["high"]], [height, height], color=look.color, linewidth=3, alpha=0.55)
            axes.plot(row["metrics"]["wql"], height, look.marker, color=look.color, markersize=8)
        axes.set_yticks(range(len(ordered)), [row["model"] for row in ordered])
        axes.set_ylim(-0.6, len(ordered) - 0.4)
        axes.set_xlabel("WQL with 95% interval; lower is better")
        axes.grid(visible=False, axis="y")
    best = ordered[-1]
    return to_svg(
        figure, title="WQL by forecaster", description=f"{best['model']} is best with {best['metrics']['wql']:.3f}."
    )


def fan(item: Row) -> Markup:
    """Draw an item's last units and its forecast: median, and the bands that hold 4 in 5 and 2 in 5 outcomes."""
    past, ahead = np.array(item["past_days"], "datetime64[D]"), np.array(item["days"], "datetime64[D]")
    sold = np.array(item["past_units"], dtype=np.float64)  # None becomes NaN, which leaves a gap
    quantiles = item["quantiles"]
    with drawing(2.8) as (figure, axes):
        axes.plot(past, sold, color="#5c6660", linewidth=1.2, marker=".", markersize=4, label="sold")
        axes.fill_between(
            ahead, quantiles["0.1"], quantiles["0.9"], color=PALETTE[1], alpha=0.22, linewidth=0, label=_FOUR_IN_FIVE
        )
        axes.fill_between(
            ahead, quantiles["0.3"], quantiles["0.7"], color=PALETTE[1], alpha=0.35, linewidth=0, label=_TWO_IN_FIVE
        )
        axes.plot(ahead, quantiles["0.5"], color=PALETTE[1], label="median ahead")
        axes.set_ylim(0, max(1.05, axes.get_ylim()[1]))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(DateFormatter("%-d %b"))  # type: ignore[no-untyped-call]
        axes.set_ylabel("units")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    total = sum(quantiles["0.5"])
    return to_svg(
        figure,
        title=f"Demand of {item['title']}",
        description=f"The medians of the days ahead sum to {total:.0f} units.",
    )


def pit_histogram(shares: Sequence[float]) -> Markup:
    """Draw the randomised PIT; a calibrated forecast is flat."""
    edges = [step / len(shares) for step in range(len(shares))]
    with drawing(2.6) as (figure, axes):
        axes.bar(edges, shares, width=0.95 / len(shares), align="edge", color=PALETTE[1])
        axes.axhline(1 / len(shares), color="#040506", linestyle="--", linewidth=1.2)
        axes.set_xlabel("where the outcome fell in the forecast (PIT)")
        axes.set_ylabel("share of outcomes")
        axes.grid(visible=False, axis="x")
    text = f"Shares from lowest to highest: {', '.join(f'{share:.2f}' for share in shares)}."
    return to_svg(figure, title="Calibration of the forecast", description=text)
