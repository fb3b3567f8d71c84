"""The engines of one worker: which release answers now, and which others are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from serving.api.errors import RequestError
from serving.api.schemas import RecommendAnswer, RecommendRequest
from serving.engine import Engine


@dataclass(frozen=True, kw_only=True, eq=False)
class Routed:
    """A recommend request and who answers it.

    Args:
        engine: over the release that was chosen for the customer when the request arrived.
        request: as it came.
    """

    engine: Engine
    request: RecommendRequest


class Engines:
    """Engines by release id, one of which answers where nothing else is asked; replacing it is one assignment.

    Args:
        current: answers from now on.
    """

    def __init__(self, current: Engine) -> None:
        self._current = current
        self._held = {current.release_id: current}

    @property
    def current(self) -> Engine:
        """The engine that answers now; a request keeps the one that it began with."""
        return self._current

    def route(self, request: RecommendRequest) -> Routed:
        """Return who answers a request."""
        return Routed(engine=self.current, request=request)


def recommend_routed(questions: Sequence[Routed]) -> list[RecommendAnswer | RequestError]:
    """Answer several requests at once, those of one engine together."""
    answers: list[RecommendAnswer | RequestError | None] = [None] * len(questions)
    rows = sorted(range(len(questions)), key=lambda row: id(questions[row].engine))
    for _, same in groupby(rows, key=lambda row: id(questions[row].engine)):
        chosen = list(same)
        found = questions[chosen[0]].engine.recommend([questions[row].request for row in chosen])
        for row, one in zip(chosen, found, strict=True):
            answers[row] = one
    return [one for one in answers if one is not None]
