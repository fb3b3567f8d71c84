"""The surfaces beside for_you: what is planted in the synthetic shop, and what stands in later baskets of a grocer.

    python benchmarks/surfaces.py synthetic --users 5000 --items 1000 --days 180 --shop-seed 0 --work DIR --json OUT
    python benchmarks/surfaces.py complete-journey --work DIR --json OUT

Stages that DIR holds already are not run again. Surfaces that need a two-tower (upgrade, new arrivals) use the last
trained part under DIR/store, from before its validation window, and one is trained where there is none.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.shop import describe, write_data
from benchmarks.surface_baskets import ENGINE, held_out_rows, planted_rows
from features.build import FeatureSet, build_features
from features.columns import EVENT_TYPE_CODES, PURCHASE
from features.release import Part, ReleaseStore, layout
from features.repeats.repurchase import RepurchaseModel
from features.sources.synthetic.oracle import oracle_scores
from features.sources.synthetic.truth import Truth, rows_of
from features.surfaces import DAY_US, SurfaceItems
from training.evaluation.bootstrap import intervals, resampled_means
from training.retrieval.config import RetrievalConfig
from training.retrieval.fit import train_retrieval
from training.retrieval.recommender import TwoTowerRecommender

K: Final = 10
WINDOW_DAYS: Final = 28
DISCOUNT: Final = 1 / np.log2(np.arange(2, K + 2))

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=["complete-journey", "synthetic"])
    parser.add_argument("--work", type=Path, required=True, help="directory for data, features and runs")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the model, of ties and of resamples")
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--shop-seed", type=int, default=0, help="of the simulated shop")
    arguments = parser.parse_args()
    work: Path = arguments.work
    if not (work / "data").exists():
        write_data(arguments)
    if not (work / "features").exists():
        build_features(work / "data", work / "features", engine=ENGINE)
    features = FeatureSet.load(work / "features")
    if arguments.source == "complete-journey":
        rows = held_out_rows(features, test_days=WINDOW_DAYS, seed=arguments.seed)
        protocol = "Learned before the last 28 days; asked about one item of one later basket of each customer"
    else:
        rows = synthetic_rows(features, work, seed=arguments.seed)
        protocol = (
            "Against the planted truth. bought_together, upgrade: all data or the part's; buy_it_again: learned before "
            "the last 28 days; new_arrivals, trending: as of the part's cut-off, asked about the 28 days after it"
        )
    write_result(
        arguments.json,
        benchmark="surfaces",
        data=describe(arguments),
        protocol=protocol,
        seeds=[arguments.seed],
        results=[row | {"surface": row["note"].partition(":")[0]} for row in rows],
    )


def synthetic_rows(features: FeatureSet, work: Path, *, seed: int) -> list[dict[str, Any]]:
    part, truth = trained_part(features, work, seed=seed), Truth.load(work / "data" / "truth")
    rows = [
        *planted_rows(features, work / "data" / "truth", seed=seed),
        *upgrade_rows(features, part, truth, seed=seed),
        *again_rows(features, truth, seed=seed),
        *new_arrival_rows(features, part, seed=seed),
        *trending_rows(features, part, seed=seed),
    ]
    ours = [row for row in rows if row["model"] == "footfall"]
    return [row | {"config": part.about["config"]} if row in ours else row for row in rows]


def trained_part(features: FeatureSet, work: Path, *, seed: int) -> Part:
    """Return the part that learned before its validation window; ``refit=False`` writes it to the store's parts."""
    part = ReleaseStore(root=work / "store").latest_part("retrieval")
    if part is None:
        train_retrieval(features.directory, work / "store", RetrievalConfig(seed=seed, refit=False))
        part = ReleaseStore(root=work / "store").latest_part("retrieval")
    assert part is not None
    return part


def upgrade_rows(features: FeatureSet, part: Part, truth: Truth, *, seed: int) -> list[dict[str, Any]]:
    """Lists of dearer items: are they what the truth calls a step up, and do the most alike in truth come first?"""
    tower, allowed = TwoTowerRecommender.from_part(part), SurfaceItems.of(features.catalog)
    row = np.full(len(features.catalog), -1)
    row[2:] = rows_of(features.vocabulary.ids, truth.items.item_id)
    band = true_bands(truth)
    vecs = np.load(part.path(layout.ITEM_VECTORS))
    rng = np.random.default_rng(seed)
    scores: dict[str, Callable[[int, Ints], Floats]] = {
        "footfall": lambda code, items: vecs[items] @ vecs[code],
        "cheapest first": lambda _, items: -1.0 * features.catalog.price[items],
        "random order": lambda _, items: rng.random(len(items)),
        "oracle": lambda code, items: truth.items.vectors[row[items]] @ truth.items.vectors[row[code]],
    }
    found: dict[str, list[list[float]]] = {name: [] for name in scores}
    for code in tower.candidates:
        items = np.intersect1d(allowed.upgrade(int(code)), tower.candidates)
        if len(items) == 0:
            continue
        gain = np.maximum(0, scores["oracle"](int(code), items))
        same = truth.items.leaf[row[items]] == truth.items.leaf[row[code]]
        valid = band[row[items]] == band[row[code]] + 1
        for name, score in scores.items():
            top = np.argsort(-score(int(code), items), kind="stable")[:K]
            ideal = np.sort(gain)[::-1][:K] @ DISCOUNT[: len(top)]
            ndcg = gain[top] @ DISCOUNT[: len(top)] / ideal if ideal > 0 else 1.0
            values = [valid[top].mean(), (valid & same)[top].mean(), ndcg]
            found[name].append([*values, float(len(items) >= 2 * K), ndcg])
    answered = len(found["footfall"]) / len(tower.candidates)
    rows = []
    for name, values in found.items():
        table = np.array(values)
        long = table[table[:, 3] > 0]
        metrics = {
            "next_band": table[:, 0],
            "next_band_same_leaf": table[:, 1],
            "ndcg@10_of_true_likeness": table[:, 2],
        }
        if len(long):
            metrics["ndcg@10_where_20_or_more_compete"] = long[:, 4]
        note = f"upgrade: {answered:.0%} of {len(tower.candidates)} items have a step up"
        rows.append(result_row(name, metrics, note, seed))
    return rows


def true_bands(truth: Truth, num_bands: int = 5) -> Ints:
    """Return price bands of equal item counts within each department, from the truth's own base prices."""
    price = pd.Series(truth.items.base_price)
    share = price.groupby(truth.items.department[truth.items.leaf]).rank(pct=True)
    return np.ceil(share.to_numpy() * num_bands).astype(np.int64)


def again_rows(features: FeatureSet, truth: Truth, *, seed: int) -> list[dict[str, Any]]:
    """Rankings of what a customer bought before, by what is bought again in the window; the oracle knows the cycles."""
    sequences, num_days = features.sequences, truth.num_days
    day = num_days - WINDOW_DAYS
    first = pd.Timestamp(truth.about["first_day"], tz=truth.about["time_zone"]) + pd.Timedelta(days=day)
    from_us = int(first.tz_convert("UTC").value // 1_000)
    bought = sequences.where(sequences.event_type == EVENT_TYPE_CODES[PURCHASE])
    past, later = bought.between(None, from_us), bought.between(from_us, None)
    asked = np.flatnonzero((past.lengths > 0) & (later.lengths > 0))
    known = rows_of(features.users.ids[asked], truth.users.user_id) >= 0
    asked = asked[known]
    model = RepurchaseModel.fit(
        sequences.between(None, from_us), features.catalog, as_of_us=from_us, horizon_days=float(WINDOW_DAYS)
    )
    query = sequences.between(None, from_us).take(asked)
    lists = {
        "footfall": model.score(query, now_us=from_us, timing=True),
        "footfall, without timing": model.score(query, now_us=from_us, timing=False),
    }
    ids, chance = oracle_scores(truth, user_ids=features.users.ids[asked], day=day, window_days=WINDOW_DAYS)
    column = np.full(len(features.catalog), -1)
    column[2:] = rows_of(features.vocabulary.ids, ids)
    values: dict[str, list[float]] = {}
    for question, user in enumerate(asked):
        items, times = np.unique(past.items_of(user), return_counts=True)
        wanted = np.intersect1d(items, later.items_of(user))
        if len(wanted) == 0:
            continue
        own = past.items_of(user)[::-1]
        orders = {
            **{name: found.list_of(question)[0] for name, found in lists.items()},
            "most often first": items[np.argsort(-times, kind="stable")],
            "latest first": own[np.sort(np.unique(own, return_index=True)[1])],
            "oracle": items[np.argsort(-chance[question, column[items]], kind="stable")],
        }
        for name, order in orders.items():
            hits = np.isin(order[:K], wanted)
            ideal = DISCOUNT[: min(K, len(wanted))].sum()
            values.setdefault(name, []).append(float(hits @ DISCOUNT[: len(hits)] / ideal))
    note = f"buy_it_again: {len(values['oracle'])} customers who bought something again within {WINDOW_DAYS} days"
    return share_rows(values, "ndcg@10", note, seed)


def new_arrival_rows(features: FeatureSet, part: Part, *, seed: int) -> list[dict[str, Any]]:
    """Rankings of items that were new at the cut-off, by what each customer met of them in the window."""
    cut_us, rng = int(part.about["as_of_us"]), np.random.default_rng(seed)
    tower = TwoTowerRecommender.from_part(part)
    new = np.intersect1d(SurfaceItems.of(features.catalog).new_arrivals(cut_us, WINDOW_DAYS), tower.candidates)
    place = np.searchsorted(tower.candidates, new)
    tower = dataclasses.replace(tower, candidates=new, candidate_vecs=tower.candidate_vecs[place])
    past = features.sequences.between(None, cut_us)
    later = features.sequences.between(cut_us, cut_us + WINDOW_DAYS * DAY_US)
    later = later.where(np.isin(later.item, new))
    asked = np.flatnonzero((past.lengths > 0) & (later.lengths > 0))
    found = tower.recommend(past.take(asked), k=K, exclude_seen=True)
    sales = new[np.argsort(-np.bincount(past.item, minlength=len(features.catalog))[new], kind="stable")]
    values: dict[str, list[float]] = {}
    for question, user in enumerate(asked):
        seen = past.items_of(user)
        wanted = np.setdiff1d(later.items_of(user), seen)
        if len(wanted) == 0:
            continue
        orders = {
            "footfall": found.list_of(question)[0],
            "popularity": sales[~np.isin(sales, seen)],
            "newest first": newest_first(features, new[~np.isin(new, seen)]),
            "random order": rng.permutation(new[~np.isin(new, seen)]),
        }
        for name, order in orders.items():
            values.setdefault(name, []).append(np.isin(order[:K], wanted).sum() / min(K, len(wanted)))
    note = f"new_arrivals: {len(new)} new items, {len(values.get('footfall', []))} customers who met one"
    return [result_row(name, {"capped_recall@10": np.array(hits)}, note, seed) for name, hits in values.items()]


def newest_first(features: FeatureSet, items: Ints) -> Ints:
    return items[np.argsort(-features.catalog.created_at_us[items], kind="stable")]


def trending_rows(features: FeatureSet, part: Part, *, seed: int) -> list[dict[str, Any]]:
    """How the visitors of the 20 items listed change from the 56 days before the cut-off to the 7 days after it."""
    cut_us, sequences = int(part.about["as_of_us"]), features.sequences
    num_codes = len(features.catalog)
    before = np.bincount(sequences.between(cut_us - 56 * DAY_US, cut_us).item, minlength=num_codes) / 56
    after = np.bincount(sequences.between(cut_us, cut_us + 7 * DAY_US).item, minlength=num_codes) / 7
    candidates = TwoTowerRecommender.from_part(part).candidates
    shop = after[candidates].sum() / before[candidates].sum()
    rng = np.random.default_rng(seed)
    lists = {
        "footfall": pd.read_parquet(part.path(layout.TRENDING))["item_code"].to_numpy()[:20],
        "popularity": candidates[np.argsort(-before[candidates], kind="stable")][:20],
        "random order": rng.permutation(candidates)[:20],
    }
    rows = []
    for name, items in lists.items():
        growth = (after[items] + 0.1) / (before[items] * shop + 0.1)
        metrics = {"grew": 1.0 * (growth > 1), "log2_growth": np.log2(growth)}
        rows.append(result_row(name, metrics, "trending: top 20, less the shop's own growth", seed))
    return rows


def share_rows(values: dict[str, list[float]], metric: str, note: str, seed: int) -> list[dict[str, Any]]:
    """Return a row a model with its share of the oracle's mean, paired by customer."""
    table = np.array([values[name] for name in values]).T  # [customers, models]
    drawn = resampled_means(table, resamples=1000, seed=seed)
    oracle = list(values).index("oracle")
    rows = []
    for column, name in enumerate(values):
        share = table[:, column].mean() / table[:, oracle].mean()
        low, high = np.quantile(drawn[:, column] / drawn[:, oracle], [0.025, 0.975])
        row = result_row(name, {metric: table[:, column]}, note, seed)
        row["metrics"]["share_of_oracle"] = float(share)
        row["interval"]["share_of_oracle"] = [float(low), float(high)]
        rows.append(row)
    return rows


def result_row(model: str, values: dict[str, Any], note: str, seed: int) -> dict[str, Any]:
    found = {name: intervals(np.asarray(column, float)[:, None], seed=seed)[0] for name, column in values.items()}
    return {
        "model": model,
        "metrics": {name: value.mean for name, value in found.items()},
        "interval": {name: [value.low, value.high] for name, value in found.items()},
        "note": note,
    }


if __name__ == "__main__":
    main()
