"""Identity and event log of a feature directory: brought up to date where an earlier build allows it, else built anew."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from features.event_log import EventLog
from features.identity.build import build_identity
from features.log_rows import LogNotKept
from features.manifest import EVENT_LOG_FILE, IDENTITY_DIRECTORY
from features.refresh.plan import Refresh
from features.settings import EngineSettings, ShopSettings

logger = logging.getLogger(__name__)


def refreshed_identity(
    data: Path, out: Path, refresh: Refresh, *, shop: ShopSettings, engine: EngineSettings
) -> dict[str, Any] | None:
    """Write ``out/identity`` and return what ``build_identity`` does.

    Args:
        data: a data directory.
        out: the feature directory that is being written.
        refresh: from ``plan_refresh``.
        shop: the shop's settings.
        engine: memory limit, threads, where to spill.
    """
    known = refresh.known_links(IDENTITY_DIRECTORY)
    return build_identity(data, out / IDENTITY_DIRECTORY, shop=shop, engine=engine, known=known)


def refreshed_log(
    data: Path, out: Path, refresh: Refresh, *, identity: Path | None, shop: ShopSettings, engine: EngineSettings
) -> tuple[EventLog, Refresh]:
    """Write ``out/event_log.parquet``; return the log and what became of the plan.

    Args:
        data: a data directory.
        out: the feature directory that is being written.
        refresh: from ``plan_refresh``.
        identity: of ``out``; ``None`` where nothing is linked.
        shop: the shop's settings.
        engine: memory limit, threads, where to spill.
    """
    build = partial(EventLog.build, data, out / EVENT_LOG_FILE, shop=shop, engine=engine, identity=identity)
    before = refresh.previous
    if before is None:
        return build(), refresh
    try:
        if (before / IDENTITY_DIRECTORY).exists() != (identity is not None):
            raise LogNotKept("ids are linked where none were before, or no more")
        return build(previous=before / EVENT_LOG_FILE, changed_days=refresh.changed_days), refresh
    except LogNotKept as reason:
        logger.info("event log: built anew: %s", reason)
        return build(), Refresh.anew(str(reason))
