"""What each choice of the two-tower is worth: one thing changed at a time, on validation alone.

    python benchmarks/ablations.py FILE --json OUT

FILE is as ``benchmarks/sequence_file.py`` reads it. The reference is one member of what ``benchmarks/retrieval.py``
trains; every other row differs from it as its name says, from the same seed, and is stopped by the same rule. All users are
asked for their validation item; differences are paired over users. The test item is never looked at.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.retrieval import config_for
from benchmarks.sequence_file import Problem, read
from features.vocabulary import FIRST
from training.evaluation.bootstrap import mean_interval, paired_difference
from training.evaluation.metrics import RelevantItems, user_metrics
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Lesson, learn
from training.retrieval.recommender import TwoTowerRecommender

REFERENCE: Final = "reference"
KEYS: Final = ("recall@10", "ndcg@10")
Values = dict[str, np.ndarray]


def changed(part: str, **values: Any) -> Callable[[RetrievalConfig], RetrievalConfig]:
    """Return a function that replaces settings of one part of a configuration; of itself where ``part`` is empty."""

    def change(config: RetrievalConfig) -> RetrievalConfig:
        if not part:
            return dataclasses.replace(config, **values)
        return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **values)})

    return change


VARIANTS: Final[dict[str, Callable[[RetrievalConfig], RetrievalConfig]]] = {
    REFERENCE: changed(""),
    "no item content": changed("tower", content=False),
    "no neighbours": changed("loss", neighbour_share=0.0),
    "half the share to neighbours": changed("loss", neighbour_share=0.1),
    "twice the share to neighbours": changed("loss", neighbour_share=0.4),
    "50 neighbours": changed("loss", num_neighbours=50),
    "width 64": changed("tower", dim=64),
    "two blocks": changed("tower", num_layers=2),
    "dropout 0.2": changed("tower", dropout=0.2),
    "dropout 0.6": changed("tower", dropout=0.6),
    "id dropout 0.2": changed("tower", id_dropout=0.2),
    "temperature 0.05": changed("loss", temperature=0.05),
    "temperature 0.1": changed("loss", temperature=0.1),
    "sampled softmax, 2,048 mixed negatives": changed("loss", kind="sampled", num_negatives=2048, neighbour_share=0.0),
    "sampled softmax, in-batch alone": changed(
        "loss", kind="sampled", num_negatives=1024, in_batch_share=0.999, neighbour_share=0.0
    ),
    "a target out of the next 3": changed("loss", horizon=3),
    "no weight averaging": changed("schedule", ema_decay=0.0),
    "4,096 positions a step, twice the rate": changed("schedule", batch_tokens=4096, learning_rate=2e-3),
    "ensemble of two": changed("", num_members=2),
    "ensemble of two, one plain": changed("", num_members=2, num_plain_members=1),
    "ensemble of three": changed("", num_members=3),
    "ensemble of three, one plain": changed("", num_members=3, num_plain_members=1),
}


def measure(path: Path, name: str, seed: int) -> dict[str, Any]:
    """Train one variant and return its metrics a user, and its cost."""
    problem = read(path)
    config = VARIANTS[name](config_for(problem, seed=seed, members=1))
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as directory:
        learned = learn(_lesson(problem), config, Path(directory))
    cpu_s = time.process_time() - cpu
    recommender = TwoTowerRecommender.from_towers(learned.towers, _lesson(problem).candidates)
    answers = recommender.recommend(problem.split.validation.query, k=10, exclude_seen=True)
    values = user_metrics(answers, RelevantItems.of(problem.split.validation.targets))
    print(name, {key: round(float(values[key].mean()), 4) for key in KEYS}, f"{cpu_s:.0f} CPU-s", flush=True)
    return {
        "values": {key: values[key] for key in KEYS},
        "cpu_s": cpu_s,
        "steps": learned.steps,
        "config": dataclasses.asdict(config),
    }


def _lesson(problem: Problem) -> Lesson:
    return Lesson(
        fit=problem.split.fit,
        validation=problem.split.validation,
        catalog=problem.catalog,
        candidates=np.arange(FIRST, problem.num_codes),
        num_price_bands=1,
    )


def row_of(name: str, found: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Return a result row; the difference is the reference less the variant, as in every benchmark's rows."""
    values, base = found["values"], reference["values"]
    row = {
        "model": name,
        "metrics": {key: float(values[key].mean()) for key in KEYS},
        "interval": {key: [(i := mean_interval(values[key])).low, i.high] for key in KEYS},
        "fit_cpu_s": found["cpu_s"],
        "config": found["config"],
        "note": f"{found['steps']} steps",
    }
    if name != REFERENCE:
        row["difference"] = {key: dataclasses.asdict(paired_difference(base[key], values[key])) for key in KEYS}
    return row


def main() -> None:
    args = arguments()
    names = [REFERENCE, *(name for name in args.only or VARIANTS if name != REFERENCE)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        futures = {name: pool.submit(measure, args.file, name, args.seed) for name in names}
        found = {name: future.result() for name, future in futures.items()}
    if args.json:
        write_result(
            args.json,
            benchmark="retrieval ablations",
            data=args.file.name,
            protocol="leave-one-out, strict; metrics of the validation item; differences are the reference less the row",
            seeds=[args.seed],
            results=[row_of(name, found[name], found[REFERENCE]) for name in names],
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="these rows beside the reference")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="variants at a time, a process and a thread each")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
