"""What each choice of the two-tower is worth: one thing changed at a time, on validation alone.

    python benchmarks/ablations.py FILE --json OUT
    python benchmarks/ablations.py FILE --json OUT --only "HSTU blocks" --extend OUT

FILE is as ``benchmarks/sequence_file.py`` reads it. The reference is one member of what ``benchmarks/retrieval.py``
trains, with plain attention for nine epochs; every other row differs from it as its name says, from the same seed, and is
stopped by the same rule. All users are asked for their validation item; differences are paired over users. The test item is
never looked at. OUT is written anew after every row.

With ``--extend`` the rows of an earlier result are kept, each with the revision that measured it. That is honest only
while they differ from the same reference, so the reference is measured again and must come out the same to the last
digit.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.mixers import FrequencyBlock, HSTUBlock, RecurrentBlock, with_blocks
from benchmarks.result import write_result
from benchmarks.retrieval import config_for
from benchmarks.sequence_file import Problem, read
from features.vocabulary import FIRST
from training.evaluation.bootstrap import mean_interval, paired_difference
from training.evaluation.metrics import RelevantItems, user_metrics
from training.retrieval.config import RetrievalConfig
from training.retrieval.ensemble import TowerEnsemble, Towers
from training.retrieval.learn import Build, Lesson, build_module, learn, member_configs
from training.retrieval.recommender import TwoTowerRecommender
from training.retrieval.towers import GatedBlock

REFERENCE: Final = "reference"
KEYS: Final = ("recall@10", "ndcg@10")
Values = dict[str, np.ndarray]


def reference_config(problem: Problem, *, seed: int) -> RetrievalConfig:
    """Return what every row differs from: the rule's choice before two of the rows here had become part of it."""
    config = changed("tower", mixer="attention")(config_for(problem, seed=seed, members=1))
    config = changed("loss", label_smoothing=0.0)(config)
    return changed("schedule", max_epochs=9)(config)


def changed(part: str, **values: Any) -> Callable[[RetrievalConfig], RetrievalConfig]:
    """Return a function that replaces settings of one part of a configuration; of itself where ``part`` is empty."""

    def change(config: RetrievalConfig) -> RetrievalConfig:
        if not part:
            return dataclasses.replace(config, **values)
        return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **values)})

    return change


@dataclass(frozen=True)
class Variant:
    """How a row differs from the reference.

    Args:
        change: of the configuration.
        builds: what makes the towers that learn; several make an ensemble, each one member.
    """

    change: Callable[[RetrievalConfig], RetrievalConfig] = field(default_factory=lambda: changed(""))
    builds: tuple[Build, ...] = (build_module,)


_BLOCKS: Final[dict[str, Build]] = {
    "LiGR": with_blocks(GatedBlock),
    "HSTU": with_blocks(HSTUBlock),
    "frequency": with_blocks(FrequencyBlock),
    "recurrence": with_blocks(RecurrentBlock),
}


def _ligr_smoothed(share: float) -> Callable[[RetrievalConfig], RetrievalConfig]:
    """Return a function that takes LiGR's blocks and smooths the labels."""

    def change(config: RetrievalConfig) -> RetrievalConfig:
        return changed("loss", label_smoothing=share)(changed("tower", mixer="ligr")(config))

    return change


VARIANTS: Final[dict[str, Variant]] = (
    {
        REFERENCE: Variant(),
        "LiGR blocks": Variant(changed("tower", mixer="ligr")),
        "HSTU blocks": Variant(builds=(_BLOCKS["HSTU"],)),
        "BSARec-style frequency mixer (causal)": Variant(builds=(_BLOCKS["frequency"],)),
        "gated linear recurrence (LRURec)": Variant(builds=(_BLOCKS["recurrence"],)),
        "label smoothing 0.1": Variant(changed("loss", label_smoothing=0.1)),
        "no item content": Variant(changed("tower", content=False)),
        "no neighbours": Variant(changed("loss", neighbour_share=0.0)),
        "half the share to neighbours": Variant(changed("loss", neighbour_share=0.1)),
        "twice the share to neighbours": Variant(changed("loss", neighbour_share=0.4)),
        "50 neighbours": Variant(changed("loss", num_neighbours=50)),
        "width 64": Variant(changed("tower", dim=64)),
        "two blocks": Variant(changed("tower", num_layers=2)),
        "dropout 0.2": Variant(changed("tower", dropout=0.2)),
        "dropout 0.6": Variant(changed("tower", dropout=0.6)),
        "id dropout 0.2": Variant(changed("tower", id_dropout=0.2)),
        "temperature 0.05": Variant(changed("loss", temperature=0.05)),
        "temperature 0.1": Variant(changed("loss", temperature=0.1)),
        "sampled softmax, 2,048 mixed negatives": Variant(
            changed("loss", kind="sampled", num_negatives=2048, neighbour_share=0.0)
        ),
        "sampled softmax, in-batch alone": Variant(
            changed("loss", kind="sampled", num_negatives=1024, in_batch_share=0.999, neighbour_share=0.0)
        ),
        "a target out of the next 3": Variant(changed("loss", horizon=3)),
        "no weight averaging": Variant(changed("schedule", ema_decay=0.0)),
        "4,096 positions a step, twice the rate": Variant(changed("schedule", batch_tokens=4096, learning_rate=2e-3)),
        "ensemble of two": Variant(changed("", num_members=2)),
        "ensemble of two, one plain": Variant(changed("", num_members=2, num_plain_members=1)),
        "ensemble of three": Variant(changed("", num_members=3)),
        "ensemble of three, one plain": Variant(changed("", num_members=3, num_plain_members=1)),
    }
    | {f"LiGR blocks, label smoothing {share}": Variant(_ligr_smoothed(share)) for share in (0.1, 0.2, 0.3, 0.4, 0.5)}
    | {
        f"ensemble of two, one {name}": Variant(changed("", num_members=2), builds=(build_module, build))
        for name, build in _BLOCKS.items()
    }
)


def measure(path: Path, name: str, seed: int) -> dict[str, Any]:
    """Train one variant and return its metrics a user, and its cost."""
    problem = read(path)
    config = VARIANTS[name].change(reference_config(problem, seed=seed))
    cpu = time.process_time()
    towers, steps = trained(_lesson(problem), config, VARIANTS[name].builds)
    cpu_s = time.process_time() - cpu
    recommender = TwoTowerRecommender.from_towers(towers, _lesson(problem).candidates)
    answers = recommender.recommend(problem.split.validation.query, k=10, exclude_seen=True)
    values = user_metrics(answers, RelevantItems.of(problem.split.validation.targets))
    print(name, {key: round(float(values[key].mean()), 4) for key in KEYS}, f"{cpu_s:.0f} CPU-s", flush=True)
    return {
        "values": {key: values[key] for key in KEYS},
        "cpu_s": cpu_s,
        "steps": steps,
        "config": dataclasses.asdict(config),
    }


def trained(lesson: Lesson, config: RetrievalConfig, builds: tuple[Build, ...]) -> tuple[Towers, int]:
    """Return trained towers and their steps; with several builds, an ensemble of one member by each."""
    members = [config] if len(builds) == 1 else member_configs(config)
    learned = []
    for member, build in zip(members, builds, strict=True):
        with tempfile.TemporaryDirectory() as directory:
            learned.append(learn(lesson, member, Path(directory), build=build))
    if len(learned) == 1:
        return learned[0].towers, learned[0].steps
    return TowerEnsemble([one.towers for one in learned]), round(float(np.mean([one.steps for one in learned])))


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


def kept_rows(path: Path, reference: dict[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of an earlier result that are not measured again, each marked with its revision.

    Args:
        path: of the result.
        reference: the reference's row, measured now.
        names: what is measured now.

    Raises:
        SystemExit: the reference is not the one that those rows differ from.
    """
    earlier = json.loads(path.read_text(encoding="utf-8"))
    before = next(row for row in earlier["results"] if row["model"] == REFERENCE)
    if reference["metrics"] != before["metrics"]:
        raise SystemExit(
            f"{path}: expected the reference {before['metrics']}, found {reference['metrics']}; "
            "measure all rows anew, without --extend."
        )
    return [{"git": earlier["git"], **row} for row in earlier["results"] if row["model"] not in names]


def write(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Write the rows in the order of ``VARIANTS``."""
    order = list(VARIANTS)
    write_result(
        args.json,
        benchmark="retrieval ablations",
        data=args.file.name,
        protocol="leave-one-out, strict; metrics of the validation item; differences are the reference less the row",
        seeds=[args.seed],
        results=sorted(rows, key=lambda row: order.index(row["model"])),
    )


def main() -> None:
    args = arguments()
    names = [REFERENCE, *(name for name in args.only or VARIANTS if name != REFERENCE)]
    rows: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        futures = {REFERENCE: pool.submit(measure, args.file, REFERENCE, args.seed)}
        if args.extend:
            reference = futures[REFERENCE].result()
            rows += kept_rows(args.extend, row_of(REFERENCE, reference, reference), names)
        futures |= {name: pool.submit(measure, args.file, name, args.seed) for name in names[1:]}
        for name, future in futures.items():
            rows.append(row_of(name, future.result(), futures[REFERENCE].result()))
            if args.json:
                write(args, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="these rows beside the reference")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="variants at a time, a process and a thread each")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--extend", type=Path, help="an earlier result, whose other rows are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
