"""A vector for each kind of event asked for, view, cart or purchase, beside one vector for all: on a synthetic shop.

    python benchmarks/event_heads.py synthetic --users 5000 --items 1000 --days 180 --seeds 0 1 --work DIR --json OUT

As it is, the two-tower answers one question, what comes next, and ``loss.event_weights`` says how much each kind of event
counts in it. Here the last state of the user tower, before its final norm, is told the kind of the event that is asked for, in
training that of the drawn target and in validation a purchase: by an embedding that is added, or by a linear map a kind.
Metrics are of the purchases in the validation window that are new to their customers; the test window is never looked at.
Differences are the reference less the row, paired over customers, seeds averaged first.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.mixers import rebuilt
from benchmarks.result import write_result
from benchmarks.shop import describe, parser_of, write_data
from features.build import FeatureSet, build_features
from features.columns import EVENT_TYPE_CODES, PURCHASE, VIEW
from features.settings import EngineSettings
from training.evaluation.bootstrap import mean_interval, paired_difference
from training.evaluation.metrics import RelevantItems, user_metrics
from training.retrieval.batches import Batch, PackedHistories, TrainingBatches, pack
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Build, Lesson, build_module, learn
from training.retrieval.lessons import lesson_of, split_for
from training.retrieval.module import RetrievalModule
from training.retrieval.questions import Questions
from training.retrieval.recommender import TwoTowerRecommender
from training.retrieval.towers import UserTower

REFERENCE: Final = "one vector, views at 0.5"
KEYS: Final = ("recall@10", "ndcg@10")
_NUM_KINDS: Final = max(EVENT_TYPE_CODES.values()) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedHistories(PackedHistories):
    """Histories, and the kind of event asked for at each position, int64 ``[M]``."""

    asked: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedBatches(TrainingBatches):
    """The same batches, whose histories say the kind of each position's target."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; its targets are drawn again from the same seed for their kind."""
        batch = super().batch(step)
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        _, source = pack(self.history, *self._histories(epoch, *self._span(epoch, step_of_epoch)))
        target_at = self._targets_of(source, np.random.default_rng([self.seed, epoch, step_of_epoch]))
        assert (self.history.item[target_at] == batch.target.numpy()).all()
        asked = torch.from_numpy(self.history.event_type[target_at].astype(np.int64))
        histories = AskedHistories(**_fields(batch.histories), asked=asked)
        return dataclasses.replace(batch, histories=histories)


class AskedNorm(nn.Module):
    """The user tower's final norm, told the kind that is asked for.

    Args:
        norm: as it was.
        tell: states ``[M, D]`` and kinds ``[M]`` to states ``[M, D]``.
    """

    def __init__(self, norm: nn.Module, tell: nn.Module) -> None:
        super().__init__()
        self.norm, self.tell = norm, tell
        self.asked: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[M, D]``; a purchase is asked for where nothing else is."""
        asked = torch.full((len(x),), EVENT_TYPE_CODES[PURCHASE]) if self.asked is None else self.asked
        out: Tensor = self.norm(self.tell(x, asked))
        return out


class AddedKind(nn.Module):
    """An embedding a kind, added; nothing at first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(_NUM_KINDS, dim))

    def forward(self, x: Tensor, asked: Tensor) -> Tensor:
        """Return ``[M, D]``."""
        return x + F.embedding(asked, self.table)


class HeadPerKind(nn.Module):
    """A linear map a kind, beside the identity; nothing at first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.zeros(_NUM_KINDS, dim, dim))

    def forward(self, x: Tensor, asked: Tensor) -> Tensor:
        """Return ``[M, D]``; each kind is multiplied over its own rows alone."""
        out = x
        for kind in asked.unique().tolist():
            rows = (asked == kind).nonzero().squeeze(1)
            out = out.index_add(0, rows, x[rows] @ self.maps[kind])
        return out


class AskedUsers(nn.Module):
    """A user tower whose final norm is told what its histories ask for."""

    def __init__(self, users: UserTower, tell: nn.Module) -> None:
        super().__init__()
        self.users = users
        self.users.output_norm = AskedNorm(users.output_norm, tell)  # type: ignore[assignment]

    @property
    def blocks(self) -> nn.ModuleList:
        """Of the user tower."""
        return self.users.blocks

    def forward(self, item_vecs: Tensor, histories: PackedHistories) -> Tensor:
        """Return unit vectors ``[M, D]``."""
        norm = self.users.output_norm
        norm.asked = getattr(histories, "asked", None)
        vecs: Tensor = self.users(item_vecs, histories)
        norm.asked = None
        return vecs


def asking(make_tell: Callable[[int], nn.Module]) -> Build:
    """Return how to build a module whose user tower is told the kind asked for."""

    def build(lesson: Lesson, config: RetrievalConfig, **options: Any) -> RetrievalModule:
        module = build_module(lesson, config, **options)
        module.towers.users = AskedUsers(module.towers.users, make_tell(config.tower.dim))
        module.batches = AskedBatches(**_fields(module.batches))
        return rebuilt(module)

    return build


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


VARIANTS: Final[dict[str, tuple[Build, float]]] = {
    REFERENCE: (build_module, 0.5),
    "one vector, views at 0.1": (build_module, 0.1),
    "one vector, views at 1": (build_module, 1.0),
    "kind added, views at 0.5": (asking(AddedKind), 0.5),
    "kind added, views at 1": (asking(AddedKind), 1.0),
    "a head a kind, views at 0.5": (asking(HeadPerKind), 0.5),
    "a head a kind, views at 1": (asking(HeadPerKind), 1.0),
}


def measure(feature_set: FeatureSet, name: str, seed: int) -> dict[str, Any]:
    """Train one variant; return its metrics a customer, and its CPU-seconds."""
    build, view_weight = VARIANTS[name]
    config = RetrievalConfig(seed=seed)
    weights = config.loss.event_weights | {VIEW: view_weight}
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, event_weights=weights))
    split = split_for(feature_set.sequences, config)
    assert split.cutoffs_us is not None
    lesson = lesson_of(feature_set, split.fit, as_of_us=split.cutoffs_us[0], config=config, split=split)
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as directory:
        learned = learn(lesson, config, Path(directory), build=build)
    cpu_s = time.process_time() - cpu
    asked = Questions.draw(
        split.validation,
        candidates=torch.from_numpy(lesson.candidates),
        exclude_seen=True,
        most=split.validation.num_users,
        seed=0,
    ).holdout
    recommender = TwoTowerRecommender.from_towers(learned.towers, lesson.candidates)
    values = user_metrics(recommender.recommend(asked.query, k=10, exclude_seen=True), RelevantItems.of(asked.targets))
    print(name, seed, {key: round(float(values[key].mean()), 4) for key in KEYS}, f"{cpu_s:.0f} CPU-s", flush=True)
    return {"values": values, "cpu_s": cpu_s, "steps": learned.steps, "config": dataclasses.asdict(config)}


def row_of(name: str, runs: list[dict[str, Any]], reference: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a result row over the seeds."""
    mean = {key: np.mean([run["values"][key] for run in runs], axis=0) for key in KEYS}
    row = {
        "model": name,
        "metrics": {key: float(mean[key].mean()) for key in KEYS},
        "interval": {key: [(i := mean_interval(mean[key])).low, i.high] for key in KEYS},
        "per_seed": {key: [float(run["values"][key].mean()) for run in runs] for key in KEYS},
        "fit_cpu_s": float(np.mean([run["cpu_s"] for run in runs])),
        "config": runs[0]["config"],
        "note": f"{len(mean[KEYS[0]])} customers; {', '.join(str(run['steps']) for run in runs)} steps",
    }
    if name != REFERENCE:
        base = {key: np.mean([run["values"][key] for run in reference], axis=0) for key in KEYS}
        row["difference"] = {key: dataclasses.asdict(paired_difference(base[key], mean[key])) for key in KEYS}
    return row


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the models")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="these rows beside the reference")
    arguments: argparse.Namespace = parser.parse_args()
    work: Path = arguments.work
    if not (work / "data").exists():
        write_data(arguments)
    if not (work / "features").exists():
        build_features(work / "data", work / "features", engine=EngineSettings(threads=1))
    feature_set = FeatureSet.load(work / "features")
    names = [REFERENCE, *(name for name in arguments.only or VARIANTS if name != REFERENCE)]
    runs: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        runs[name] = [measure(feature_set, name, seed) for seed in arguments.seeds]
        write_result(
            arguments.json,
            benchmark="event heads",
            data=describe(arguments),
            protocol="Global temporal; purchases of the validation window; differences are the reference less the row",
            seeds=arguments.seeds,
            results=[row_of(done, runs[done], runs[REFERENCE]) for done in runs],
        )


if __name__ == "__main__":
    main()
