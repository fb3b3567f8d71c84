"""What models answered, on disk until the report stands: an evaluation that was cut off asks and fits only what is left.

    store/runs/<run id>/report.answers/key.json            what all of it was asked of
                                       <model>.<task>.npz  lists, and what they took

Lists of real customers: personal data, removed with the report's last line.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from features.errors import DataError
from features.files import read_json, write_bytes, write_json
from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.costs import Seconds, timed
from training.evaluation.recommender import Recommender
from training.evaluation.tasks import Task

_KEY_FILE: Final = "key.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A model that an earlier process asked everything; there is nothing to ask it again."""

    name: str

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """Its lists are kept."""
        raise AssertionError(f"{self.name}: asked {query.num_users} questions again, {k} items each, {exclude_seen}")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model's lists of one task.

    Args:
        lists: of each question.
        seconds: to answer.
        fit: to fit; none for a model that was not fitted here.
    """

    lists: Recommendations
    seconds: Seconds
    fit: Seconds | None = None


@dataclass(frozen=True, kw_only=True)
class KeptAnswers:
    """Lists by model and task.

    Args:
        directory: of them.
        tasks: that are asked.
    """

    directory: Path
    tasks: Sequence[Task]

    @classmethod
    def open(cls, directory: Path, key: str, tasks: Sequence[Task]) -> KeptAnswers:
        """Take what an earlier process left of the same key; remove anything else.

        Args:
            directory: may be missing.
            key: a digest of all that an answer depends on.
            tasks: that are asked.
        """
        path = directory / _KEY_FILE
        try:
            same = read_json(path) == key
        except DataError:
            same = False
        if not same:
            shutil.rmtree(directory, ignore_errors=True)
            write_json(path, key)
        elif found := len(list(directory.glob("*.npz"))):
            log.info("evaluation: goes on, %d answers of models to tasks are kept", found)
        return cls(directory=directory, tasks=tasks)

    def load(self, name: str, task: str) -> Answer | None:
        """Return what a model answered; nothing where it was not asked."""
        path = self._path(name, task)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as found:
            lists = Recommendations(offsets=found["offsets"], item=found["item"], score=found["score"])
            seconds, fit = (None if one is None else Seconds(**one) for one in json.loads(str(found["seconds"])))
        assert seconds is not None, "answering is always timed"
        return Answer(lists=lists, seconds=seconds, fit=fit)

    def save(self, name: str, task: str, answer: Answer) -> None:
        """Keep an answer, whole or not at all."""
        seconds = json.dumps([None if one is None else vars(one) for one in (answer.seconds, answer.fit)])
        lists, content = answer.lists, io.BytesIO()
        np.savez(content, offsets=lists.offsets, item=lists.item, score=lists.score, seconds=np.array(seconds))
        write_bytes(self._path(name, task), content.getvalue())

    def fit_of(self, name: str) -> Seconds | None:
        """Return what fitting a model took, where it has answered every task and need not be fitted again."""
        found = [self.load(name, task.name) for task in self.tasks]
        return None if None in found or not found[0] else found[0].fit

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, name: str, task: str) -> Path:
        return self.directory / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}.{task}.npz"


def answer_of(
    model: Recommender, task: Task, *, k: int, kept: KeptAnswers | None = None, fit: Seconds | None = None
) -> Answer:
    """Return a model's answer to a task: what is kept of it, else what it says now, which is then kept.

    Args:
        model: what is asked.
        task: the questions.
        k: length of a list.
        kept: of this evaluation.
        fit: what fitting the model took.
    """
    found = None if kept is None else kept.load(model.name, task.name)
    if found is not None:
        return found
    took: dict[str, Seconds] = {}
    with timed(took, model.name):
        lists = model.recommend(task.query, k=k, exclude_seen=task.exclude_seen)
    log.info("%s: %d questions (%s) in %.1f s", model.name, task.num_users, task.name, took[model.name].wall)
    answer = Answer(lists=lists, seconds=took[model.name], fit=fit)
    if kept is not None:
        kept.save(model.name, task.name, answer)
    return answer


def key_of(*parts: object, arrays: Sequence[np.ndarray] = ()) -> str:
    """Return 64 hex digits over values, by their text, and arrays, by their bytes."""
    digest = hashlib.sha256(repr(parts).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
