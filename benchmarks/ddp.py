"""The two-tower in one process and in two: validation NDCG@10 over seeds, and positions a second.

    python benchmarks/ddp.py shared/s3rec/Beauty.txt --json OUT

FILE is as ``benchmarks/sequence_file.py`` reads it; the split is strict leave-one-out and the metric that of validation,
which is what stops a training. The configuration is the benchmark's of one tower, with vectors half as long; everything learns
from the same number of positions. Two processes have
one thread each; they stand beside one process with one thread and one with two. Seeds and sides run one after another, so
that nothing else is measured: each side has both cores to itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.retrieval import config_for
from benchmarks.sequence_file import Problem, read
from features.splits import Holdout
from features.vocabulary import FIRST
from training.parallel.launching import run_on_ranks
from training.parallel.ranks import Ranks
from training.parallel.settings import ComputeConfig
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Lesson, learn

ONE: Final = "one process"
TWO_THREADS: Final = "one process, two threads"
TWO: Final = "two processes"
METRIC: Final = "validation_ndcg@10"


def main() -> None:
    args = arguments()
    problem = read(args.file)
    sides = {
        ONE: (1, 1, args.seeds),
        TWO_THREADS: (1, 2, args.seeds[:1]),
        TWO: (2, 1, args.two_seeds),
    }
    rows = []
    for name, (processes, threads, seeds) in sides.items():
        configs = [config_of(problem, seed, args.tokens, processes, threads) for seed in seeds]
        runs = [measured(args.file, config) for config in configs]
        rows.append(row_of(name, runs, configs[0]))
        print(name, rows[-1]["per_seed"], rows[-1]["metrics"], file=sys.stderr)
    compare(rows)
    if args.json:
        write_result(
            args.json,
            benchmark="ddp",
            data=args.file.name,
            protocol=f"leave-one-out, strict; validation; {args.tokens} positions of each seed",
            seeds=args.seeds,
            results=rows,
        )


def config_of(problem: Problem, seed: int, tokens: int, processes: int, threads: int) -> RetrievalConfig:
    """Return the configuration for so many positions, without an early end."""
    config = config_for(problem, seed=seed, members=1, threads=threads)
    schedule = dataclasses.replace(config.schedule, max_tokens=tokens, max_epochs=10_000, patience=10_000)
    tower = dataclasses.replace(config.tower, dim=64)
    return dataclasses.replace(config, tower=tower, schedule=schedule, compute=ComputeConfig(processes=processes))


def measured(path: Path, config: RetrievalConfig) -> dict[str, Any]:
    """Learn once."""
    before = _cpu_s()
    found = run_on_ranks(functools.partial(taught, path, config), config.compute)
    return found | {"cpu_s": _cpu_s() - before}


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def taught(path: Path, config: RetrievalConfig, ranks: Ranks) -> dict[str, Any]:
    """Do one rank's part; every rank learns from its own users."""
    problem = read(path)
    lesson = Lesson(
        fit=problem.split.fit.part(ranks.rank, ranks.of),
        validation=own_questions(problem, ranks),
        catalog=problem.catalog,
        candidates=np.arange(FIRST, problem.num_codes),
        num_price_bands=1,
        ranks=ranks,
    )
    with tempfile.TemporaryDirectory() as directory:
        learned = learn(lesson, config, Path(ranks.told(directory)))
    return {
        "score": learned.score,
        "positions_per_second": learned.positions_per_second,
        "learning_s": learned.seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def own_questions(problem: Problem, ranks: Ranks) -> Holdout:
    """Return the questions about a rank's users."""
    parts = [problem.split.fit.part(rank, ranks.of).num_users for rank in range(ranks.of)]
    asked, first = problem.split.validation, sum(parts[: ranks.rank])
    mine = np.flatnonzero((asked.users >= first) & (asked.users < first + parts[ranks.rank]))
    return Holdout(users=asked.users[mine] - first, query=asked.query.take(mine), targets=asked.targets.take(mine))


def row_of(name: str, runs: Sequence[dict[str, Any]], config: RetrievalConfig) -> dict[str, Any]:
    """Return the result row of one side over its seeds."""
    mean: Callable[[str], float] = lambda key: float(np.mean([run[key] for run in runs]))  # noqa: E731
    scores = [run["score"] for run in runs]
    return {
        "model": name,
        "metrics": {METRIC: mean("score"), "positions_per_second": round(mean("positions_per_second"))},
        "interval": {METRIC: seed_interval(scores)} if len(scores) > 2 else {},
        "per_seed": {METRIC: scores, "positions_per_second": [round(run["positions_per_second"]) for run in runs]},
        "fit_cpu_s": round(mean("cpu_s"), 1),
        "fit_wall_s": round(mean("learning_s"), 1),
        "peak_mb": round(max(run["peak_mb"] for run in runs)),
        "config": dataclasses.asdict(config),
        "note": "peak_mb is of one process; fit_wall_s without the start of processes, fit_cpu_s with it",
    }


def seed_interval(scores: Sequence[float]) -> list[float]:
    """Return where another seed's score lies with 95%: Student's t prediction interval."""
    spread = np.std(scores, ddof=1) * np.sqrt(1 + 1 / len(scores)) * stats.t.ppf(0.975, len(scores) - 1)
    return [float(np.mean(scores) - spread), float(np.mean(scores) + spread)]


def compare(rows: Sequence[dict[str, Any]]) -> None:
    """Add what two processes are beside one: inside its seeds' interval or not, and how much faster."""
    by_name = {row["model"]: row for row in rows}
    low, high = by_name[ONE]["interval"].get(METRIC, (0.0, 1.0))
    two = by_name[TWO]
    two["inside_seed_interval"] = [low <= score <= high for score in two["per_seed"][METRIC]]
    speed = two["metrics"]["positions_per_second"]
    two["speed_up"] = {
        f"over {name}": round(speed / by_name[name]["metrics"]["positions_per_second"], 2)
        for name in (ONE, TWO_THREADS)
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--two-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tokens", type=int, default=400_000, help="positions to learn from, of each seed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
