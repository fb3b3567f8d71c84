"""Recent requests asked of a release that is to serve and of the one that does, and what differs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from serving.api.errors import RequestError
from serving.api.schemas import RecommendAnswer, RecommendRequest
from serving.release.followed import Refused
from serving.release.settings import ReleaseSettings

# Between two requests of the comparison, those of customers come first.
_PAUSE_SECONDS: Final = 0.002
# The catalogue has changed: an item, category or brand is no longer known, which is no fault of the release.
_CHANGED: Final = frozenset({"unknown_item", "unknown_category", "unknown_brand"})


class Recommending(Protocol):
    """What can be asked for recommendations."""

    def recommend(self, requests: Sequence[RecommendRequest]) -> list[RecommendAnswer | RequestError]:
        """Answer several requests."""


def compare(
    serving: Recommending, candidate: Recommending, recent: Sequence[RecommendRequest], *, settings: ReleaseSettings
) -> dict[str, float]:
    """Ask both the same, the candidate first, which so warms up; return what differs.

    Args:
        serving: answers customers meanwhile.
        candidate: is to.
        recent: requests of customers; nothing of them is written anywhere.
        settings: limits.

    Returns:
        ``requests``; ``errors``: share that only the candidate refuses; ``empty``: by how much the share rises for which
        nothing is found, or what is asked about is no longer known; ``overlap``: mean share of items in common.

    Raises:
        Refused: a limit is broken.
    """
    asked = [*_first_questions(), *recent]
    pairs = [(_ask(candidate, one), _ask(serving, one)) for one in asked]
    answered = [(new, old) for new, old in pairs if isinstance(old, RecommendAnswer)]
    lists = [(new, old) for new, old in answered if old.items]
    report = {
        "requests": float(len(recent)),
        "errors": _mean((_is_error(new) for new, _ in answered), of_none=0.0),
        "empty": max(0.0, _mean((_is_empty(new) - _is_empty(old) for new, old in answered), of_none=0.0)),
        "overlap": _mean((_overlap(new, old) for new, old in lists if isinstance(new, RecommendAnswer)), of_none=1.0),
    }
    broken = [
        f"{name} {report[name]:.3f} of {len(answered)} recent requests, {word} {limit:g} allowed"
        for name, limit, word, is_broken in (
            ("errors", settings.max_error_share, "at most", report["errors"] > settings.max_error_share),
            ("empty", settings.max_empty_share, "at most", report["empty"] > settings.max_empty_share),
            ("overlap", settings.min_overlap, "at least", report["overlap"] < settings.min_overlap),
        )
        if is_broken
    ]
    if broken:
        raise Refused("; ".join(broken), report)
    return report


def _first_questions() -> list[RecommendRequest]:
    """What any release can answer: so even a server that nobody has asked yet warms up."""
    return [RecommendRequest(), RecommendRequest(surface="new_arrivals")]


def _ask(engine: Recommending, request: RecommendRequest) -> RecommendAnswer | RequestError:
    time.sleep(_PAUSE_SECONDS)
    return engine.recommend([request])[0]


def _is_error(answer: RecommendAnswer | RequestError) -> bool:
    return isinstance(answer, RequestError) and answer.code not in _CHANGED


def _is_empty(answer: RecommendAnswer | RequestError) -> bool:
    return answer.code in _CHANGED if isinstance(answer, RequestError) else not answer.items


def _overlap(new: RecommendAnswer, old: RecommendAnswer) -> float:
    both = {item.item_id for item in new.items} & {item.item_id for item in old.items}
    return len(both) / len(old.items)


def _mean(values: Iterable[float], *, of_none: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else of_none
