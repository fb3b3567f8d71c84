"""The figures of the retrieval page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from features.report.figures import Look, drawing, to_svg
from features.report.page import percent

Row = Mapping[str, Any]
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}%")
_HEADLINE = "recall@20"
_MARKED_POINTS = 40  # more would hide the line


def forest(rows: Sequence[Row], styles: Mapping[str, Look], *, asked: str) -> Markup:
    """Draw Recall@20 of each model with its interval, best at the top."""
    ordered = sorted(rows, key=lambda row: float(row["metrics"][_HEADLINE]["mean"]))
    with drawing(0.7 + 0.42 * len(ordered)) as (figure, axes):
        for height, row in enumerate(ordered):
            found, look = row["metrics"][_HEADLINE], styles[row["model"]]
            axes.plot([found["low"], found["high"]], [height, height], color=look.color, linewidth=3, alpha=0.55)
            axes.plot(found["mean"], height, look.marker, color=look.color, markersize=8)
        axes.set_yticks(range(len(ordered)), [row["model"] for row in ordered])
        axes.set_ylim(-0.6, len(ordered) - 0.4)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("Recall@20 with 95% interval")
        axes.grid(visible=False, axis="y")
    best = ordered[-1]
    text = f"{best['model']} leads with {percent(best['metrics'][_HEADLINE]['mean'])} of {asked}."
    return to_svg(figure, title="Recall@20 by model", description=text)


def recall_curves(rows: Sequence[Row], styles: Mapping[str, Look]) -> Markup:
    """Draw recall against the length of the list."""
    with drawing(_with_legend(2.6, rows)) as (figure, axes):
        for row in rows:
            ks = [int(k) for k in row["curve"]]
            look = styles[row["model"]]
            values = list(row["curve"].values())
            axes.plot(ks, values, color=look.color, marker=look.marker, markersize=4, linewidth=1.6, label=row["model"])
        axes.set_xscale("log")
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("length of the list, k")
        axes.set_ylabel("Recall@k")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    ends = ", ".join(f"{row['model']} {percent(row['curve']['100'])}" for row in rows)
    return to_svg(figure, title="Recall by length of the list", description=f"At 100 items: {ends}.")


def accuracy_and_coverage(rows: Sequence[Row], styles: Mapping[str, Look]) -> Markup:
    """Draw how much is found against how much of the catalogue is ever shown; the best corner is top right."""
    with drawing(_with_legend(2.6, rows)) as (figure, axes):
        for row in rows:
            look = styles[row["model"]]
            x, y = row["lists"]["coverage@20"], row["metrics"][_HEADLINE]["mean"]
            axes.plot(x, y, look.marker, color=look.color, markersize=9, linestyle="", label=row["model"])
        widest = max(float(row["lists"]["coverage@20"]) for row in rows)
        highest = max(float(row["metrics"][_HEADLINE]["mean"]) for row in rows)
        axes.set_xlim(-0.06 * (widest or 1), 1.15 * (widest or 1))
        axes.set_ylim(0, 1.25 * (highest or 1))
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("share of the catalogue shown, coverage@20")
        axes.set_ylabel("Recall@20")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    ends = ", ".join(f"{row['model']} shows {percent(row['lists']['coverage@20'])}" for row in rows)
    return to_svg(figure, title="Accuracy and coverage", description=f"Of the catalogue, {ends}.")


def slices(parts: Sequence[Row], styles: Mapping[str, Look], models: Sequence[str]) -> Markup:
    """Draw Recall@20 of each model in every slice of one group."""
    step = 1 / (len(models) + 1.5)
    with drawing(0.9 + (0.3 + 0.11 * len(models)) * len(parts)) as (figure, axes):
        for row, part in enumerate(reversed(parts)):
            for index, name in enumerate(models):
                found, look = part[_HEADLINE][name], styles[name]
                height = row + (len(models) - 1) * step / 2 - index * step
                axes.plot([found["low"], found["high"]], [height, height], color=look.color, linewidth=2.5, alpha=0.5)
                label = name if row == 0 else None
                axes.plot(found["mean"], height, look.marker, color=look.color, markersize=6, label=label)
        labels = [f"{part['label']}\n({part['num_users']:,} customers)" for part in reversed(parts)]
        axes.set_yticks(range(len(parts)), labels, fontsize=9)
        axes.set_ylim(-0.6, len(parts) - 0.4)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("Recall@20 with 95% interval")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    group = parts[0]["group"]
    first = models[0]
    ends = ", ".join(f"{part['label']}: {percent(part[_HEADLINE][first]['mean'])}" for part in parts)
    return to_svg(figure, title=f"Recall@20 by {group.lower()}", description=f"{first}: {ends}.")


def learning_curve(points: Sequence[tuple[int, float]], *, metric: str, validated: bool = True) -> Markup:
    """Draw a figure of the training against its steps: a metric of the validation window, or the loss."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    with drawing(2.6) as (figure, axes):
        marker = "o" if len(points) <= _MARKED_POINTS else ""
        axes.plot(steps, values, color="#D55E00" if validated else "#0072B2", marker=marker, markersize=4)
        axes.set_xlabel("training step")
        axes.set_ylabel(f"{metric} on the\nvalidation window" if validated else metric)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.ticklabel_format(style="plain", axis="x", useOffset=False)
    if not validated:
        text = f"The {metric} goes from {values[0]:.4g} at step {steps[0]:,} to {values[-1]:.4g} at step {steps[-1]:,}."
        return to_svg(figure, title=f"{_capital(metric)} by step", description=text)
    best = max(range(len(values)), key=values.__getitem__)
    text = f"{metric} is highest, {values[best]:.4g}, at step {steps[best]:,}."
    return to_svg(figure, title=f"{metric} on the validation window while training", description=text)


def _with_legend(height_inches: float, rows: Sequence[Row]) -> float:
    """Return a figure's height with a legend of two columns beneath it."""
    return height_inches + 0.1 + 0.19 * ((len(rows) + 1) // 2)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
