"""The figures of the demand page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib.dates import DateFormatter
from matplotlib.ticker import MaxNLocator

from features.report.figures import PALETTE, drawing, looks, to_svg

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
        axes.plot(ahead, quantiles["0.5"], color=PALETTE[1], label="median")
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


def service_curve(curves: Mapping[str, Sequence[Mapping[str, float]]], targets: Sequence[float], ours: str) -> Markup:
    """Draw the share of lead times covered by the units held; a curve further up and left needs less stock."""
    styles = looks(list(curves))
    with drawing(3.2) as (figure, axes):
        for name, points in curves.items():
            stock, served = [point["stock"] for point in points], [100 * point["service"] for point in points]
            width, alpha = (2.4, 1.0) if name == ours else (1.4, 0.8)
            axes.plot(stock, served, color=styles[name].color, linewidth=width, alpha=alpha, label=name)
        for target in targets:
            axes.axhline(100 * target, color="#040506", linestyle=":", linewidth=1)
        axes.set_xlabel("units held at the reorder point, mean over items")
        axes.set_ylabel("lead times covered, %")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    description = (
        f"{ours} holds {_held_for(curves[ours], targets[0]):.1f} units where {100 * targets[0]:.0f}% are covered."
    )
    return to_svg(figure, title="Service by stock", description=description)


def _held_for(points: Sequence[Mapping[str, float]], target: float) -> float:
    served = [point["service"] for point in points]
    return float(np.interp(target, served, [point["stock"] for point in points]))


def wql_lines(lines: Mapping[str, Sequence[float | None]], labels: Sequence[str], *, title: str, axis: str) -> Markup:
    """Draw each forecaster's WQL along windows or steps."""
    styles = looks(list(lines))
    places = range(len(labels))
    with drawing(2.8) as (figure, axes):
        for name, values in lines.items():
            shown = [np.nan if value is None else value for value in values]
            look = styles[name]
            axes.plot(places, shown, color=look.color, marker=look.marker, markersize=4, linewidth=1.6, label=name)
        every = max(1, len(labels) // 5)
        axes.set_xticks(list(places)[::every], list(labels)[::every])
        axes.set_xlabel(axis)
        axes.set_ylabel("WQL")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    name, values = next(iter(lines.items()))
    told = ", ".join("unknown" if value is None else f"{value:.2f}" for value in values)
    return to_svg(figure, title=title, description=f"{name}: {told}.")


def effect_forest(rows: Sequence[Row]) -> Markup:
    """Draw each effect with its interval, as a factor on units; 1 is no effect."""
    with drawing(0.8 + 0.36 * len(rows)) as (figure, axes):
        for height, row in enumerate(reversed(rows)):
            axes.plot([row["low"], row["high"]], [height, height], color=PALETTE[1], linewidth=3, alpha=0.55)
            axes.plot(row["uplift"], height, "o", color=PALETTE[1], markersize=7)
        names = [row["name"] if row["category"] is None else f"in {row['category']}" for row in reversed(rows)]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.axvline(1, color="#040506", linestyle="--", linewidth=1.2)
        axes.set_xlabel("units with it over units without, 95% interval")
        axes.grid(visible=False, axis="y")
    first = rows[0]
    return to_svg(
        figure,
        title="What promotions sell",
        description=f"{first['name']}: {first['uplift']:.2f} times the units, {first['low']:.2f} to {first['high']:.2f}.",
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
