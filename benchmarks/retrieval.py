"""Leave-one-out on a sequence file: the two-tower beside popularity and item-kNN.

    python benchmarks/retrieval.py FILE --seeds 0 1 2 --json OUT --predictions DIR

FILE holds one user a line: user id, then item ids, oldest first. The last item is the test target,
the one before it the validation target. Strict: the validation item takes no part in the fit, and
stands in the query at test time. All items are ranked, those of the query left out, ties broken at
random. Settings and the number of steps are chosen on validation alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features.catalog import ItemCatalog
from features.recommendations import Recommendations
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST, Vocabulary
from training.evaluation.baselines.item_knn import ItemKNN
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.metrics import RelevantItems, list_metrics, user_metrics
from training.evaluation.recommender import Recommender
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, learn
from training.retrieval.recommender import TwoTowerRecommender

TOP_K = 20
KEYS = ("recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20")
NOTE = "strict leave-one-out, full ranking, seen items excluded, ties at random"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file, read and split."""

    lines: np.ndarray
    vocabulary: Vocabulary
    split: Split
    relevant: RelevantItems

    @property
    def num_codes(self) -> int:
        """Height of an embedding table, PAD and UNKNOWN included."""
        return len(self.vocabulary)


def read(path: Path) -> Problem:
    rows = [line.split()[1:] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    vocabulary = Vocabulary.from_ids(sorted({item for row in rows for item in row}, key=lambda id_: (len(id_), id_)))
    item = vocabulary.encode([item for row in rows for item in row])
    sequences = Sequences.from_arrays(offsets=np.cumsum([0, *map(len, rows)]), item=item)
    split = Split.leave_one_out(sequences)
    lines = split.test.users  # a user's row is its line
    return Problem(lines=lines, vocabulary=vocabulary, split=split, relevant=RelevantItems.of(split.test.targets))


def config_for(args: argparse.Namespace, seed: int) -> RetrievalConfig:
    return RetrievalConfig(
        tower=TowerConfig(dim=args.dim, num_layers=args.layers, dropout=args.dropout, max_length=50, content=False),
        loss=LossConfig(
            kind="full", temperature=args.temperature, horizon=1, repeat_weight=1.0, half_life_days=0, bf16=True
        ),
        schedule=ScheduleConfig(
            learning_rate=args.learning_rate,
            batch_tokens=args.batch_tokens,
            max_epochs=args.epochs,
            max_tokens=0,
            validations_per_epoch=1,
            patience=args.patience,
            ema_decay=args.ema,
            checkpoint_steps=1_000_000,
            threads=args.threads,
        ),
        seed=seed,
        exclude_seen=True,
        min_item_events=1,
    )


def fit_two_tower(problem: Problem, config: RetrievalConfig) -> tuple[Recommender, dict[str, Any]]:
    lesson = Lesson(
        fit=problem.split.fit,
        validation=problem.split.validation,
        catalog=ItemCatalog.blank(problem.num_codes),
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


def measure(
    problem: Problem, fit: Callable[[int], tuple[Recommender, dict[str, Any]]], seeds: list[int], name: str
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Fit and test once a seed; return a result row and the ranked items."""
    users, lists, costs, notes = [], [], [], []
    for seed in seeds:
        started, cpu = time.perf_counter(), time.process_time()
        recommender, about = fit(seed)
        costs.append((time.process_time() - cpu, time.perf_counter() - started))
        answers = recommender.recommend(problem.split.test.query, k=TOP_K, exclude_seen=True)
        users.append(_metrics(problem, answers))
        lists.append(_ranked(problem, answers, seed))
        notes.append(about | {"cpu_s_with_test": round(time.process_time() - cpu, 1)})
        print(name, seed, {key: round(float(np.mean(value)), 4) for key, value in users[-1].items()}, notes[-1])
    per_seed = {key: [float(np.mean(user[key])) for user in users] for key in users[0]}
    row = {
        "model": name,
        "metrics": {key: float(np.mean(values)) for key, values in per_seed.items()},
        "interval": {key: _interval([user[key] for user in users]) for key in KEYS},
        "per_seed": per_seed,
        "fit_cpu_s": float(np.mean([cpu for cpu, _ in costs])),
        "fit_wall_s": float(np.mean([wall for _, wall in costs])),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "note": NOTE,
        "per_seed_about": notes,
    }
    return row, pd.concat(lists, ignore_index=True)


def _metrics(problem: Problem, answers: Recommendations) -> dict[str, np.ndarray]:
    values = user_metrics(answers, problem.relevant)
    counts = np.bincount(problem.split.fit.item, minlength=problem.num_codes)
    lists = list_metrics(answers, counts=counts, num_candidates=problem.num_codes - FIRST)
    named = {key: values[key] for key in KEYS} | {"mrr": values[f"mrr@{TOP_K}"]}
    return named | {"coverage@10": np.array([lists["coverage@10"]])}


def _interval(values: list[np.ndarray]) -> list[float]:
    """95% of bootstrap means over users, seeds averaged first."""
    mean = np.mean(values, axis=0)
    rng = np.random.default_rng(0)
    means = [mean[rng.integers(0, len(mean), len(mean))].mean() for _ in range(500)]
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _ranked(problem: Problem, answers: Recommendations, seed: int) -> pd.DataFrame:
    lengths = np.diff(answers.offsets)
    rank = 1 + np.arange(len(answers.item)) - np.repeat(answers.offsets[:-1], lengths)
    line = np.repeat(problem.lines, lengths)
    return pd.DataFrame({"seed": seed, "line": line, "rank": rank, "item": problem.vocabulary.decode(answers.item)})


def main() -> None:
    args = arguments()
    problem = read(args.file)
    every = np.arange(problem.num_codes) >= FIRST
    fit = problem.split.fit
    config = config_for(args, args.seeds[0])
    models: dict[str, Callable[[int], tuple[Recommender, dict[str, Any]]]] = {
        "footfall": lambda seed: fit_two_tower(problem, dataclasses.replace(config, seed=seed)),
        "popularity": lambda seed: (Popularity.fit(fit, candidates=every, seed=seed), {}),
        "item-kNN": lambda seed: (ItemKNN.fit(fit, candidates=every, decay=0.6, seed=seed), {}),
    }
    rows = []
    for name, make in models.items():
        row, ranked = measure(problem, make, args.seeds, name)
        row["config"] = dataclasses.asdict(config) if name == "footfall" else {}
        rows.append(row)
        if args.predictions and name == "footfall":
            args.predictions.mkdir(parents=True, exist_ok=True)
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--patience", type=int, default=4)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--ema", type=float, default=0.995)
    return parser.parse_args()


if __name__ == "__main__":
    main()
