"""The long commands that ``benchmarks/kills.py`` kills: what each starts from, its words, and what has to come out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
import pyarrow.parquet as pq

from features.files import sha256_of_file

# What is there before a command is started: name in the prepared directory -> name where the command runs.
Start = Mapping[str, str]
Outcome = dict[str, str]  # what has to be the same -> digest or value

_SMALL: Final = (
    *("--model.tower.dim=32", "--model.tower.max_length=30", "--model.schedule.max_epochs=4"),
    *("--model.schedule.checkpoint_steps=20", "--model.schedule.patience=99", "--model.schedule.threads=1"),
    *("--model.schedule.batch_tokens=2048",),
)
_SMALL_DEMAND: Final = (
    *("--model.max_steps=200", "--model.validate_every_steps=40", "--model.checkpoint_every_steps=20"),
    *("--model.hidden_size=16", "--model.validation_windows=2", "--model.test_windows=2", "--model.horizon=7"),
    *("--model.num_members=1", "--model.num_threads=1", "--model.context_length=28", "--model.boosted_trees=never"),
)
_TOOK: Final = re.compile(r"\.seconds$|\.cost\.|created_at$")  # leaves that tell times; some agree by chance
FEATURES: Final = ("--engine.threads=1", "--panel.min_purchases=5", "--panel.horizon=7")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One long command.

    Args:
        words: after ``footfall``; the data shop is ``data``, features ``features``, the store ``store``.
        start: what it finds.
        outcome: what of the directory it ran in has to be the same.
        says: what a rerun says of what it goes on with, as a pattern of its log.
        compared: in words.
        already: what it says, as a pattern, where the killed process had done all of it and it may not be done twice.
    """

    words: tuple[str, ...]
    start: Start
    outcome: Callable[[Path], Outcome]
    says: str = ""
    compared: str
    already: str = ""


def files_of(*names: str) -> Callable[[Path], Outcome]:
    """Digest all files in some directories."""

    def outcome(work: Path) -> Outcome:
        paths = [path for name in names for path in sorted((work / name).rglob("*")) if path.is_file()]
        return {path.relative_to(work).as_posix(): sha256_of_file(path) for path in paths}

    return outcome


def _features(work: Path) -> Outcome:
    about = json.loads((work / "features" / "manifest.json").read_text())
    return dict(leaves({name: about[name] for name in ("files", "fingerprint", "counts", "refresh")}))


def _part(kind: str) -> Callable[[Path], Outcome]:
    def outcome(work: Path) -> Outcome:
        # One, unless the kill came between a training's end and its process's: then the rerun is another training.
        *_, path = sorted((work / "store" / "parts" / kind).glob("*/manifest.json"))
        about = json.loads(path.read_text())
        return dict(leaves({name: about[name] for name in ("files", "metrics")}))

    return outcome


def _study(work: Path) -> Outcome:
    (database,) = (work / "store" / "tuning").glob("*.db")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{database}")
    trials = {str(trial.number): {"value": trial.value, **trial.params} for trial in study.get_trials(deepcopy=False)}
    return dict(leaves(trials)) | files_of("store/tuning/retrieval/best.yaml")(work)


def _report(work: Path) -> Outcome:
    (path,) = (work / "store" / "runs").glob("*/report/retrieval.json")
    values = dict(leaves(json.loads(path.read_text())))
    return {name: value for name, value in values.items() if not _TOOK.search(name)}


def _lists(work: Path) -> Outcome:
    tables = {path.name: pq.read_table(path) for path in sorted((work / "lists").glob("part-*.parquet"))}
    return {name: hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest() for name, table in tables.items()}


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is in nested JSON under dotted names.

    >>> dict(leaves({"a": [{"b": 1.5}]}))
    {'a.0.b': '1.5'}
    """
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield name, json.dumps(value)
        return
    for key, part in inside:
        yield from leaves(part, f"{name}.{key}" if name else str(key))


def commands(*, users: int, items: int, days: int) -> dict[str, Command]:
    """Return the commands by name, for a shop of some size."""
    shop = (f"--users={users}", f"--items={items}", f"--days={days}", "--seed=0")
    log: Start = {"data": "data"}
    built = {"features": "features"}
    trained = built | {"store": "store"}
    return {
        "features, anew": Command(
            words=("features", "data", "features", *FEATURES),
            start=log,
            outcome=_features,
            says=r"goes on at [\w ]+; stages before it took [\d.]+ s",
            compared="sha256 of every file, fingerprint, counts",
        ),
        "features, by day": Command(
            words=("features", "data", "features", *FEATURES),
            start=log | {"features_before": "features"},
            outcome=_features,
            says=r"goes on at [\w ]+; stages before it took [\d.]+ s",
            compared="sha256 of every file, fingerprint, counts",
        ),
        "train retrieval": Command(
            words=("train", "retrieval", "features", "store", *_SMALL),
            start=built,
            outcome=_part("retrieval"),
            says=r"was cut off with the same settings|from step [1-9]\d* to at most",
            compared="sha256 of every file of the newest part, its metrics",
        ),
        "train demand": Command(
            words=("train", "demand", "features", "store", *_SMALL_DEMAND),
            start=built,
            outcome=_part("demand"),
            says=r"was cut off with the same settings|training on periods before \d+, resumed",
            compared="sha256 of every file of the newest part, its metrics",
        ),
        "tune retrieval": Command(
            words=("tune", "retrieval", "features", "store", "--trials=4", *_SMALL),
            start=built,
            outcome=_study,
            says=r"from step [1-9]\d* to at most|trial \d+, \d+ of \d+",
            compared="settings and score of every trial, sha256 of best.yaml",
        ),
        "evaluate retrieval": Command(
            words=("evaluate", "retrieval", "features", "store"),
            start=trained,
            outcome=_report,
            says=r"evaluation: goes on, \d+ answers",
            compared="every value of the report but times",
        ),
        "data synth": Command(
            words=("data", "synth", "data", *shop),
            start={},
            outcome=files_of("data"),
            compared="sha256 of every file",
            already="exists already",
        ),
        "data import": Command(
            words=("data", "import", "files", "imported", "--mapping=files/mapping.yaml", "--engine.threads=1"),
            start={"files": "files"},
            outcome=files_of("imported"),
            compared="sha256 of every file",
            already="exists already",
        ),
        "recommend": Command(
            words=("recommend", "store", "--out=lists", "--workers=1", f"--shard_users={max(1, users // 20)}"),
            start={"store": "store"},
            outcome=_lists,
            says=r"\d+ of them stand|all \d+ parts stand already",
            compared="every row of every file of lists",
        ),
    }


def training_words() -> list[tuple[str, ...]]:
    """Return the commands that make the store which evaluations and lists start from."""
    return [
        ("train", "retrieval", "features", "store", *_SMALL),
        ("train", "demand", "features", "store", *_SMALL_DEMAND),
        ("promote", "store", "--features=features", "--force"),
    ]
