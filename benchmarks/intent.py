"""Purchase intent: how well the chance that a visit ends in a purchase orders visits, and whether it holds.

    python benchmarks/intent.py --json OUT [--data DIR]

Protocol: visits are cut by pauses of 30 minutes; the first 60% of them fit, the next 20% choose and fit the calibration, the
last 20% are scored, at their events (the k-th of a visit drawn with a chance of 1/k). came: share of moments that a purchase
follows in the visit; auc_before_checkout: moments before any checkout and purchase; ece: 10 bins of equally many moments;
ece_by_luck: what chances that hold exactly would show; share_auc, share_log_loss: what is gained over a coin, or over the
rate, as a share of what the oracle gains, which knows tastes, shelves and habits. Intervals are 95%, of customers. Simple
scores are made chances by isotonic regression on the visits before; the trees learn from the same facts of all of those.
lookup rows: what an answer's purchase intent takes of a customer with so many stored events. Online shop: 32,283 page events
without item ids; catalogue and main page are sections, the two product pages views, delivery and payment pages checkouts,
payment_done a purchase
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features import columns as c
from features.chances import scores
from features.chances.calibration import Calibration
from features.chances.scores import Area
from features.columns import EVENT_TYPES
from features.contract.data_directory import write_data_directory
from features.event_log import EventLog
from features.intent.fit import PurchaseIntent, baselines, intent_of, latest, tested_model
from features.intent.moments import Moments, read_moments
from features.intent.visit import KNOWN
from features.intent.words import reasons
from features.rules.live import LiveEvent
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic.frames import contract_tables
from features.sources.synthetic.settings import SHOP, Size
from features.sources.synthetic.visit_chances import VisitTruth, run_with_visits
from features.sources.synthetic.world import draw_world
from features.tables.visits import VISIT_EVENTS
from serving.customers.live_intent import followed

Floats = npt.NDArray[np.floating]

GAP: Final = 30
SEEDS: Final = (1, 2, 3)
SIZE: Final = {"num_users": 2_000, "num_items": 300, "num_days": 150}
ENGINE: Final = EngineSettings(memory_limit="2GB", threads=1)
TREES: Final = f"scikit-learn {sklearn.__version__} boosted trees"
_LEAST: Final = 1e-4
# Pages of the online shop as events of the contract: type, item, section.
PAGES: Final = {
    "main": ("view_section", None, "main"),
    "catalog": ("view_section", None, "catalog"),
    "product1": ("view", "product1", None),
    "product2": ("view", "product2", None),
    "cart": ("cart", "basket", None),
    "payment_done": ("purchase", "basket", None),
}


def logged(work: Path, tables: dict[str, Any], shop: ShopSettings) -> tuple[EventLog, Path]:
    write_data_directory(work / "data", tables, shop=shop, source="benchmark", engine=ENGINE)
    return EventLog.build(
        work / "data", work / "log.parquet", shop=shop, engine=ENGINE
    ), work / "data" / "items.parquet"


def online_shop(path: Path, work: Path) -> tuple[EventLog, Path]:
    """Import the page events of the web shop."""
    pages = duckdb.sql(f"SELECT user_id::VARCHAR AS user_id, event, timestamp AS ts FROM '{path}' ORDER BY ts").df()
    mapped = [PAGES.get(page, (c.CHECKOUT, None, None)) for page in pages["event"]]
    pages["event_type"], pages["item_id"], pages["section"] = zip(*mapped, strict=True)
    pages["ts"] = pages["ts"].dt.tz_localize("UTC")
    items = duckdb.sql("SELECT unnest(['product1', 'product2', 'basket']) AS item_id").df()
    return logged(work, {"events": pages.drop(columns="event"), "items": items}, ShopSettings(name="Online shop"))


def synthetic(
    seed: int, work: Path
) -> tuple[tuple[EventLog, Path], dict[str, npt.NDArray[Any]], dict[int, VisitTruth]]:
    world = draw_world(Size(seed=seed, **SIZE))
    history, truth = run_with_visits(world)
    tables = contract_tables(world, history)
    kept = {name: tables[name] for name in ("events", "items", "users", "consents")}
    return logged(work, kept, SHOP), history.events, truth


def oracle_chances(
    log: EventLog, moments: Moments, events: dict[str, npt.NDArray[Any]], truth: dict[int, VisitTruth]
) -> Floats:
    """Return what somebody who knew the shop's truth would say at each moment, NaN where its visit is not one session."""
    users = sorted({*log.to_pandas([c.USER_ID, c.EVENT_TYPE], purpose=c.PERSONALISATION)
                    .query("event_type in @VISIT_EVENTS")[c.USER_ID]})  # fmt: skip
    frame = log.to_pandas([c.USER_ID, c.TS, c.SESSION_ID, c.EVENT_TYPE])
    frame = frame[frame[c.EVENT_TYPE].isin(VISIT_EVENTS)]
    at = frame[c.TS].astype("int64") // (1000 if "ns" in str(frame[c.TS].dtype) else 1)
    session = dict(zip(zip(frame[c.USER_ID], at, strict=True), frame[c.SESSION_ID].str[1:].astype(int), strict=True))
    told = defaultdict(list)
    for number, ts, kind, item in zip(
        *(events[name].tolist() for name in ("session", "ts", "event_type", "item")), strict=True
    ):
        told[number].append((ts, EVENT_TYPES[kind - 1], item))
    now = moments.start_us + np.round(moments.known[:, KNOWN.index("seconds")] * 1e6).astype(np.int64)
    found = np.full(len(moments), np.nan)
    for row, (customer, start_us, now_us) in enumerate(zip(moments.customer, moments.start_us, now, strict=True)):
        number = session[users[customer], start_us]
        if session.get((users[customer], now_us)) == number:
            found[row] = truth[number].chance([one for one in told[number] if one[0] <= now_us], int(now_us))
    return found


def trees(earlier: Moments, test: Moments) -> Floats:
    """Return what boosted trees say of the test, from the same facts of all visits before it."""
    settings = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50, "random_state": 0}
    fitted = HistGradientBoostingClassifier(**settings).fit(earlier.known, earlier.came)
    return fitted.predict_proba(test.known)[:, 1]


def figures(chance: Floats, came: npt.NDArray[np.bool_], before: npt.NDArray[np.bool_]) -> dict[str, float]:
    safe = np.clip(chance, _LEAST, 1 - _LEAST)
    return {
        "came": float(came.mean()),
        "auc": Area.of(chance, came).auc,
        "auc_before_checkout": Area.of(chance[before], came[before]).auc,
        "log_loss": scores.log_loss(safe, came),
        "ece": scores.calibration_error(chance, came),
        "ece_by_luck": scores.calibration_error_by_luck(chance),
    }


def scored(moments: Moments, oracle: Floats | None = None) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Return figures by model, and what else our own row says."""
    model = tested_model(moments, gap_minutes=GAP)
    assert model is not None
    chosen = np.isin(moments.visit, latest(moments).visit)
    keep = chosen & moments.at_event & (np.ones(len(moments), bool) if oracle is None else np.isfinite(oracle))
    test, earlier = moments.where(keep), moments.where(~chosen & moments.at_event)
    before = (test.known[:, [KNOWN.index(name) for name in (c.CHECKOUT, c.PURCHASE)]] == 0).all(axis=1)
    chances = {"footfall": model.chance(test.known)}
    if oracle is not None:
        chances["oracle"] = oracle[keep]
    chances[TREES] = trees(moments.where(~chosen), test)
    for (name, score), past in zip(baselines(test.known).items(), baselines(earlier.known).values(), strict=True):
        chances[name] = Calibration.fit("isotonic", past, earlier.came).of(score)
    areas = {name: Area.of(chance, test.came) for name, chance in chances.items()}
    more = {
        "differences": {name: areas["footfall"].less(area, test.customer) for name, area in areas.items()},
        "width": areas["footfall"].half_width(test.customer),
        "reliability": scores.reliability(chances["footfall"], test.came),
        "config": {
            "calibration": model.calibration.method,
            "visits": moments.num_visits,
            "with a purchase": moments.num_bought,
            "moments scored": len(test),
            "variables": len(model.logit.names),
            "products": int(np.count_nonzero(model.logit.square)),
        },
    }
    found = {name: figures(chance, test.came, before) for name, chance in chances.items()}
    rate = scores.log_loss(np.full(len(test), test.came.mean()), test.came)
    for name in found if oracle is not None else ():
        best = found["oracle"]
        found[name]["share_auc"] = (found[name]["auc"] - 0.5) / (best["auc"] - 0.5)
        found[name]["share_log_loss"] = (rate - found[name]["log_loss"]) / (rate - best["log_loss"])
    return found, more


def rows(
    shop: str, runs: list[tuple[dict[str, dict[str, float]], dict[str, Any]]], cost: tuple[float, float]
) -> list[Any]:
    """Return one row a model: means over runs, and each run's figures where there are several."""
    listed = []
    for name in runs[0][0]:
        each = [found[name] for found, _ in runs]
        metrics = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
        gaps = [more["differences"][name] for _, more in runs]
        note = "" if name == "footfall" else "auc, ours less this: " + "; ".join(
            f"{gap:+.4f} ({gap - width:+.4f}, {gap + width:+.4f})" for gap, width in gaps
        )  # fmt: skip
        row = {
            "model": f"{name}, {shop}",
            "surface": shop,  # a table of its own
            "metrics": metrics,
            "interval": {},
            "per_seed": {key: [one[key] for one in each] for key in each[0]} if len(each) > 1 else {},
            "fit_cpu_s": cost[0] if name == "footfall" else None,
            "fit_wall_s": cost[1] if name == "footfall" else None,
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "config": runs[0][1]["config"] if name == "footfall" else {},
            "note": note,
        }
        if name == "footfall":
            area, width = metrics["auc"], runs[0][1]["width"]
            row["interval"] = {"auc": [area - width, area + width]} if len(runs) == 1 else {}
            row["calibration"] = runs[0][1]["reliability"]
            row["note"] = ", ".join(f"{key} {value}" for key, value in row["config"].items())
        listed.append(row)
    return listed


def timed(log: EventLog, items: Path) -> tuple[Moments, PurchaseIntent, tuple[float, float]]:
    cpu, wall = time.process_time(), time.perf_counter()
    moments = read_moments(log, items, gap_minutes=GAP, engine=ENGINE)
    intent = intent_of(moments, gap_minutes=GAP, as_of=log.last_at)
    return moments, intent, (round(time.process_time() - cpu, 2), round(time.perf_counter() - wall, 2))


def lookups(log: EventLog, intent: PurchaseIntent) -> list[dict[str, Any]]:
    """Time one answer's purchase intent, all of it: the events are at hand already, as other parts of the answer need them."""
    assert intent.model is not None
    frame = log.to_pandas([c.USER_ID, c.TS, c.EVENT_TYPE, c.ITEM_ID, c.LOCAL_DAY], purpose=c.PERSONALISATION)
    at = frame[c.TS].astype("int64") // (1000 if "ns" in str(frame[c.TS].dtype) else 1)
    every = [
        LiveEvent(event_type=kind, at_us=at_us, local_day=day, fields={c.ITEM_ID: item})
        for kind, at_us, day, item in zip(
            frame[c.EVENT_TYPE][:2_000], at[:2_000], frame[c.LOCAL_DAY][:2_000], frame[c.ITEM_ID][:2_000], strict=True
        )
    ]
    found = []
    for size in (20, 200, 1_000):
        events, times = sorted(every, key=lambda one: one.at_us)[:size], []
        for _ in range(300):
            started = time.thread_time()
            visitor = followed(events, GAP * 60_000_000)
            reasons(intent.model, visitor.known(visitor.last_us, hour=10, weekday=1))
            times.append(1e6 * (time.thread_time() - started))
        median, high = (float(np.percentile(times, level)) for level in (50, 99))
        blank = {"interval": {}, "per_seed": {}, "fit_cpu_s": None, "fit_wall_s": None, "peak_mb": None, "config": {}}
        metrics = {"lookup_us": round(median, 1), "lookup_us_p99": round(high, 1)}
        found.append(
            {
                "model": f"lookup, {size} events",
                "surface": "lookup",
                "metrics": metrics,
                "note": "CPU time; median and 99th of 300",
                **blank,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of simple_onlineshop.parquet; left out of the rows if absent")
    words = parser.parse_args()
    listed, runs, costs = [], [], []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as scratch:
            (log, items), events, truth = synthetic(seed, Path(scratch))
            moments, intent, cost = timed(log, items)
            runs.append(scored(moments, oracle_chances(log, moments, events, truth)))
            costs.append(cost)
            if seed == SEEDS[-1]:
                listed = lookups(log, intent)
    listed = rows("synthetic shop", runs, tuple(np.mean(costs, axis=0).tolist())) + listed
    source = None if words.data is None else words.data / "simple_onlineshop.parquet"
    if source is not None and source.exists():
        with tempfile.TemporaryDirectory() as scratch:
            moments, intent, cost = timed(*online_shop(source, Path(scratch)))
            listed = rows("online shop", [scored(moments)], cost) + listed
    write_result(
        words.json,
        benchmark="purchase intent",
        data="online shop page events; synthetic shops, version 1, "
        + ", ".join(f"{value} {name[4:]}" for name, value in SIZE.items()),
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=list(SEEDS),
        results=listed,
    )
    print(json.dumps({row["model"]: row["metrics"] | {"note": row["note"]} for row in listed}, indent=2))


if __name__ == "__main__":
    main()
