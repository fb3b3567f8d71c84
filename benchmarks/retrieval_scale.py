"""Time and memory of a training step as the catalogue and the number of customers grow.

    python benchmarks/retrieval_scale.py --json OUT --plot

Synthetic histories made in memory: about ten events a customer, items by Zipf's law. The default settings at width 64
without content, one thread; the loss is what ``auto`` picks, full or sampled. Each cell runs in a process of its own, so
that its peak memory is its own. Where a step visits only the rows that it meets (``training/retrieval/sparse_rows.py``),
the cell is run a second time by the dense rule, and ``ratio`` is ours over that. Draws ``--plot``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

import training.retrieval.module as retrieval_module
from benchmarks.result import write_result
from benchmarks.step_cost import time_steps
from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Holdout
from features.vocabulary import FIRST
from training.retrieval.config import RetrievalConfig, TowerConfig
from training.retrieval.learn import Lesson, build_module
from training.retrieval.questions import Questions

HERE: Final = Path(__file__).resolve().parent
PLOT: Final = HERE.parent / "docs" / "images" / "retrieval-scale.svg"
# Items at 100,000 customers, then customers at 100,000 items, then both.
CELLS: Final = (
    (10_000, 100_000),
    (100_000, 100_000),
    (1_000_000, 100_000),
    (100_000, 10_000),
    (100_000, 1_000_000),
    (1_000_000, 1_000_000),
)
MEAN_EVENTS: Final = 10
_QUESTIONS: Final = 512
_PROTOCOL: Final = (
    "Synthetic Zipf histories, about ten events a customer; width 64, default settings without content, one thread, each "
    "cell in a process of its own. `cpu_s` and `wall_s` are of a step (optimiser and averaging included), "
    "`batch_cpu_s` of what lies between two steps, `prepare_cpu_s` of encoding all histories once, `epoch_cpu_s` of "
    "ordering them for an epoch, `validation_cpu_s` of ranking all items for 512 customers, `data_mb` the peak "
    "before there was a model; `ratio` is the step's CPU-seconds over those of the dense rule"
)


def histories(num_items: int, num_users: int, *, seed: int = 0) -> Sequences:
    """Return two events or more a user, items drawn by Zipf's law (the r-th most popular in proportion to 1 / r)."""
    rng = np.random.default_rng(seed)
    lengths = 1 + rng.geometric(1 / (MEAN_EVENTS - 1), num_users)
    share = np.cumsum(1 / np.arange(1, num_items + 1))
    rank = np.searchsorted(share, rng.random(lengths.sum()) * share[-1])
    return Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=FIRST + rng.permutation(num_items)[rank])


def measure(num_items: int, num_users: int, *, num_steps: int, dense: bool) -> dict[str, Any]:
    """Build and train one cell in this process."""
    torch.set_num_threads(1)
    if dense:
        retrieval_module.is_worth_it = lambda *_args, **_kwargs: False
    sequences = histories(num_items, num_users)
    config = dataclasses.replace(RetrievalConfig(), tower=TowerConfig(dim=64, content=False))
    lesson = Lesson(
        fit=sequences,
        validation=None,
        catalog=ItemCatalog.blank(num_items + FIRST),
        candidates=np.arange(FIRST, num_items + FIRST),
        num_price_bands=1,
    )
    started = time.process_time()
    module = build_module(lesson, config, num_steps=num_steps)
    prepared, data_mb = time.process_time(), _peak_mb()
    module.batches.batch(0)
    ordered = time.process_time()
    module.batches.batch(0)
    epoch_cpu_s = (ordered - prepared) - (time.process_time() - ordered)
    timed = time_steps(module)
    step_mb = _peak_mb()
    return {
        "items": num_items,
        "users": num_users,
        "loss": "sampled" if module.batches.sampled else "full",
        "rows": "those met" if getattr(module, "rows", None) is not None else "all",
        "dense": dense,
        "cpu_s": timed["step_cpu_s"],
        "wall_s": timed["step_wall_s"],
        "tokens_per_s": timed["tokens_per_s"],
        "batch_cpu_s": timed["batch_cpu_s"],
        "prepare_cpu_s": prepared - started,
        "epoch_cpu_s": max(epoch_cpu_s, 0.0),
        "data_mb": data_mb,
        "step_mb": step_mb,
        "validation_cpu_s": _validation_seconds(module, sequences, lesson, config),
        "peak_mb": _peak_mb(),
    }


def _validation_seconds(module: Any, sequences: Sequences, lesson: Lesson, config: RetrievalConfig) -> float:
    chosen = np.arange(min(_QUESTIONS, sequences.num_users))
    asked = sequences.take(chosen)
    holdout = Holdout(users=chosen, query=asked.without_last(1), targets=asked.last(1))
    questions = Questions.draw(
        holdout, candidates=torch.from_numpy(lesson.candidates), exclude_seen=False, most=_QUESTIONS, seed=config.seed
    )
    started = time.process_time()
    questions.ndcg_at_10(module.exported)
    return time.process_time() - started


def in_own_process(num_items: int, num_users: int, *, num_steps: int, dense: bool) -> dict[str, Any]:
    """Return what ``measure`` does, from a process that did nothing else."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cell.json"
        cell = ["--cell", num_items, num_users, "--steps", num_steps, "--json", path, *(["--dense"] if dense else [])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, __file__, *map(str, cell)], check=True, env=environment)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    print(json.dumps(found), flush=True)
    return found


def rows_of(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row a cell; a cell that visits only rows met is set beside the same by the dense rule."""
    dense = {(cell["items"], cell["users"]): cell for cell in cells if cell["dense"]}
    rows = []
    for cell in cells:
        other = dense.get((cell["items"], cell["users"]))
        metrics = {key: value for key, value in cell.items() if key not in ("loss", "rows", "dense")}
        if other is not None and not cell["dense"]:
            metrics["ratio"] = cell["cpu_s"] / other["cpu_s"]
        rows.append(
            {
                "model": "dense Adam" if cell["dense"] else "footfall",
                "metrics": metrics,
                "interval": {},
                "per_seed": {},
                "fit_cpu_s": None,
                "fit_wall_s": None,
                "peak_mb": cell["peak_mb"],
                "config": {key: cell[key] for key in ("items", "users", "loss", "rows")},
                "note": f"{cell['loss']} softmax; the optimiser visits {cell['rows']} rows",
            }
        )
    return rows


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Draw a step's time and the peak memory over items and over customers, ours and by the dense rule."""
    import matplotlib as mpl  # noqa: PLC0415 - a cell's memory must not hold it
    from matplotlib.figure import Figure  # noqa: PLC0415

    series = {"footfall": ("#D55E00", "o"), "dense Adam": ("#0072B2", "s")}
    sweeps = {"items": ("users", "items in the catalogue"), "users": ("items", "customers")}
    kept = {"svg.fonttype": "none", "svg.hashsalt": "footfall", "font.size": 10, "axes.grid": True}
    with mpl.rc_context(kept | {"axes.spines.top": False, "axes.spines.right": False, "grid.color": "#dddddd"}):
        figure = Figure(figsize=(7.5, 5.5), layout="constrained")
        axes = figure.subplots(2, 2, sharey="row")
        for column, (sweep, (fixed, words)) in enumerate(sweeps.items()):
            for name, (color, marker) in series.items():
                chosen = _sweep(cells, sweep, fixed, dense=name != "footfall")
                at = [cell[sweep] for cell in chosen]
                for row, key in enumerate(("cpu_s", "peak_mb")):
                    values = [cell[key] * (1000 if key == "cpu_s" else 1) for cell in chosen]
                    axes[row, column].plot(at, values, color=color, marker=marker, label=name)
            axes[1, column].set_xlabel(words)
        for axis in axes.flat:
            axis.set(xscale="log", yscale="log")
        axes[0, 0].set_ylabel("CPU-ms a step")
        axes[1, 0].set_ylabel("peak memory, MB")
        axes[0, 0].legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _sweep(cells: list[dict[str, Any]], sweep: str, fixed: str, *, dense: bool) -> list[dict[str, Any]]:
    """Return the cells along one axis, the other at 100,000: as they are trained, or with the dense rule forced."""
    chosen = [cell for cell in cells if cell[fixed] == 100_000 and cell["dense"] == dense]
    return sorted(chosen, key=lambda cell: cell[sweep])


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    args = arguments()
    if args.cell:
        found = measure(*args.cell, num_steps=args.steps, dense=args.dense)
        args.json.write_text(json.dumps(found), encoding="utf-8")
        return
    cells = []
    for items, users in args.cells or CELLS:
        cells.append(in_own_process(items, users, num_steps=args.steps, dense=False))
        if cells[-1]["rows"] != "all":
            cells.append(in_own_process(items, users, num_steps=args.steps, dense=True))
    if args.plot:
        draw(cells, args.plot)
    if args.json:
        write_result(
            args.json,
            benchmark="retrieval scale",
            data="synthetic histories",
            protocol=_PROTOCOL,
            seeds=[0],
            results=rows_of(cells),
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, nargs="?", const=PLOT, help=f"an SVG; docs/images/{PLOT.name} by default")
    parser.add_argument("--steps", type=int, default=24, help="timed in each cell, the first three left out")
    parser.add_argument("--cells", type=_pair, nargs="+", metavar="ITEMSxUSERS", help="other cells than the table's")
    parser.add_argument("--cell", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--dense", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _pair(text: str) -> tuple[int, int]:
    items, users = text.split("x")
    return int(items), int(users)


if __name__ == "__main__":
    main()
