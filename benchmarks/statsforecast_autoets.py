"""AutoETS forecasts of many series from several origins.

Run by ``demand.py`` in an environment of its own (``requirements-statsforecast.txt``): it imports nothing of Footfall.

    python statsforecast_autoets.py SERIES OUT --horizon 14 --season 7 --origins 308 322

SERIES is a Parquet file with ``unique_id, ds, y``, ``ds`` counting periods from 0; those before an origin are read for it.
Writes ``OUT`` with ``origin, unique_id, ds, mean, q0.1 ... q0.9``, and prints the CPU-seconds used.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, HistoricAverage

MODEL = "ZNZ"  # error and season are chosen, a trend is not: over short series it runs away
LEVELS = (20, 40, 60, 80)  # of two-sided intervals: 80 has .1 and .9 at its ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--horizon", type=int, required=True)
    parser.add_argument("--season", type=int, required=True)
    parser.add_argument("--origins", type=int, nargs="+", required=True)
    words = parser.parse_args()
    warnings.filterwarnings("ignore")
    series = pd.read_parquet(words.series)
    found = [forecast(series[series["ds"] < origin], origin, words) for origin in words.origins]
    pd.concat(found).to_parquet(words.out, index=False)
    print(f"{time.process_time():.1f}")


def forecast(past: pd.DataFrame, origin: int, words: argparse.Namespace) -> pd.DataFrame:
    """Return the forecasts after ``past``; a series too short for any ETS model gets its average."""
    models = [AutoETS(season_length=words.season, model=MODEL, alias="ets")]
    library = StatsForecast(models=models, freq=1, n_jobs=1, fallback_model=HistoricAverage(alias="ets"))
    found = library.forecast(df=past, h=words.horizon, level=list(LEVELS))
    columns = {"origin": origin, "unique_id": found["unique_id"], "ds": found["ds"], "mean": found["ets"]}
    columns |= {f"q{(50 - level / 2) / 100:.1f}": found[f"ets-lo-{level}"] for level in reversed(LEVELS)}
    columns |= {"q0.5": found["ets"]}
    columns |= {f"q{(50 + level / 2) / 100:.1f}": found[f"ets-hi-{level}"] for level in LEVELS}
    return pd.DataFrame(columns)


if __name__ == "__main__":
    main()
