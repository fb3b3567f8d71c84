"""CPU-seconds to an accuracy: the two-tower beside RecTools' SASRec and EASE, one thread each.

    python benchmarks/retrieval_cost.py FILE --json OUT --rectools-minutes 30

FILE as for ``retrieval.py``; strict leave-one-out, validation NDCG@10 over all users and all items, computed by one
function for all three models. RecTools runs as a process of its own in an environment of its own, which is made where it
is missing (``requirements-rectools.txt``; about 1.4 GB); without ``--rectools-minutes`` it is left out. Ours runs with
the configuration of ``retrieval.py``, as one tower. Training alone is counted for all; what
validation costs stands apart. Ours stops when it has passed both others and used ``--footfall-minutes``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
import torch

from benchmarks import retrieval
from benchmarks.result import write_result
from benchmarks.sequence_file import Problem, read
from benchmarks.step_cost import matmul_share, time_steps
from features.recommendations import Recommendations
from features.splits import Holdout
from features.vocabulary import FIRST
from training.evaluation.baselines.ease import Ease
from training.evaluation.bootstrap import mean_interval
from training.evaluation.metrics import RelevantItems, user_metrics
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Lesson, build_module
from training.retrieval.questions import Questions
from training.retrieval.recommender import TwoTowerRecommender
from training.retrieval.towers import TwoTower

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = HERE / "requirements-rectools.txt"
METRIC: Final = "ndcg@10"
_TIMED_STEPS: Final = 60
# Test NDCG@10 measured before by the pinned configurations; RecTools' after 5 epochs. A row further off voids the run.
_REFERENCE: Final = {("Beauty.txt", "EASE", 1): 0.0456, ("Beauty.txt", "rectools 0.19.0", 5): 0.0260}
_TOLERANCE: Final = 0.03
# An environment of our own cannot serve another interpreter's packages.
_FOREIGN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Point:
    """A validation: training CPU-seconds until then, and what it found."""

    cpu_s: float
    ndcg: float


@dataclass
class Run:
    """One model's way to its accuracy."""

    model: str
    points: list[Point]
    validation_cpu_s: float
    peak_mb: float
    config: dict[str, Any]
    test: Recommendations | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Point:
        """The best validation; the first of equals."""
        return max(self.points, key=lambda point: point.ndcg)

    def seconds_to(self, ndcg: float) -> float | None:
        """Return the CPU-seconds of training until validation first reached ``ndcg``; ``None`` if it never did."""
        return next((point.cpu_s for point in self.points if point.ndcg >= ndcg), None)


class _PassedError(Exception):
    """Ours has nothing left to show."""


def validation_ndcg(problem: Problem, answers: Recommendations) -> float:
    """Return the mean over all users asked."""
    return float(user_metrics(answers, RelevantItems.of(problem.split.validation.targets))[METRIC].mean())


def run_ease(problem: Problem) -> Run:
    started = time.process_time()
    model = Ease.fit(problem.split.fit, candidates=np.arange(problem.num_codes) >= FIRST)
    cpu_s = time.process_time() - started
    answers = model.recommend(problem.split.validation.query, k=10, exclude_seen=True)
    ndcg, validation_cpu_s = validation_ndcg(problem, answers), time.process_time() - started - cpu_s
    test = model.recommend(problem.split.test.query, k=retrieval.TOP_K, exclude_seen=True)
    return Run("EASE", [Point(cpu_s, ndcg)], validation_cpu_s, _peak_mb(), {"regularisation": 100.0}, test)


def run_ours(
    problem: Problem, config: RetrievalConfig, *, to_pass: list[float], least_cpu_s: float, validations: int
) -> Run:
    """Train and note every validation.

    Args:
        problem: file and split.
        config: as in ``retrieval.py``; only validated more often, with a patience as long in epochs.
        to_pass: validation NDCG@10 of the others.
        least_cpu_s: of training, before passing them may end it.
        validations: an epoch.
    """
    schedule = config.schedule
    patience = -(-schedule.patience * validations // schedule.validations_per_epoch)
    often = dataclasses.replace(schedule, validations_per_epoch=validations, patience=patience, threads=1)
    config = dataclasses.replace(config, schedule=often)
    points: list[Point] = []

    def note(towers: TwoTower, cpu_s: float) -> None:
        model = TwoTowerRecommender.from_towers(towers, np.arange(FIRST, problem.num_codes))
        answers = model.recommend(problem.split.validation.query, k=10, exclude_seen=True)
        points.append(Point(cpu_s, validation_ndcg(problem, answers)))
        print(f"footfall: {cpu_s:.1f} CPU-s, validation {METRIC} {points[-1].ndcg:.4f}", flush=True)
        if cpu_s >= least_cpu_s and all(points[-1].ndcg >= ndcg for ndcg in to_pass):
            test.append(model.recommend(problem.split.test.query, k=retrieval.TOP_K, exclude_seen=True))
            raise _PassedError

    test: list[Recommendations] = []
    with _validations(note) as own:
        try:
            model, _ = retrieval.fit_two_tower(problem, config)
            test.append(model.recommend(problem.split.test.query, k=retrieval.TOP_K, exclude_seen=True))
        except _PassedError:
            pass
    return Run("footfall", points, own["cpu_s"], _peak_mb(), dataclasses.asdict(config), test[0])


@contextlib.contextmanager
def _validations(note: Any) -> Iterator[dict[str, float]]:
    """Call ``note(towers, training CPU-seconds)`` after each validation; yields what these cost themselves."""
    plain, own, started, apart = Questions.ndcg_at_10, {"cpu_s": 0.0}, time.process_time(), 0.0

    def timed(self: Questions, towers: TwoTower) -> float:
        nonlocal apart
        begun = time.process_time()
        score = plain(self, towers)
        own["cpu_s"] += time.process_time() - begun
        try:
            note(towers, begun - started - apart)
        finally:
            apart += time.process_time() - begun
        return score

    Questions.ndcg_at_10 = timed  # type: ignore[method-assign]
    try:
        yield own
    finally:
        Questions.ndcg_at_10 = plain  # type: ignore[method-assign]


def run_rectools(problem: Problem, python: Path, *, minutes: float, epochs: int, seed: int) -> Run:
    """Train RecTools' SASRec in another process; score its lists here."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for part, holdout in (("fit", problem.split.validation), ("test", problem.split.test)):
            _events(problem, holdout).to_parquet(directory / f"{part}.parquet", index=False)
        command = [
            python,
            HERE / "rectools_sasrec.py",
            directory / "fit.parquet",
            directory / "test.parquet",
            directory,
        ]
        limits = ["--seconds", minutes * 60, "--epochs", epochs, "--seed", seed]
        subprocess.run(list(map(str, [*command, *limits])), check=True, env=_environment())
        found = json.loads((directory / "curve.json").read_text(encoding="utf-8"))
        curve = found["curve"]
        lists = {point["lists"]: _lists(problem, directory / point["lists"]) for point in curve}
        test = _lists(problem, directory / "test.parquet")
    points = [Point(point["cpu_s"], validation_ndcg(problem, lists[point["lists"]])) for point in curve]
    validation_cpu_s = curve[-1]["validation_cpu_s"]
    return Run("rectools 0.19.0", points, validation_cpu_s, found["peak_mb"], found["config"], test)


def _events(problem: Problem, holdout: Holdout) -> pd.DataFrame:
    """Return the histories of a holdout, one row an event; those who are asked nothing are left out."""
    query = holdout.query
    position = np.arange(query.num_events) - np.repeat(query.offsets[:-1], query.lengths)
    item = problem.vocabulary.decode(query.item)
    return pd.DataFrame({"user": query.user_of_event, "item": np.asarray(item, str), "position": position})


def _lists(problem: Problem, path: Path) -> Recommendations:
    ranked = pd.read_parquet(path).sort_values(["user", "rank"])
    codes = problem.vocabulary.encode(ranked["item"].tolist())
    num_lists = problem.split.validation.num_users
    bounds = np.searchsorted(ranked["user"].to_numpy(), np.arange(num_lists + 1))
    items = [codes[start:stop] for start, stop in itertools.pairwise(bounds)]
    return Recommendations.from_lists(items, [-np.arange(len(list_), dtype=np.float32) for list_ in items])


def environment_at(directory: Path) -> Path:
    """Return the Python of RecTools' environment, made and filled where it is not, or where the pins have changed."""
    python, filled = directory / "bin" / "python", directory / REQUIREMENTS.name
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not (filled.exists() and filled.read_text(encoding="utf-8") == wanted):
        print(f"making {directory} from {REQUIREMENTS.name}: a few minutes", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, env=_environment())
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)], check=True, env=_environment()
        )
        filled.write_text(wanted, encoding="utf-8")
    return python


def _environment() -> dict[str, str]:
    """One thread, and nothing of the environment that runs us."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN} | threads


def step_figures(problem: Problem, config: RetrievalConfig) -> dict[str, float]:
    """Return what a step costs a token, and beside bare matrix products."""
    candidates = np.arange(FIRST, problem.num_codes)
    lesson = Lesson(
        fit=problem.split.fit, validation=None, catalog=problem.catalog, candidates=candidates, num_price_bands=1
    )
    torch.set_num_threads(1)
    timed = time_steps(build_module(lesson, config, num_steps=_TIMED_STEPS))
    spent = timed["step_cpu_s"] + timed["batch_cpu_s"]
    share = matmul_share(build_module(lesson, config, num_steps=1), timed["step_cpu_s"])
    return {"cpu_us_a_token": 1e6 * spent / timed["tokens"]} | timed | share


def rows_of(
    problem: Problem, ours: Run, ease: Run | None, rectools: Run | None, *, data: str = ""
) -> list[dict[str, Any]]:
    """Return one row a model; ``data`` is the file's name."""
    to_ease = ours.seconds_to(ease.best.ndcg) if ease else None
    to_rectools = ours.seconds_to(rectools.best.ndcg) if rectools else None
    ratio = to_rectools / rectools.best.cpu_s if rectools and to_rectools is not None else None
    reached = {"cpu_s_to_ease": to_ease, "cpu_s_to_rectools": to_rectools, "ratio": ratio}
    rows = [_row(problem, ours, data) | {"step": ours.extra}]
    steps = ("cpu_us_a_token", "step_of_matmul", "softmax_of_matmul")
    rows[0]["metrics"] |= reached | {key: ours.extra[key] for key in steps if key in ours.extra}
    return rows + [_row(problem, run, data) for run in (ease, rectools) if run]


def _row(problem: Problem, run: Run, data: str) -> dict[str, Any]:
    assert run.test is not None
    values = user_metrics(run.test, problem.relevant)
    metrics = {f"validation_{METRIC}": run.best.ndcg} | {key: float(values[key].mean()) for key in retrieval.KEYS}
    curve = [[round(point.cpu_s, 2), point.ndcg] for point in run.points]
    known = _REFERENCE.get((data, run.model, len(run.points)))
    off = metrics[METRIC] / known - 1 if known else None
    voids = (
        f"; {'VOID: ' if abs(off) > _TOLERANCE else ''}{off:+.1%} off the reference {known}" if off is not None else ""
    )
    return {
        "model": run.model,
        "metrics": metrics,
        "interval": {key: retrieval.bounds(mean_interval(values[key])) for key in retrieval.KEYS},
        "per_seed": {key: [value] for key, value in metrics.items()},
        "fit_cpu_s": run.points[-1].cpu_s,
        "validation_cpu_s": run.validation_cpu_s,
        "peak_mb": run.peak_mb,
        "config": run.config,
        "curve": curve,
        "note": f"best validation after {run.best.cpu_s:.0f} CPU-s, {len(run.points)} validations, "
        f"which took {run.validation_cpu_s:.0f} CPU-s more{voids}",
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    problem = read(args.file)
    config = retrieval.config_for(problem, seed=args.seed, members=1)
    rectools = None
    if args.rectools_minutes:
        python = environment_at(args.environment)
        rectools = run_rectools(
            problem, python, minutes=args.rectools_minutes, epochs=args.rectools_epochs, seed=args.seed
        )
        for point in rectools.points:
            print(f"rectools: {point.cpu_s:.0f} CPU-s, validation {METRIC} {point.ndcg:.4f}", flush=True)
    ease = None if args.no_ease else run_ease(problem)
    others = [run.best.ndcg for run in (ease, rectools) if run]
    minutes = args.footfall_minutes * 60
    ours = run_ours(problem, config, to_pass=others, least_cpu_s=minutes, validations=args.validations)
    ours.extra = step_figures(problem, config)
    rows = rows_of(problem, ours, ease, rectools, data=args.file.name)
    print(json.dumps({row["model"]: row["metrics"] for row in rows}, indent=1))
    if args.json:
        protocol = (
            "leave-one-out, strict; one thread each; CPU-seconds of training until validation NDCG@10 (all users, all "
            "items) first reaches the other model's best; `ratio` is ours over RecTools' CPU-seconds to that best; "
            "`*_of_matmul` is the time of the bare matrix products over that of the step, or of the softmax in it"
        )
        write_result(
            args.json,
            benchmark="retrieval cost",
            data=args.file.name,
            protocol=protocol,
            seeds=[args.seed],
            results=rows,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rectools-minutes", type=float, default=0.0, help="of CPU; 0 leaves RecTools out")
    parser.add_argument("--rectools-epochs", type=int, default=1000, help="at most")
    parser.add_argument("--environment", type=Path, default=HERE.parent / ".venv-rectools")
    parser.add_argument("--footfall-minutes", type=float, default=3.0, help="of CPU, at least, where it learns so long")
    parser.add_argument("--validations", type=int, default=2, help="an epoch of ours")
    parser.add_argument("--no-ease", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
