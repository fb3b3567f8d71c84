"""AutoETS of the package statsforecast as a forecaster: asked once for all origins, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pandas as pd

from features.release.layout import QUANTILES, quantile_column
from training.demand.baselines.simple import NormalTotals
from training.demand.forecast import Forecast

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = HERE / "requirements-statsforecast.txt"
SCRIPT: Final = HERE / "statsforecast_autoets.py"
_LONGEST_SEASON: Final = 24  # ETS estimates a state a phase; the package ignores longer seasons
# An environment of our own cannot serve another interpreter's packages.
_FOREIGN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class AutoEts:
    """AutoETS at some origins, with its own intervals; below 0 they are 0.

    It forecasts single periods: totals are normal, with the spread between its first and last level of independent
    periods.
    """

    def __init__(self, frame: pd.DataFrame, *, num_items: int, horizon: int) -> None:
        columns = ["mean", *(quantile_column(level) for level in QUANTILES)]
        self._answers = {}
        for origin, rows in frame.groupby("origin"):
            answer = np.zeros((num_items, horizon, len(columns)), np.float32)  # what was never seen sells nothing
            answer[rows["unique_id"], _steps(rows)] = rows[columns].to_numpy()
            self._answers[int(origin)] = np.maximum(answer, 0)

    def __call__(self, origin: int) -> Forecast:
        """Return the forecast from one of the origins."""
        answer = self._answers[origin]
        mean, quantiles = answer[..., 0], np.sort(answer[..., 1:], axis=2)
        scale = (quantiles[..., -1] - quantiles[..., 0]) / (2 * NormalDist().inv_cdf(QUANTILES[-1]))
        return Forecast(mean=mean, quantiles=quantiles, totals=NormalTotals(mean=mean, scale=scale))


def _steps(rows: pd.DataFrame) -> Any:
    """Each series' forecasts in order: one that stopped early is forecast from its own end, and read as from the origin."""
    return rows.groupby("unique_id").cumcount()


def fit_autoets(
    units: Any, origins: Sequence[int], *, horizon: int, season: int, python: Path
) -> tuple[AutoEts, float]:
    """Return the forecaster and the CPU-seconds it took.

    Args:
        units: ``[I, T]``; an unknown period repeats the last known one, as ETS wants no hole.
        origins: that will be asked for.
        horizon: H.
        season: periods; 1 for none.
        python: interpreter of the environment.
    """
    filled = pd.DataFrame(np.asarray(units)).ffill(axis=1).to_numpy()
    item, period = np.nonzero(np.isfinite(filled))
    with tempfile.TemporaryDirectory() as name:
        series, out = Path(name) / "series.parquet", Path(name) / "out.parquet"
        pd.DataFrame({"unique_id": item, "ds": period, "y": filled[item, period]}).to_parquet(series, index=False)
        command = [python, SCRIPT, series, out, "--horizon", horizon]
        command += ["--season", season if season <= _LONGEST_SEASON else 1, "--origins", *origins]
        ran = subprocess.run(list(map(str, command)), check=True, env=_environment(), stdout=subprocess.PIPE, text=True)
        frame = pd.read_parquet(out)
    return AutoEts(frame, num_items=len(filled), horizon=horizon), float(ran.stdout.split()[-1])


def environment(directory: Path) -> Path:
    """Return the interpreter of the environment in ``directory``, which is made where it is missing."""
    python, filled = directory / "bin" / "python", directory / "requirements.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not filled.exists() or filled.read_text(encoding="utf-8") != wanted:
        print(f"Setting up {directory}: about 600 MB of packages", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, env=_environment())
        install = [str(python), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)]
        subprocess.run(install, check=True, env=_environment())
        filled.write_text(wanted, encoding="utf-8")
    return python


def _environment() -> dict[str, str]:
    """One thread, and nothing of the environment that runs us."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN} | threads
