"""Repeat purchases of CDNOW's customers: the published BG/NBD fit, and forecasts of the 39 weeks after it.

    python benchmarks/clv.py --data DIR --json OUT

DIR holds `cdnow_sample.parquet` (sample_id, date, units, dollars) and, where there is one, `cdnow_master.parquet`
(customer_id, ...). A purchase is a day with one; a customer begins with the first.

Protocol: first purchases January to March 1997, fitted to purchases up to 1997-09-30, compared with those up to
1998-06-30; week78 is repeats from the first purchase on, holdout those of the last 39 weeks, deviance is Poisson's, a
customer. Everything that is chosen or corrected is chosen and corrected by the second half of the time up to
1997-09-30, after a fit to the first. Intervals: 1,000 bootstrap samples of customers, of the forecasts as fitted
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features.customers.value.bg_nbd import BgNbd
from features.customers.value.correction import poisson_deviance
from features.customers.value.forecast import CANDIDATES, PurchaseForecast, Window
from features.customers.value.gamma_gamma import GammaGamma
from features.customers.value.histories import Floats, Histories

FIRST: Final = pd.Timestamp("1997-01-01")
FITTED: Final = pd.Timestamp("1997-09-30")
LAST: Final = pd.Timestamp("1998-06-30")
MIDDLE: Final = FIRST + (FITTED - FIRST) / 2
PUBLISHED: Final = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426, "week78": 4160, "holdout": 1653}
OURS: Final = "footfall"
SAMPLE: Final = "cdnow_sample"
SAMPLES: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Customers and their purchase days: columns customer, date, dollars."""

    name: str
    days: pd.DataFrame

    @classmethod
    def read(cls, path: Path, customer: str) -> Cohort:
        """Read a file whose customers are in the column ``customer``; a day's orders become one."""
        orders = pd.read_parquet(path).rename(columns={customer: "customer"})
        days = orders.groupby(["customer", "date"], as_index=False)["dollars"].sum()
        return cls(name=path.stem, days=days)

    @property
    def customers(self) -> pd.Index:
        """All, in the order of every array."""
        return pd.Index(self.days["customer"].unique())

    def histories(self, as_of: pd.Timestamp) -> Histories:
        """Return what was known at the end of a day."""
        known = self.days[self.days["date"] <= as_of].groupby("customer")["date"].agg(["size", "min", "max"])
        assert len(known) == len(self.customers), "all had bought by then"
        ago = {name: (as_of - known[name]).dt.days for name in ("min", "max")}
        return Histories.from_days(num_days=known["size"], first_days_ago=ago["min"], last_days_ago=ago["max"])

    def came(self, after: pd.Timestamp, until: pd.Timestamp) -> Floats:
        """Return days with a purchase after one day and up to another."""
        later = self.days[(self.days["date"] > after) & (self.days["date"] <= until)]
        return later.groupby("customer").size().reindex(self.customers, fill_value=0).to_numpy(np.float64)

    def window(self) -> Window:
        """Return the second half of the time that models are fitted to."""
        return Window(
            histories=self.histories(MIDDLE), came=self.came(MIDDLE, FITTED), days=float((FITTED - MIDDLE).days)
        )


def scores(cohort: Cohort, expected: Floats) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return the hold-out's measures and the bootstrap interval of the error of the count."""
    came = cohort.came(FITTED, LAST)
    picks = np.random.default_rng(0).integers(0, len(came), (SAMPLES, len(came)))
    ratios = expected[picks].sum(axis=1) / came[picks].sum(axis=1) - 1
    metrics = {
        "holdout": float(expected.sum()),
        "holdout_error": float(expected.sum() / came.sum() - 1),
        "deviance": poisson_deviance(came, expected) / len(came),
        "rmse": float(np.sqrt(np.square(came - expected).mean())),
    }
    return metrics, {"holdout_error": [float(level) for level in np.quantile(ratios, [0.025, 0.975])]}


def row(model: str, cohort: Cohort, fit: Callable[[], tuple[Floats, dict[str, float], str]]) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    expected, more, note = fit()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    metrics, interval = scores(cohort, expected)
    return {
        "model": model,
        "metrics": more | metrics,
        "interval": interval,
        "per_seed": {},
        "fit_cpu_s": round(cpu, 3),
        "fit_wall_s": round(wall, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "config": {"data": cohort.name, "customers": len(cohort.customers)},
        "note": note,
    }


def horizon() -> float:
    return float((LAST - FITTED).days)


def single(cohort: Cohort, name: str) -> tuple[Floats, dict[str, float], str]:
    now = cohort.histories(FITTED)
    model = CANDIDATES[name](now)
    to_the_end = now.age_weeks + horizon() / 7
    fitted = {key: value for key, value in vars(model).items() if isinstance(value, float)}
    more = fitted | {"week78": float(model.expected_repeats(to_the_end).sum())}
    return model.expected(now, days=horizon()), more, f"{name} as published; nothing chosen or corrected"


def corrected(cohort: Cohort) -> tuple[Floats, dict[str, float], str]:
    now = cohort.histories(FITTED)
    found = PurchaseForecast.fit(now, window=cohort.window())
    inside = ", ".join(f"{name} {value:.4f}" for name, value in found.deviances.items())
    note = (
        f"{found.model.name} by the deviance inside the time it was fitted to ({inside}); level x {found.level:.3f}, "
        f"{'shape corrected' if found.shape else 'no correction of shape helped'}"
    )
    return found.expected(now, days=horizon()), {"level": found.level}, note


def amounts(cohort: Cohort) -> dict[str, float]:
    """Return Gamma-Gamma's parameters of repeats up to 1997-09-30 (published: 6.25, 3.74, 15.44)."""
    known = cohort.days[cohort.days["date"] <= FITTED]
    repeats = known[known["date"] > known.groupby("customer")["date"].transform("min")]
    spent = repeats.groupby("customer")["dollars"].agg(["size", "mean"])
    found = GammaGamma.fit(spent["size"].to_numpy(np.float64), spent["mean"].to_numpy(np.float64))
    return {"p": found.p, "q": found.q, "gamma": found.gamma}


def results(cohort: Cohort) -> list[dict[str, Any]]:
    came = float(cohort.came(FITTED, LAST).sum())
    repeats = float(cohort.came(FIRST - pd.Timedelta(days=1), LAST).sum()) - len(cohort.customers)
    actual = {"week78": repeats, "holdout": came}
    rows = []
    for name in CANDIDATES:
        model = OURS if name == BgNbd(r=1, alpha=1, a=1, b=1).name else f"{OURS}, {name}"
        found = row(model, cohort, lambda name=name: single(cohort, name))
        found["metrics"]["week78_error"] = found["metrics"]["week78"] / repeats - 1
        rows.append(found)
    rows.append(row(f"{OURS}, chosen and corrected", cohort, lambda: corrected(cohort)))
    rows[0]["metrics"] |= amounts(cohort)
    others = [{"model": "what came", "metrics": actual, "note": "counted"}]
    if cohort.name == SAMPLE:
        others.append({"model": "published (Fader, Hardie, Lee 2005)", "metrics": PUBLISHED, "note": "BG/NBD"})
    empty = {"interval": {}, "per_seed": {}, "fit_cpu_s": 0.0, "fit_wall_s": 0.0, "peak_mb": 0.0}
    config = {"config": {"data": cohort.name, "customers": len(cohort.customers)}}
    return [*rows, *(empty | config | one for one in others)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    words = parser.parse_args()
    cohorts = [Cohort.read(words.data / f"{SAMPLE}.parquet", "sample_id")]
    master = words.data / "cdnow_master.parquet"
    if master.exists():
        cohorts.append(Cohort.read(master, "customer_id"))
    rows = [{"surface": cohort.name} | found for cohort in cohorts for found in results(cohort)]
    write_result(
        words.json,
        benchmark="clv",
        data="CDNOW: the 1/10 sample that papers fit, and all customers",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=[],
        results=rows,
    )
    print(json.dumps({f"{row['surface']}: {row['model']}": row["metrics"] for row in rows}, indent=2))


if __name__ == "__main__":
    main()
