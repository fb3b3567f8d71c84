"""What a training left behind that a report shows: how it learned by step, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient

from features.files import read_json
from features.release import Part
from training.retrieval.fit import RESULT_FILE
from training.retrieval.module import METRIC

# Tracked names, the validated metric first; MLflow allows no @ in them.
CURVES: Final = (METRIC, "loss")
_MOST_POINTS: Final = 300


def learning_curves(client: MlflowClient, run_id: str) -> list[dict[str, Any]]:
    """Return the validation metric and the loss by step, as tracked while training.

    Returns:
        ``metric`` and ``points`` (``[step, value]``, steps rising) of each that has two points at least; of a long
        curve about every so many steps, its last point always.
    """
    curves = []
    for name in CURVES:
        history = client.get_metric_history(run_id, name)
        points = sorted({int(point.step): float(point.value) for point in history}.items())
        if len(points) > 1:
            curves.append({"metric": name.replace("_at_", "@"), "points": [list(point) for point in thinned(points)]})
    return curves


def thinned(points: Sequence[Any], most: int = _MOST_POINTS) -> list[Any]:
    """Return evenly chosen points, at most so many, the first and the last among them.

    >>> thinned(range(10), most=4)
    [0, 3, 6, 9]
    """
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def training_record(directory: Path, part: Part) -> dict[str, Any]:
    """Return what the scored model took.

    Args:
        directory: of the run in the store.
        part: the evaluated part.

    Returns:
        ``steps``, ``fit_wall_s``, ``fit_cpu_s``, ``tokens_per_second`` (``None`` where the run does not say) and
        ``part_bytes``.
    """
    result = read_json(directory / RESULT_FILE) if (directory / RESULT_FILE).is_file() else {}
    return {
        "steps": int(part.about.get("steps", 0)),
        "fit_wall_s": part.about.get("fit_wall_s"),
        "fit_cpu_s": part.about.get("fit_cpu_s"),
        "tokens_per_second": result.get("positions_per_second"),
        "part_bytes": sum((part.directory / name).stat().st_size for name in part.files),
    }
