"""What a backtest says as tables: in all, window by window, by class of demand, step by step, and as curves.

Everything here is plain numbers, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from training.demand.backtesting.backtest import Backtest, season_periods
from training.demand.backtesting.classes import CLASSES, demand_classes
from training.demand.backtesting.misses import biggest_misses
from training.demand.backtesting.scores import RESAMPLES, Scores, differences, intervals
from training.demand.inputs.panel_inputs import PanelInputs
from training.evaluation.bootstrap import Interval

Floats = npt.NDArray[np.floating]

PIT_BINS: Final = 10
STEP_METRICS: Final = ("wql", "wape", "bias", "pit80")


def scores_of(found: Backtest, inputs: PanelInputs) -> Scores:
    """Return a backtest's scores; what was known before its first origin gives the scales."""
    return Scores.of(found, _past(found, inputs), season=season_periods(inputs))


def summary(found: Backtest, inputs: PanelInputs) -> dict[str, float]:
    """Return the headline metrics of a backtest over all its windows."""
    return scores_of(found, inputs).values()


def wql_intervals(
    found: Mapping[str, Backtest], inputs: PanelInputs, *, against: str, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return each forecaster's WQL, and its WQL less that of ``against``, with intervals over series.

    One draw of series serves all forecasters, so differences are paired.
    """
    scores = {name: scores_of(one, inputs) for name, one in found.items()}
    draws = {"resamples": resamples, "seed": seed}
    alone = {name: intervals(one, **draws)["wql"] for name, one in scores.items()}
    less = {name: differences(one, scores[against], **draws)["wql"] for name, one in scores.items() if name != against}
    return alone, less


def tables(found: Backtest, inputs: PanelInputs) -> dict[str, Any]:
    """Return one forecaster's tables: ``per_window``, ``per_class``, ``per_step``, ``pit`` and ``service_curve``."""
    return {
        "per_window": per_window(found, inputs),
        "per_class": per_class(found, inputs),
        "per_step": per_step(found, inputs),
        "pit": pit_histogram(found),
        "service_curve": service_curve(found),
    }


def report_of(
    found: Mapping[str, Backtest], inputs: PanelInputs, *, ours: str, gate: str, seed: int = 0
) -> dict[str, Any]:
    """Return what a training reports of its test windows, all forecasters side by side.

    Args:
        found: backtests of the same windows, by forecaster.
        inputs: the panel.
        ours: whose tables and differences are shown.
        gate: the baseline that a model has to pass.
        seed: of the draws of series.

    Returns:
        ``origins, models, resamples, wql_interval, wql_less_gate``; ``less``: ours less each other by metric, as
        ``[mean, low, high]``; ``tables`` by forecaster; ``pit``: ours in ten bins; ``misses``: where ours was furthest off.

    Raises:
        DataError: nothing sold in the windows, so that nothing can be said per unit.
    """
    if not np.nansum(found[ours].actual) > 0:
        raise DataError(
            f"Backtest: expected sales in the windows from period {found[ours].origins[0]} on, found none; "
            "bring a log that goes on to sell, or keep no test windows (--model.test_windows 0)."
        )
    scores = {name: scores_of(one, inputs) for name, one in found.items()}
    alone, less = wql_intervals(found, inputs, against=gate, seed=seed)
    others = {name: differences(scores[ours], theirs, seed=seed) for name, theirs in scores.items() if name != ours}
    return {
        "origins": list(found[ours].origins),
        "models": {name: one.values() for name, one in scores.items()},
        "resamples": RESAMPLES,
        "wql_interval": {name: [one.low, one.high] for name, one in alone.items()},
        "wql_less_gate": {name: [one.mean, one.low, one.high] for name, one in less.items()},
        "less": {
            name: {metric: [one.mean, one.low, one.high] for metric, one in by_metric.items()}
            for name, by_metric in others.items()
        },
        "tables": {name: tables(one, inputs) for name, one in found.items()},
        "pit": pit_histogram(found[ours]),
        "misses": biggest_misses(found[ours]),
    }


def per_window(found: Backtest, inputs: PanelInputs) -> list[dict[str, Any]]:
    """Return the metrics of each window; scales are those of the whole backtest."""
    past, season = _past(found, inputs), season_periods(inputs)
    return [
        {"origin": int(origin), **Scores.of(found.window(number), past, season=season).values()}
        for number, origin in enumerate(found.origins)
    ]


def per_class(found: Backtest, inputs: PanelInputs) -> dict[str, dict[str, Any]]:
    """Return the metrics of each class of demand; nothing after the first origin decides on a series' class."""
    return class_tables(scores_of(found, inputs), classes_of(found, inputs))


def class_tables(scores: Scores, classes: npt.NDArray[np.str_]) -> dict[str, dict[str, Any]]:
    """Return the metrics of each class that has a series, with its ``num_series``; ``classes`` is ``[I]``."""
    return {
        name: {"num_series": int((classes == name).sum()), **scores.rows(classes == name).values()}
        for name in CLASSES
        if (classes == name).any()
    }


def classes_of(found: Backtest, inputs: PanelInputs) -> npt.NDArray[np.str_]:
    """Return each series' class of demand, ``[I]``, by what was known before the first origin."""
    return demand_classes(_past(found, inputs))


def per_step(found: Backtest, inputs: PanelInputs) -> dict[str, list[float | None]]:
    """Return WQL, WAPE, bias and PIT of the first, second ... period of the windows."""
    past, season = _past(found, inputs), season_periods(inputs)
    values = [Scores.of(found.step(step), past, season=season).values() for step in range(found.actual.shape[2])]
    return {name: [one.get(name) for one in values] for name in STEP_METRICS}


def pit_histogram(found: Backtest, bins: int = PIT_BINS) -> list[float]:
    """Return the expected share of randomised PIT values in each of ``bins`` equal parts of [0, 1]; none where nothing is known."""
    if not found.pit.known.any():
        return []
    below = [np.nanmean(found.pit.share_below(edge / bins)) for edge in range(1, bins)]
    return np.diff([0.0, *below, 1.0]).tolist()


def service_curve(found: Backtest) -> list[dict[str, float]]:
    """Return, level by level, the share of lead times that the reorder points covered and the mean units they hold."""
    known = np.isfinite(found.lead_total)
    if not known.any():
        return []
    total, points = found.lead_total[known], found.reorder_points[known]  # [N], [N, L]
    return [
        {"level": float(level), "service": float((total <= held).mean()), "stock": float(held.mean())}
        for level, held in zip(found.levels, points.T, strict=True)
    ]


def _past(found: Backtest, inputs: PanelInputs) -> Floats:
    return inputs.units[:, : found.origins[0]].numpy()
