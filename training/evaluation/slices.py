"""Where a model is strong and where it is weak: the same questions, cut by what is asked and who asks.

    History length       thirds of the customers
    Item popularity      bestsellers, middle, rare, none: by share of the fitted events
    Cold item            no, few or more events in what was learned from
    Customer lifecycle   on the day before the test; customers without a stage are in none
    Growth stage         the same
    RFM segment          the same
    New or repeat        whether the customer had met the item; where repeats count

Customers without any history cannot be asked; they are counted (``Split.num_unasked``) and are in no slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.metrics import RelevantItems
from training.evaluation.segments import Grouping
from training.evaluation.tasks import Task, met_before

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

# Items by their share of all events in the fitted data: the fewest bestsellers that make up half, and so on.
_HEAD_SHARE: Final = 0.5
_MIDDLE_SHARE: Final = 0.8
# Fewer events than the default ``min_item_events`` of a training: an id learned from so little says little.
_FEW_EVENTS: Final = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Some of a task's questions, or some of their answers.

    Args:
        group: what it is cut by.
        label: which cut this is.
        questions: row of each kept question in the task, ``[S]``.
        relevant: answers that are kept, ``[S]``.
    """

    group: str
    label: str
    questions: Ints
    relevant: RelevantItems


def slices_of(task: Task, *, counts: Ints, groupings: Sequence[Grouping] = ()) -> list[Slice]:
    """Return the slices of a task that hold at least one question.

    Args:
        task: what is asked.
        counts: events of each item in the fitted data, ``[V]``.
        groupings: of the customers, by row of the split's sequences; from ``segments.groupings_before_test``.
    """
    cuts = [
        *_by_history_length(task),
        *_by_item_popularity(task, counts),
        *_by_events_of_item(task, counts),
        *(cut for grouping in groupings for cut in _by_group(task, grouping)),
        *_by_novelty(task),
    ]
    return [part for group, label, keep in cuts if (part := _cut(task, group, label, keep)) is not None]


def _cut(task: Task, group: str, label: str, keep: Bools) -> Slice | None:
    questions, relevant = task.relevant.where(keep)
    return Slice(group=group, label=label, questions=questions, relevant=relevant) if len(questions) else None


def _by_history_length(task: Task) -> Iterator[tuple[str, str, Bools]]:
    """Yield thirds of the customers: short, middle and long histories."""
    lengths = task.query.lengths
    low, high = (int(np.quantile(lengths, share)) for share in (1 / 3, 2 / 3))
    thirds = {
        f"up to {low:,} events": lengths <= low,
        f"{low + 1:,} to {high:,} events": (lengths > low) & (lengths <= high),
        f"over {high:,} events": lengths > high,
    }
    for label, users in thirds.items():
        yield "History length", label, users[task.relevant.question]


def _by_item_popularity(task: Task, counts: Ints) -> Iterator[tuple[str, str, Bools]]:
    level = popularity_level(counts)[task.relevant.item]
    labels = [
        "no event yet (cold)",
        "rare: the last fifth of events",
        "middle: the next 30%",
        "bestsellers: half of all",
    ]
    for value in (3, 2, 1, 0):
        yield "Item popularity", labels[value], level == value


def _by_events_of_item(task: Task, counts: Ints) -> Iterator[tuple[str, str, Bools]]:
    events = counts[task.relevant.item]
    yield "Cold item", "no event yet", events == 0
    yield "Cold item", f"1 to {_FEW_EVENTS - 1} events", (events > 0) & (events < _FEW_EVENTS)
    yield "Cold item", f"{_FEW_EVENTS} events or more", events >= _FEW_EVENTS


def _by_group(task: Task, grouping: Grouping) -> Iterator[tuple[str, str, Bools]]:
    label = grouping.of_user[task.users][task.relevant.question]
    for name in grouping.labels:
        yield grouping.title, name.replace("_", " "), label == name


def _by_novelty(task: Task) -> Iterator[tuple[str, str, Bools]]:
    if task.name == "all":
        repeat = met_before(task.query, task.relevant)
        yield "New or repeat", "repeat", repeat
        yield "New or repeat", "new to the customer", ~repeat


def popularity_level(counts: Ints) -> npt.NDArray[np.int8]:
    """Return 3 for bestsellers, 2 for the middle, 1 for rare items and 0 for items without an event, ``[V]``.

    Bestsellers are the fewest items that hold half of all events; with the middle they hold 80%.

    >>> popularity_level(np.array([0, 50, 30, 20])).tolist()
    [0, 3, 2, 1]
    """
    order = np.argsort(-counts, kind="stable")
    share_before = (np.cumsum(counts[order]) - counts[order]) / max(int(counts.sum()), 1)
    level = np.empty(len(counts), np.int8)
    level[order] = np.select([share_before < _HEAD_SHARE, share_before < _MIDDLE_SHARE], [3, 2], 1)
    level[counts == 0] = 0
    return level
