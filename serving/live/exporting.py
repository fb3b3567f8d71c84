"""The log of what was acknowledged, on its way to the next feature build."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from features import columns as c
from features.live_log.archive import LiveLog
from features.live_log.merge import ConsentRow, merge_served
from features.release import ReleaseStore
from features.settings import EngineSettings
from serving.live.store import LiveEvent, LiveStore

_PAGE: Final = 100_000


def export_live(
    live: LiveStore,
    store: ReleaseStore,
    *,
    to: Path | None = None,
    keep_days: int = 0,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Move the log into the store's archive by day, and bring a data directory up to date with that.

    An event leaves the log when its day's file is on disk; one that a crash exports twice counts once.

    Args:
        live: where the service keeps its events.
        store: the release store, whose archive and erasure list count.
        to: a data directory; the archive alone where left out.
        keep_days: older days leave the archive once they are in the data; 0 keeps all.
        engine: memory limit, threads, where to spill.

    Returns:
        ``events`` taken from the log and how many were new in the archive, its ``days``, how many of them were ``pruned``,
        and under ``data`` what ``merge_served`` says.
    """
    archive = LiveLog.of_store(Path(store.root))
    with archive.locked():
        taken, added = _archived(live, archive, engine)
        report: dict[str, Any] = {"events": taken, "new": added}
        if to is not None:
            report["data"] = merge_served(
                archive, to, consents=_consents(live), erased=store.erasures.load(), engine=engine
            )
        first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=keep_days)
        report["pruned"] = archive.prune(before=first) if keep_days and to is not None else 0
        report["days"] = len(archive.days())
    return report


def _archived(live: LiveStore, archive: LiveLog, engine: EngineSettings) -> tuple[int, int]:
    taken = added = 0
    while page := live.logged(limit=_PAGE):
        added += archive.add([_contract_row(one.event) for one in page], engine=engine)
        live.forget_logged(page[-1].position)
        taken += len(page)
    return taken, added


def _contract_row(event: LiveEvent) -> Mapping[str, Any]:
    more = msgspec.json.decode(event.more) if event.more else {}
    return more | {
        c.EVENT_ID: event.event_id,
        c.USER_ID: event.user_id,
        c.TS: event.ts_us,
        c.EVENT_TYPE: event.event_type,
        c.ITEM_ID: event.item_id,
    }


def _consents(live: LiveStore) -> list[ConsentRow]:
    found = {user_id: changes for page in live.consents() for user_id, changes in page.items()}
    return [ConsentRow(*change) for changes in found.values() for change in changes]
