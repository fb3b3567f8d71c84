"""What is asked of every model: what comes next at all, or what comes next that is new to the customer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.sequences import Sequences
from features.splits import Holdout
from training.evaluation.metrics import RelevantItems

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
TaskName = Literal["new", "all"]

TASKS: Final[tuple[TaskName, ...]] = ("new", "all")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Questions to rank items for, and their answers.

    Args:
        name: ``new``: items of the history count neither as answers nor in lists; ``all``: repeats count.
        users: row in the split's sequences of each asked user, ``[Q]``.
        query: histories ``[Q]``.
        relevant: answers ``[Q]``.
    """

    name: TaskName
    users: Ints
    query: Sequences
    relevant: RelevantItems

    @classmethod
    def of(cls, name: TaskName, holdout: Holdout) -> Task:
        """Take the questions of a holdout that have an answer.

        Raises:
            DataError: no question has one.
        """
        relevant = RelevantItems.of(holdout.targets)
        if name == "all":
            return cls(name=name, users=holdout.users, query=holdout.query, relevant=relevant)
        asked, relevant = relevant.where(~met_before(holdout.query, relevant))
        if len(asked) == 0:
            raise DataError("Task: expected targets that are new to their customer, found repeats only.")
        return cls(name=name, users=holdout.users[asked], query=holdout.query.take(asked), relevant=relevant)

    @property
    def exclude_seen(self) -> bool:
        """Whether lists leave out the items of the history."""
        return self.name == "new"

    @property
    def num_users(self) -> int:
        """Q."""
        return self.relevant.num_questions


def tasks_of(holdout: Holdout) -> list[Task]:
    """Return the tasks that a holdout has an answer to: in a shop of repeats alone, nobody chooses anything new."""
    tasks = []
    for name in TASKS:
        try:
            tasks.append(Task.of(name, holdout))
        except DataError as error:
            log.warning("no table of %r items: %s", name, error)
    return tasks


def met_before(query: Sequences, relevant: RelevantItems) -> Bools:
    """Return which relevant items stand in their question's history, bool ``[M]``."""
    stride = 1 + max(int(query.item.max(initial=0)), int(relevant.item.max(initial=0)))
    known = query.user_of_event * stride + query.item
    return np.isin(relevant.question * stride + relevant.item, known)
