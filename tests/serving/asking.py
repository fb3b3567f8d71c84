"""Ask an engine over the tiny release, and read its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from features.columns import EVENT_TYPE_CODES
from features.vocabulary import FIRST
from serving.api.errors import RequestError
from serving.api.schemas import RecommendAnswer, RecommendRequest
from serving.engine import Engine
from serving.live.settings import LiveSettings
from serving.live.sqlite_store import SqliteStore
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from tests.serving.tiny_release import AS_OF_US, TinyRelease

PURCHASE = EVENT_TYPE_CODES["purchase"]


def live_store(path: Path, **settings: object) -> SqliteStore:
    """A store that no event of these tests is too old for, whatever year they run in."""
    return SqliteStore(path, LiveSettings(**{"max_age_days": 36_500, "max_events": 20} | settings))  # type: ignore[arg-type]


def engine_over(state: ReleaseState, tiny: TinyRelease, directory: Path, **more: Any) -> Engine:
    """An engine whose present is where the data end."""
    live = live_store(directory / "live.sqlite")
    erasures = type(tiny.store)(root=directory).erasures
    return Engine(state, live, ErasureWatch(erasures), **{"wall": lambda: AS_OF_US} | more)


def ask(engine: Engine, **request: object) -> RecommendAnswer:
    answer = engine.recommend([RecommendRequest(**request)])[0]
    if isinstance(answer, RequestError):
        raise answer
    return answer


def ids(answer: RecommendAnswer) -> list[str]:
    return [item.item_id for item in answer.items]


def strategies(answer: RecommendAnswer) -> list[str]:
    return [item.strategy or answer.strategy for item in answer.items]


def reasons(answer: RecommendAnswer) -> list[str | None]:
    return [item.reason for item in answer.items]


def nearest(tiny: TinyRelease, item_id: str, codes: np.ndarray, k: int) -> list[str]:
    codes = codes[tiny.catalog.available[codes]]
    closeness = tiny.vectors[codes] @ tiny.vectors[tiny.vocabulary.code_of(item_id)]
    return list(tiny.vocabulary.decode(codes[np.argsort(-closeness, kind="stable")][:k]))


def bought_of(tiny: TinyRelease, user_id: str) -> set[str]:
    row = tiny.users.code_of(user_id) - FIRST
    span = slice(tiny.histories.offsets[row], tiny.histories.offsets[row + 1])
    codes = tiny.histories.item[span][tiny.histories.event_type[span] == PURCHASE]
    return set(tiny.vocabulary.decode(codes))
