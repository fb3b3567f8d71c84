"""How often intervals of a campaign's effect hold the truth, over worlds whose effect is planted.

    python -m benchmarks.campaign_effects --json OUT [--worlds 1000]

Each world draws customers (regions) anew; an oracle that knows each unit's usual level and what moved all of them has the
shortest honest interval, and widths are stated over its width.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.result import write_result
from features.insight.campaigns.before_after import before_after
from features.insight.campaigns.contrasts import contrast
from features.insight.campaigns.differences import difference_in_differences
from features.insight.campaigns.outcomes import Panel
from features.insight.campaigns.returns import holdout_return
from features.insight.campaigns.synthetic import synthetic_control
from features.insight.campaigns.windows import Windows

EFFECT: Final = 0.2  # of the usual level
DAYS: Final = 14
Drawn = tuple[bool, float, float, float]  # holds, width, oracle's width, estimate less truth
Floats = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=1000)
    words = parser.parse_args()
    worlds: dict[str, Callable[[np.random.Generator], Drawn]] = {
        "held out at random, past taken off": holdout,
        "difference in differences": differences,
        "difference in differences, 40 clusters": clustered,
        "difference in differences, trends apart": drifting,
        "before and after, season apart": change,
        "synthetic control, 24 regions": region,
    }
    rows = [row(name, world, words.worlds) for name, world in worlds.items()]
    write_result(
        words.json,
        benchmark="campaign_effects",
        data="worlds drawn from their seeds: customers of gamma levels, 8 weeks before and 14 days of a campaign; "
        "24 regions of many sizes that move with three common causes, 16 weeks before and one of a campaign",
        protocol=f"95% intervals of a planted effect of {EFFECT:.0%}; coverage with its standard error; width over the "
        "oracle's, median; the worlds 'apart' break what the method assumes, and show what then comes of it",
        seeds=list(range(words.worlds)),
        results=rows,
    )


def row(name: str, world: Callable[[np.random.Generator], Drawn], number: int) -> dict[str, Any]:
    start = time.process_time()
    drawn = np.array([world(np.random.default_rng(seed)) for seed in range(number)], float)
    holds = float(drawn[:, 0].mean())
    metrics = {
        "coverage": holds,
        "width_over_oracle": float(np.median(drawn[:, 1] / drawn[:, 2])),
        "bias": float(drawn[:, 3].mean()),
        "rmse": float(np.sqrt((drawn[:, 3] ** 2).mean())),
    }
    se = float(np.sqrt(holds * (1 - holds) / number))
    print(name, metrics)
    return {
        "model": "footfall", "metrics": metrics, "interval": {"coverage": [holds - 1.96 * se, holds + 1.96 * se]},
        "fit_cpu_s": time.process_time() - start, "config": {"world": name, "worlds": number},
    }  # fmt: skip


def holdout(rng: np.random.Generator) -> Drawn:
    level, rates = _customers(rng, 600)
    treated = rng.random(600) < 0.5
    truth = _plant(rates, treated)
    found = holdout_return(_panel(rates), treated)
    scale = treated.sum() * DAYS
    oracle = contrast(rates[:, -1] - level, treated).interval(0.95)
    return _drawn(found.revenue / scale, found.low / scale, found.high / scale, truth, oracle[1] - oracle[0])


def differences(rng: np.random.Generator) -> Drawn:
    level, rates = _customers(rng, 600)
    treated = rng.random(600) < 0.3 + 0.4 * (level > np.median(level))  # high spenders are written to
    truth = _plant(rates, treated)
    return _judged(rates, treated, level, truth)


def clustered(rng: np.random.Generator) -> Drawn:
    level, rates = _customers(rng, 600)
    store = rng.integers(40, size=600)
    shared = rng.normal(size=(40, rates.shape[1]))[store] * 0.5
    treated = store < 16
    rates += shared
    truth = _plant(rates, treated)
    found = difference_in_differences(_panel(rates), treated, cluster=store)
    oracle = contrast(rates[:, -1] - level, treated, store).interval(0.95)
    return _drawn(found.effect, found.low, found.high, truth, oracle[1] - oracle[0])


def drifting(rng: np.random.Generator) -> Drawn:
    level, rates = _customers(rng, 600)
    treated = rng.random(600) < 0.5
    rates += np.outer(treated, np.arange(rates.shape[1]) * 0.05)
    truth = _plant(rates, treated)
    return _judged(rates, treated, level, truth)


def change(rng: np.random.Generator) -> Drawn:
    level, rates = _customers(rng, 600)
    rates[:, -1] += 0.3  # a feast day in the campaign's days, for everybody
    reached = rng.random(600) < 0.5
    truth = _plant(rates, reached)
    found = before_after(_panel(rates), reached)
    own = (rates[:, -1] - level)[reached]
    width = 2 * 1.96 * own.std(ddof=1) / np.sqrt(reached.sum())
    return _drawn(found.difference, found.low, found.high, truth, width)


def region(rng: np.random.Generator) -> Drawn:
    num_regions, num_weeks = 25, 17
    causes = np.zeros((3, num_weeks))
    for week in range(num_weeks):
        causes[:, week] = 0.6 * causes[:, max(week - 1, 0)] + rng.normal(size=3)
    likes, noise = rng.gamma(4, 0.25, (num_regions, 3)), rng.normal(size=(num_regions, num_weeks)) * 4
    rates = np.exp(rng.normal(size=(num_regions, 1)) * 0.5) * (100 + 6 * likes @ causes + noise)
    rates[0, -1] *= 1 + EFFECT
    windows = Windows.around(dt.date(2024, 6, 3), days=7, days_before=7 * (num_weeks - 1))
    units = pd.Index([f"r{number:02d}" for number in range(num_regions)])
    found = synthetic_control(Panel(units=units, periods=windows.periods, rates=rates), "r00")
    oracle = 2 * 1.96 * 0.04 * (1 + EFFECT)  # the region's own noise alone, its causes known
    return _drawn(found.lift, found.low, found.high, EFFECT, oracle)


def _customers(rng: np.random.Generator, number: int) -> tuple[Floats, Floats]:
    """Return each customer's usual rate, ``[U]``, and rates in 8 weeks before and the campaign, ``[U, 9]``.

    What a customer spends in a period is a gamma-distributed sum about the level, steadier over more days; all move
    with the season, high spenders and low ones alike.
    """
    level = rng.gamma(2, 1, number)
    days = np.array([7.0] * 8 + [DAYS])
    season = 0.1 * rng.normal(size=9)
    rates = rng.gamma(days / 3.5, 3.5 / days, (number, 9)) * level[:, None] + season
    return level, rates


def _plant(rates: Floats, treated: Floats) -> float:
    """Add the effect, the same for each treated customer; return it."""
    added = EFFECT * 2.0
    rates[treated, -1] += added
    return added


def _judged(rates: Floats, treated: Floats, level: Floats, truth: float) -> Drawn:
    found = difference_in_differences(_panel(rates), treated)
    oracle = contrast(rates[:, -1] - level, treated).interval(0.95)
    return _drawn(found.effect, found.low, found.high, truth, oracle[1] - oracle[0])


def _panel(rates: Floats) -> Panel:
    windows = Windows.around(dt.date(2024, 6, 3), days=DAYS, days_before=7 * (rates.shape[1] - 1))
    return Panel(units=pd.RangeIndex(len(rates)), periods=windows.periods, rates=rates)


def _drawn(value: float, low: float, high: float, truth: float, oracle: float) -> Drawn:
    return low <= truth <= high, high - low, oracle, value - truth


if __name__ == "__main__":
    main()
