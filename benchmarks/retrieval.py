"""Leave-one-out on a sequence file: the two-tower beside its baselines.

    python benchmarks/retrieval.py FILE --seeds 0 1 2 --json OUT --predictions DIR

FILE is as ``benchmarks/sequence_file.py`` reads it. Strict: the validation item takes no part in the fit, and
stands in the query at test time. All items are ranked, those of the query left out, ties broken at random. Settings and
the number of steps are chosen on validation alone.

One rule picks the configuration from the data: histories are long where their median is above 30 events (films that
people rate by the hundred), else short (a shop's customers); see ``config_for``.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.sequence_file import Problem, read
from features.content import ItemContent
from features.recommendations import Recommendations
from features.vocabulary import FIRST
from training.evaluation.baselines.attribute_knn import AttributeKNN
from training.evaluation.baselines.ease import MAX_ITEMS, Ease
from training.evaluation.baselines.item_knn import ItemKNN
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.bootstrap import Interval, mean_interval, paired_difference
from training.evaluation.metrics import list_metrics, user_metrics
from training.evaluation.recommender import Recommender
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, learn
from training.retrieval.recommender import TwoTowerRecommender

TOP_K: Final = 20
KEYS: Final = ("recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20")
NOTE: Final = "strict leave-one-out, full ranking, seen items excluded, ties at random"
OURS: Final = "footfall"
UNLIMITED: Final = "footfall, without a time limit"
LONG_HISTORY: Final = 30

Fit = Callable[[Problem, int], tuple[Recommender, dict[str, Any]]]
Values = Mapping[str, np.ndarray]


def config_for(problem: Problem, *, seed: int, members: int, threads: int = 1) -> RetrievalConfig:
    """Return the configuration that the rule picks.

    Short histories overfit soon: one block, LiGR's, much dropout, smoothed labels, and a share of each target for the
    neighbours of its history. Long ones speak for themselves: two blocks, little dropout, next items alone. Of three
    towers for short histories, one is plain.
    """
    long = bool(np.median(problem.split.fit.lengths) > LONG_HISTORY)
    return RetrievalConfig(
        tower=TowerConfig(
            dim=128,
            num_layers=2 if long else 1,
            mixer="attention" if long else "ligr",
            dropout=0.2 if long else 0.4,
            max_length=200 if long else 50,
            id_dropout=0.0,
        ),
        loss=LossConfig(
            kind="full",
            temperature=0.07,
            horizon=1,
            repeat_weight=1.0,
            half_life_days=0,
            neighbour_share=0.0 if long else 0.2,
            num_neighbours=20,
            label_smoothing=0.0 if long else 0.2,
        ),
        schedule=ScheduleConfig(
            learning_rate=2e-3 if long else 1e-3,
            batch_tokens=8192 if long else 1024,
            max_epochs=40 if long else 12,
            max_tokens=0,
            validations_per_epoch=1,
            patience=5 if long else 3,
            ema_decay=0.995,
            checkpoint_steps=1_000_000,
            validation_users=10_000,
            threads=threads,
        ),
        seed=seed,
        exclude_seen=True,
        min_item_events=1,
        num_members=members,
        num_plain_members=0 if long else members // 3,
    )


def fit_two_tower(problem: Problem, config: RetrievalConfig) -> tuple[Recommender, dict[str, Any]]:
    """Learn from the fit part, stopping by validation."""
    lesson = Lesson(
        fit=problem.split.fit,
        validation=problem.split.validation,
        catalog=problem.catalog,
        candidates=np.arange(FIRST, problem.num_codes),
        num_price_bands=1,
    )
    with tempfile.TemporaryDirectory() as directory:
        learned = learn(lesson, config, Path(directory))
    about = {
        "validation_ndcg@10": learned.score,
        "steps": learned.steps,
        "positions_per_second": round(learned.positions_per_second),
    }
    return TwoTowerRecommender.from_towers(learned.towers, lesson.candidates), about


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One model from one seed: its metrics a user, its lists, and what it took."""

    values: Values
    ranked: pd.DataFrame
    about: dict[str, Any]
    cpu_s: float
    wall_s: float
    peak_mb: float


def measure(path: Path, model: str, seed: int, members: int) -> Measured:
    """Fit one model once and test it once; a function of its own, so that seeds can run in processes of their own."""
    problem = read(path)
    started, cpu = time.perf_counter(), time.process_time()
    recommender, about = fits(members)[model](problem, seed)
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - started}
    answers = recommender.recommend(problem.split.test.query, k=TOP_K, exclude_seen=True)
    measured = Measured(
        values=_metrics(problem, answers),
        ranked=_ranked(problem, answers, seed),
        about=about | {"cpu_s_with_test": round(time.process_time() - cpu, 1)},
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **cost,
    )
    print(model, seed, {key: round(float(np.mean(value)), 4) for key, value in measured.values.items()}, measured.about)
    return measured


def fits(members: int) -> dict[str, Fit]:
    """Return every model by name; baselines have their pinned configuration."""

    def two_tower(problem: Problem, seed: int) -> tuple[Recommender, dict[str, Any]]:
        return fit_two_tower(problem, config_for(problem, seed=seed, members=members))

    return {
        OURS: two_tower,
        UNLIMITED: two_tower,
        "popularity": _baseline(Popularity.fit),
        "item-kNN": _baseline(functools.partial(ItemKNN.fit, decay=0.6)),
        "EASE": _baseline(functools.partial(Ease.fit, regularisation=100.0, decay=0.6)),
        "attribute-kNN": _attribute_knn,
    }


def _baseline(fit: Callable[..., Recommender]) -> Fit:
    return lambda problem, seed: (fit(problem.split.fit, candidates=problem.every_item, seed=seed), {})


def _attribute_knn(problem: Problem, seed: int) -> tuple[Recommender, dict[str, Any]]:
    content = ItemContent.from_catalog(problem.catalog, num_title_buckets=1)
    return AttributeKNN.from_content(content, candidates=problem.every_item, decay=0.6, seed=seed), {}


def row_of(name: str, runs: list[Measured], config: RetrievalConfig | None) -> dict[str, Any]:
    """Return the result row of a model over its seeds."""
    per_seed = {key: [float(np.mean(run.values[key])) for run in runs] for key in runs[0].values}
    return {
        "model": name,
        "metrics": {key: float(np.mean(values)) for key, values in per_seed.items()},
        "interval": {key: bounds(mean_interval(_over_seeds(runs, key))) for key in KEYS},
        "per_seed": per_seed,
        "fit_cpu_s": float(np.mean([run.cpu_s for run in runs])),
        "fit_wall_s": float(np.mean([run.wall_s for run in runs])),
        "peak_mb": max(run.peak_mb for run in runs),
        "config": {} if config is None else dataclasses.asdict(config),
        "note": NOTE,
        "per_seed_about": [run.about for run in runs],
    }


def differences(ours: list[Measured], theirs: list[Measured]) -> dict[str, dict[str, float]]:
    """Return ours minus theirs with paired 95% bounds, seeds averaged first."""
    found = {key: paired_difference(_over_seeds(ours, key), _over_seeds(theirs, key)) for key in KEYS}
    return {key: dataclasses.asdict(interval) for key, interval in found.items()}


def _over_seeds(runs: list[Measured], key: str) -> np.ndarray:
    mean: np.ndarray = np.mean([run.values[key] for run in runs], axis=0)
    return mean


def bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _metrics(problem: Problem, answers: Recommendations) -> Values:
    values = user_metrics(answers, problem.relevant)
    counts = np.bincount(problem.split.fit.item, minlength=problem.num_codes)
    lists = list_metrics(answers, counts=counts, num_candidates=problem.num_codes - FIRST)
    named = {key: values[key] for key in KEYS} | {"mrr": values[f"mrr@{TOP_K}"]}
    return named | {"coverage@10": np.array([lists["coverage@10"]])}


def _ranked(problem: Problem, answers: Recommendations, seed: int) -> pd.DataFrame:
    lengths = np.diff(answers.offsets)
    rank = 1 + np.arange(len(answers.item)) - np.repeat(answers.offsets[:-1], lengths)
    line = np.repeat(problem.lines, lengths)
    return pd.DataFrame({"seed": seed, "line": line, "rank": rank, "item": problem.vocabulary.decode(answers.item)})


def main() -> None:
    args = arguments()
    problem = read(args.file)
    jobs = [(OURS, seed, args.members) for seed in args.seeds]
    if args.unlimited_members:
        jobs.append((UNLIMITED, args.seeds[0], args.unlimited_members))
    has_labels = bool((problem.catalog.labels != "").any())
    wanted = {"EASE": problem.num_codes <= MAX_ITEMS, "attribute-kNN": has_labels}
    jobs += [(name, args.seeds[0], 1) for name in list(fits(1))[2:] if wanted.get(name, True)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        futures = [(name, pool.submit(measure, args.file, name, seed, members)) for name, seed, members in jobs]
        runs: dict[str, list[Measured]] = {}
        for name, future in futures:
            runs.setdefault(name, []).append(future.result())
    members = {OURS: args.members, UNLIMITED: args.unlimited_members}
    rows = []
    for name, measured in runs.items():
        ours = name in members
        config = config_for(problem, seed=args.seeds[0], members=members[name]) if ours else None
        row = row_of(name, measured, config)
        if not ours:
            row["difference"] = differences(runs[OURS], measured)  # footfall less this
        rows.append(row)
    if args.predictions:
        args.predictions.mkdir(parents=True, exist_ok=True)
        ranked = pd.concat([run.ranked for run in runs[OURS]], ignore_index=True)
        ranked.to_parquet(args.predictions / "topk.parquet", index=False)
    if args.json:
        write_result(
            args.json,
            benchmark="retrieval",
            data=args.file.name,
            protocol="leave-one-out, strict",
            seeds=args.seeds,
            results=rows,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--members", type=int, default=3, help="towers of the ensemble")
    parser.add_argument("--unlimited-members", type=int, default=0, help="a second row with more; one seed")
    parser.add_argument(
        "--jobs", type=int, default=2, help="models that are fitted at a time, a process and a thread each"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
