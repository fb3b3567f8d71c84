"""A few customers under made-up names: what they did, what each model shows them, what they did next.

Pseudonymous, not anonymous: a name leads to nobody, but whoever knows what a customer bought can tell
the history. Examples are personal data; they stay in the store and are never uploaded.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog
from features.privacy.pseudonyms import Pseudonyms
from features.recommendations import Recommendations
from features.vocabulary import FIRST, Vocabulary
from training.evaluation.tasks import Task, met_before

_PSEUDONYM_DIGITS: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemNames:
    """What an item is called in a report.

    Args:
        vocabulary: gives ids.
        catalog: gives titles and categories.
    """

    vocabulary: Vocabulary
    catalog: ItemCatalog

    def id_of(self, code: int) -> str:
        """Return the id, blank where the item is unknown."""
        return "" if code < FIRST else str(self.vocabulary.ids[code - FIRST])

    def of(self, code: int) -> str:
        """Return the title, else the last part of the category with the id, else the id."""
        if code < FIRST:
            return "unknown item"
        item_id = self.id_of(code)
        leaf = str(self.catalog.category[code]).rsplit("/", 1)[-1]
        return str(self.catalog.title[code]) or f"{leaf} {item_id}".strip()


def example_customers(
    task: Task,
    lists: Mapping[str, Recommendations],
    *,
    users: Vocabulary,
    names: ItemNames,
    forgotten: Container[str] = frozenset(),
    num_customers: int = 10,
    num_items: int = 10,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return customers drawn at random, short histories first.

    Args:
        task: what was asked.
        lists: each model's lists for the task, by name.
        users: ids by row of the split's sequences.
        names: what items are called.
        forgotten: ids of users who are shown nowhere.
        num_customers: how many.
        num_items: most items of a history, an answer or a list.
        seed: of the draw.
    """
    pseudonyms = Pseudonyms.one_time(scope="report", digits=_PSEUDONYM_DIGITS)
    rng = np.random.default_rng(seed)
    shown = [
        int(question)
        for question in rng.permutation(task.num_users)
        if str(users.ids[task.users[question]]) not in forgotten
    ][:num_customers]
    repeat = met_before(task.query, task.relevant)
    rows = []
    for question in sorted(shown, key=lambda q: int(task.query.lengths[q])):
        span = task.relevant.question == question
        wanted = task.relevant.item[span]
        rows.append(
            {
                "customer": pseudonyms.of(str(users.ids[task.users[question]])),
                "num_events": int(task.query.lengths[question]),
                "history": _titles(_latest(task.query.items_of(question), num_items), names, ()),
                "answers": _titles(wanted[np.argsort(repeat[span], kind="stable")][:num_items], names, ()),
                "num_answers": len(wanted),
                "lists": {
                    name: _titles(answered.list_of(question)[0][:num_items], names, set(wanted.tolist()))
                    for name, answered in lists.items()
                },
            }
        )
    return rows


def _latest(items: npt.NDArray[np.integer], num_items: int) -> Sequence[int]:
    """Return the last distinct items, latest first.

    >>> _latest(np.array([5, 6, 5, 7]), 2)
    [7, 5]
    """
    return list(dict.fromkeys(items[::-1].tolist()))[:num_items]


def _titles(codes: Any, names: ItemNames, hits: Container[int]) -> list[dict[str, Any]]:
    return [
        {"item_id": names.id_of(int(code)), "title": names.of(int(code)), "hit": int(code) in hits} for code in codes
    ]
