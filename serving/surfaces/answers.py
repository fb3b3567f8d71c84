"""From questions to ranked lists: which surface answers which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from serving.api.schemas import Surface
from serving.history.stored import to_sequences
from serving.release.state import ReleaseState
from serving.surfaces import cold
from serving.surfaces.bought_together import bought_together
from serving.surfaces.buy_it_again import buy_it_again
from serving.surfaces.for_you import for_you
from serving.surfaces.neighbours import similar, upgrade
from serving.surfaces.new_arrivals import new_arrivals
from serving.surfaces.question import Floats, Question, Ranked
from serving.surfaces.trending import trending

ABOUT_AN_ITEM: Final[frozenset[Surface]] = frozenset({"similar", "upgrade", "bought_together"})
# Those that rank by the user's vector, where there are events to make one from.
_BY_USER: Final[frozenset[Surface]] = frozenset({"for_you", "new_arrivals"})
_ALONE: Final[dict[Surface, Callable[[ReleaseState, Question], Ranked]]] = {
    "for_you": cold.answer,  # where there are no events
    "similar": similar,
    "upgrade": upgrade,
    "bought_together": bought_together,
    "buy_it_again": buy_it_again,
    "trending": trending,
}


def answer(state: ReleaseState, questions: Sequence[Question]) -> list[Ranked]:
    """Answer each question on its surface; users are encoded, and home pages ranked, together."""
    rows = [row for row, q in enumerate(questions) if q.request.surface in _BY_USER and len(q.events)]
    user_vecs = state.tower.encode(to_sequences([questions[row].events for row in rows])) if rows else None
    vec_of = {} if user_vecs is None else dict(zip(rows, user_vecs, strict=True))
    home = [row for row in rows if questions[row].request.surface == "for_you"]
    ranked: dict[int, Ranked] = {}
    if home:
        vecs = np.stack([vec_of[row] for row in home])
        ranked = dict(zip(home, for_you(state, [questions[row] for row in home], vecs), strict=True))
    return [
        ranked[row] if row in ranked else _one(state, question, vec_of.get(row))
        for row, question in enumerate(questions)
    ]


def _one(state: ReleaseState, question: Question, user_vec: Floats | None) -> Ranked:
    surface = question.request.surface
    if surface == "new_arrivals":
        return new_arrivals(state, question, user_vec)
    return _ALONE[surface](state, question)
