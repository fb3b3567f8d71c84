"""Items near an item: ``similar``, and ``upgrade`` one step up in price."""

from __future__ import annotations

import numpy as np

from serving.release.state import ReleaseState
from serving.surfaces.question import NO_ITEMS, NO_SCORES, Question, Ranked


def similar(state: ReleaseState, question: Question) -> Ranked:
    """Return the available items whose vectors are nearest to the item's."""
    code = item_of(question)
    ask = question.asking(excluded=np.array([code]))
    found = state.index.search(state.index.vectors[code][None], [ask])
    reasons = _reasons(question, len(found.item), f"Similar to {state.name(code)}")
    return Ranked.by("similar", *found.list_of(0), reasons)


def upgrade(state: ReleaseState, question: Question) -> Ranked:
    """Return the nearest of the items one price band up; short where there are few, empty where there is none."""
    code = item_of(question)
    allowed = state.surfaces.items.upgrade(code)
    if not len(allowed):
        return Ranked.by("upgrade", NO_ITEMS, NO_SCORES)
    codes, scores = state.index.search_exactly(state.index.vectors[code], question.asking(allowed=allowed))
    reasons = _reasons(question, len(codes), f"A step up in price from {state.name(code)}")
    return Ranked.by("upgrade", codes, scores, reasons)


def item_of(question: Question) -> int:
    """Return the item that a question is about."""
    assert question.item is not None, "a question about an item has one"
    return question.item


def _reasons(question: Question, number: int, words: str) -> list[str]:
    return [words] * number if question.explain else []
