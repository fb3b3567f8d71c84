"""Train the two-tower from a feature directory: learn, export for the test, learn again from all, export.

Users on the store's erasure list teach nothing; windows stay where the whole log puts them, so that
an evaluation finds the same ones. With several ranks each learns from users of its own; the first one tracks, exports
and writes, while the others wait.

store/runs/<run id>/
config.json      what the run was started with
fit/             checkpoint, best weights, done.json
evaluated/       a store with one part: learned before the test window, for evaluation only
refit/           the same as fit/, from all data, for the steps found
result.json      what ``train_retrieval`` returns
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import time
from pathlib import Path
from typing import Any, Final

from features.build import FeatureSet
from features.errors import ConfigError
from features.files import read_json, write_json
from features.release import ReleaseStore
from training.parallel.launching import run_on_ranks
from training.parallel.ranks import Ranks
from training.resuming import check_same_settings, run_to_resume, tracked_training
from training.retrieval.config import RetrievalConfig
from training.retrieval.lessons import remembered
from training.retrieval.stages import Exports, Windows, train_in_stages

EXPERIMENT: Final = "footfall-retrieval"
CONFIG_FILE: Final = "config.json"
RESULT_FILE: Final = "result.json"

logger = logging.getLogger(__name__)


def train_retrieval(
    features: Path, store: Path, config: RetrievalConfig, *, resume: str | None = None
) -> dict[str, Any]:
    """Train, export and track a two-tower.

    Args:
        features: a feature directory.
        store: release store; the part goes to ``parts/retrieval``, working files to ``runs/<run id>``.
        config: every setting.
        resume: id of a run that was cut off; it goes on from its last checkpoint in the same MLflow run. ``auto`` looks
            for it (``training.resuming.run_to_resume``).

    Returns:
        ``run_id, part, version, evaluated_part, steps, validation, num_candidates, seconds, positions_per_second,
        features``.

    Raises:
        ConfigError: ``resume`` names no run of this store, or one with other settings, data or erased users.
        DataError: the log is too short for the windows asked for.
        RankLost: one of several processes was killed.
    """
    work = functools.partial(_train, Path(features), Path(store), config, resume)
    return run_on_ranks(work, config.compute)


def _train(features: Path, store: Path, config: RetrievalConfig, resume: str | None, ranks: Ranks) -> dict[str, Any]:
    """Do one rank's part of a training; every rank returns the result."""
    feature_set = FeatureSet.load(features)
    sequences, num_forgotten = remembered(feature_set, ReleaseStore(root=store).erasures.load(), ranks)
    settings = _settings(config, feature_set.fingerprint, num_forgotten)
    own = feature_set.sequences.part(ranks.rank, ranks.of)
    windows = Windows(
        feature_set=feature_set,
        sequences=sequences,
        last_us=int(ranks.largest(own.ts.max(initial=0))),
        config=config,
        ranks=ranks,
    )
    if ranks.is_first:
        return _tracked(windows, store, settings, resume)
    return train_in_stages(windows, Path(ranks.told(None)), None)


def _tracked(windows: Windows, store: Path, settings: dict[str, Any], resume: str | None) -> dict[str, Any]:
    """Train in a run of the store: a new one, or the one to resume."""
    started = time.perf_counter()
    feature_set, config, ranks = windows.feature_set, windows.config, windows.ranks
    resume = run_to_resume(store, resume, settings=settings, begun=CONFIG_FILE, finished=RESULT_FILE)
    if resume is not None:
        _check_resumed(store / "runs" / resume, settings)
    with tracked_training(store, EXPERIMENT, name="two-tower", resume=resume) as run:
        directory = store / "runs" / run.run_id
        if (directory / CONFIG_FILE).exists():  # `mlflow run` too can come back to a run that was begun
            _check_resumed(directory, settings)
        else:
            write_json(directory / CONFIG_FILE, settings)
            run.log_params({"config": config, "data_fingerprint": feature_set.fingerprint})
        ranks.told(str(directory))
        exports = Exports.of(windows, store, directory, run)
        result = train_in_stages(windows, directory, exports)
        result |= {"seconds": round(time.perf_counter() - started, 1)}
        result |= {"features": str(feature_set.directory.resolve())}  # where a promotion finds its window
        run.log_metrics({"best_validation_ndcg@10": result["validation"]["ndcg@10"], "steps": result["steps"]})
        run.log_artifacts(Path(result["part"]), "retrieval")
        write_json(directory / RESULT_FILE, result)  # last: a run that has one is not gone on with
    return result


def _settings(config: RetrievalConfig, fingerprint: str, num_forgotten: int) -> dict[str, Any]:
    """Return the settings as JSON would give them back."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    del values["compute"]  # a training may go on with more processes, or fewer, or elsewhere
    return {"config": values, "data_fingerprint": fingerprint, "num_forgotten": num_forgotten}


def _check_resumed(directory: Path, now: dict[str, Any]) -> None:
    path = directory / CONFIG_FILE
    if not path.exists():
        known = sorted(p.parent.name for p in directory.parent.glob(f"*/{CONFIG_FILE}"))
        raise ConfigError(f"resume: expected a run of this store, found {directory.name!r}; its runs: {known}.")
    check_same_settings(directory.name, {"num_forgotten": 0} | read_json(path), now)
