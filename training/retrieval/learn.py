"""Learn towers from one fit part: the loop that ``train_retrieval`` and the benchmark share."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from features.catalog import ItemCatalog
from features.content import ItemContent
from features.files import read_json
from features.sequences import Sequences
from features.splits import Holdout
from training.allocator import keep_freed_memory
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.batches import TrainingBatches
from training.retrieval.candidates import competing_items
from training.retrieval.config import RetrievalConfig
from training.retrieval.ensemble import TowerEnsemble, Towers
from training.retrieval.module import RetrievalModule
from training.retrieval.neighbours import Neighbours
from training.retrieval.questions import Questions
from training.retrieval.running import DONE_FILE, WEIGHTS_FILE, most_steps, run
from training.retrieval.towers import TwoTower

Ints = npt.NDArray[np.integer]
Build = Callable[..., RetrievalModule]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What towers learn from, and on what they are validated.

    Args:
        fit: sequences of all users, what lies behind the cut-off left out.
        validation: questions of known answer; ``None`` for a refit, which runs a fixed number of steps.
        catalog: attributes by item code.
        candidates: item codes that can be recommended.
        num_price_bands: of the shop.
        ranks: that learn together; ``fit`` and ``validation`` are of this rank's users, the rest is the same on all.
    """

    fit: Sequences
    validation: Holdout | None
    catalog: ItemCatalog
    candidates: Ints
    num_price_bands: int
    ranks: Ranks = ALONE


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """Trained towers and how they came about.

    Args:
        towers: in evaluation mode.
        steps: that the weights have seen; the mean over the members of an ensemble.
        member_steps: of each member; of the one tower where there is no ensemble.
        score: validation NDCG@10; 0 in a refit.
        seconds: wall time, of the last resumption alone where there was one.
        positions_per_second: real positions learned from a second by all ranks; 0 where what was done was only read.
    """

    towers: Towers
    steps: int
    member_steps: tuple[int, ...]
    score: float
    seconds: float
    positions_per_second: float


def learn(
    lesson: Lesson,
    config: RetrievalConfig,
    directory: Path,
    *,
    num_steps: int | Sequence[int] = 0,
    tracker: Any = False,
    callbacks: Sequence[pl.Callback] = (),
    build: Build | None = None,
) -> Learned:
    """Train in ``directory``, going on from its checkpoint where one is there.

    The members of an ensemble are trained one after another, each in a directory of its own; the tracker and the
    callbacks follow the first.

    Args:
        lesson: what to learn from.
        config: how.
        directory: holds checkpoint and weights; a finished one is only read.
        num_steps: exactly so many, of every member or of each, without validation; 0 for early stopping.
        tracker: a Lightning logger, or ``False``.
        callbacks: told of every validation, after its score is kept.
        build: makes what learns, as ``build_module`` does, where an experiment puts something else in its place.
    """
    keep_freed_memory()
    steps = [num_steps] * config.num_members if isinstance(num_steps, int) else list(num_steps)
    if config.num_members == 1:
        return _learn_one(
            lesson, config, directory, num_steps=steps[0], tracker=tracker, callbacks=callbacks, build=build
        )
    learned = []
    for number, (member, member_steps) in enumerate(zip(member_configs(config), steps, strict=True)):
        logger.info("member %d of %d", number + 1, config.num_members)
        first = number == 0
        learned.append(
            _learn_one(
                lesson,
                member,
                directory / f"member-{number}",
                num_steps=member_steps,
                tracker=tracker if first else False,
                callbacks=callbacks if first else (),
                build=build,
            )
        )
    return _joined(learned, lesson, config)


def member_configs(config: RetrievalConfig) -> list[RetrievalConfig]:
    """Return the configuration of each member, the first with the ensemble's own seed, the plain ones last."""
    drawn = np.random.SeedSequence(config.seed).generate_state(config.num_members)
    seeds = [config.seed, *(int(seed) for seed in drawn[1:])]
    members = [dataclasses.replace(config, seed=seed, num_members=1, num_plain_members=0) for seed in seeds]
    num_full = config.num_members - config.num_plain_members
    return members[:num_full] + [_plain(member) for member in members[num_full:]]


def _plain(config: RetrievalConfig) -> RetrievalConfig:
    """Return the same without item content and without neighbours."""
    tower = dataclasses.replace(config.tower, content=False)
    return dataclasses.replace(config, tower=tower, loss=dataclasses.replace(config.loss, neighbour_share=0.0))


def _joined(learned: Sequence[_LearnedOne], lesson: Lesson, config: RetrievalConfig) -> Learned:
    """Return the members as one, with the validation score that they have together."""
    ensemble = TowerEnsemble([one.towers for one in learned])
    questions = _questions(lesson, config)
    seconds = sum(one.seconds for one in learned)
    positions = sum(one.positions_per_second * one.seconds for one in learned)
    return Learned(
        towers=ensemble,
        steps=round(sum(one.steps for one in learned) / len(learned)),
        member_steps=tuple(one.steps for one in learned),
        score=questions.ndcg_at_10(ensemble) if questions is not None and learned[0].score else 0.0,
        seconds=seconds,
        positions_per_second=positions / max(seconds, 1e-9),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _LearnedOne(Learned):
    """One member."""

    towers: TwoTower


def _learn_one(
    lesson: Lesson,
    config: RetrievalConfig,
    directory: Path,
    *,
    num_steps: int,
    tracker: Any,
    callbacks: Sequence[pl.Callback],
    build: Build | None,
) -> _LearnedOne:
    directory.mkdir(parents=True, exist_ok=True)
    pl.seed_everything(config.seed, verbose=False)
    torch.set_num_threads(config.schedule.threads)
    module = (build or build_module)(lesson, config, num_steps=num_steps)
    started, ranks = time.perf_counter(), lesson.ranks
    finished = ranks.told((directory / DONE_FILE).exists())
    first_step = 0 if finished else run(module, directory, tracker, callbacks)
    seconds = time.perf_counter() - started
    done = ranks.told(read_json(directory / DONE_FILE) if ranks.is_first else None)
    towers = module.towers
    if ranks.is_first:
        towers.load_state_dict(safetensors.torch.load_file(directory / WEIGHTS_FILE))
    ranks.share(towers.state_dict().values())
    towers.eval()
    num_steps_run = 0 if finished else done["last_step"] - first_step
    positions = num_steps_run * module.batches.num_positions / module.batches.steps_per_epoch
    return _LearnedOne(
        towers=towers,
        steps=done["steps"],
        member_steps=(done["steps"],),
        score=done["score"],
        seconds=seconds,
        positions_per_second=positions / max(seconds, 1e-9),
    )


def build_module(lesson: Lesson, config: RetrievalConfig, *, num_steps: int = 0) -> RetrievalModule:
    """Return untrained towers with their batches and questions; ``num_steps`` as in ``learn``."""
    tower, schedule = config.tower, config.schedule
    num_codes = len(lesson.catalog)
    known = lesson.ranks.sum(np.bincount(lesson.fit.item, minlength=num_codes)) > 0
    batches = TrainingBatches.from_sequences(
        lesson.fit,
        candidates=competing_items(lesson.candidates, known),
        num_codes=num_codes,
        max_length=tower.max_length,
        batch_tokens=schedule.batch_tokens,
        loss=config.loss,
        seed=config.seed,
        ranks=lesson.ranks,
    )
    questions = None if num_steps else _questions(lesson, config)
    neighbours = None
    for name in ("neighbour_share", "label_smoothing"):
        if getattr(config.loss, name) and batches.sampled:
            logger.warning("loss.%s counts only where all candidates compete; it is left out", name)
    if config.loss.neighbour_share and not batches.sampled:
        neighbours = Neighbours.fit(
            lesson.fit,
            candidates=batches.candidates,
            num_codes=num_codes,
            most=config.loss.num_neighbours,
            decay=config.loss.neighbour_decay,
            ranks=lesson.ranks,
        )
    towers = TwoTower(
        tower,
        known=torch.from_numpy(known),
        num_price_bands=lesson.num_price_bands,
        content=_content(lesson.catalog, config),
    )
    steps = num_steps or most_steps(batches, config)
    return RetrievalModule(towers, batches, questions, config, num_steps=steps, neighbours=neighbours)


def _questions(lesson: Lesson, config: RetrievalConfig) -> Questions | None:
    if lesson.validation is None:
        return None
    return Questions.draw(
        lesson.validation,
        candidates=torch.from_numpy(np.asarray(lesson.candidates, np.int64)),
        exclude_seen=config.exclude_seen,
        most=config.schedule.validation_users,
        seed=config.seed,
        ranks=lesson.ranks,
    )


def _content(catalog: ItemCatalog, config: RetrievalConfig) -> ItemContent | None:
    """A catalogue that knows nothing is no content, whatever the setting says."""
    speaks = any((text != "").any() for text in (catalog.title, catalog.category, catalog.brand, catalog.labels))
    if not (config.tower.content and speaks):
        return None
    return ItemContent.from_catalog(catalog, num_title_buckets=config.tower.num_title_buckets)
