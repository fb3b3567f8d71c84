"""Which store of live state the settings name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from serving.live.settings import LiveSettings
from serving.live.sqlite_store import SqliteStore
from serving.live.store import LiveStateError, LiveStore
from serving.privacy.erasures import ErasureWatch
from serving.surfaces.clock import wall_clock_us

_log = logging.getLogger(__name__)


def open_live(settings: LiveSettings, store: Path, *, wall: Callable[[], int] = wall_clock_us) -> LiveStore:
    """Return the live state of a release store; it need not be reachable yet.

    Args:
        settings: which one.
        store: the release store, where a SQLite file stands that is not named.
        wall: the present, UTC microseconds.

    Raises:
        ConfigError: the settings ask for Redis, and its client is not installed.
    """
    if not settings.url:
        return SqliteStore(settings.path(store), settings, wall=wall)
    from serving.live.redis_store import RedisStore  # noqa: PLC0415 - an optional dependency

    return RedisStore(settings, wall=wall)


def prepare_live(live: LiveStore, erased: ErasureWatch) -> None:
    """Delete what a crash kept of erased customers, and say where the store is less durable than was asked.

    A store that does not answer is left for the next start: recommendations go on without it.
    """
    try:
        if risk := live.risk():
            _log.warning("%s: %s", live.place, risk)
        for user_id in live.users() if len(erased.current()) else ():
            if user_id in erased:
                live.delete_user(user_id)
    except LiveStateError as error:
        _log.warning("%s: erased customers were not looked for: %s", live.place, error)
    finally:
        live.close()
