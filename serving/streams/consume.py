"""From a stream into live state: read, judge, keep, and only then let go.

A message comes again until its events are kept, and an event counts once by its ``event_id``: so each is kept exactly
once, whoever is killed in between. A message without an ``event_id`` is named by its place in the stream.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from features.identity.map import IdentityMap
from features.privacy.consents import ConsentBook
from features.release import ReleaseStore
from features.release.customers_part import newest_consents, newest_links
from serving.live.ingest import Gate, checked_rows
from serving.live.reads import LiveReads
from serving.live.store import LiveStateError, LiveStore
from serving.privacy.consents import ConsentWatch
from serving.privacy.erasures import ErasureWatch
from serving.streams.stream import DeadRow, EventStream, StreamError, StreamRow

_WAIT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.5
_RELOAD_SECONDS: Final = 60.0  # consents and links of a newer customers part are read this late at the latest

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Consumed:
    """What became of the messages so far."""

    messages: int = 0
    accepted: int = 0
    duplicates: int = 0
    dead: int = 0
    erased: int = 0
    without_consent: int = 0


class Consumer:
    """Moves a stream's events into live state.

    Args:
        stream: where they come from.
        live: where they are kept.
        store: the release store: erasure list, consents and links.
        batch: the most messages kept in one step.
    """

    def __init__(self, stream: EventStream, live: LiveStore, store: ReleaseStore, *, batch: int = 500) -> None:
        self._stream = stream
        self._live = live
        self._store = store
        self._batch = batch
        self._gate_of_seconds: tuple[Gate, float] | None = None
        self.counts = Consumed()

    def run(self, *, stops: Callable[[], bool], until_empty: bool = False) -> Consumed:
        """Go on until told to stop, or until nothing comes where that is asked; what fails is tried again."""
        while not stops():
            try:
                rows = self._stream.read(limit=self._batch, wait_seconds=_WAIT_SECONDS)
                if not rows and until_empty:
                    break
                self._keep(rows, stops)
            except StreamError as error:
                _log.warning("%s: %s; tried again", self._stream.name, error)
                time.sleep(_RETRY_SECONDS)
        return self.counts

    def _keep(self, rows: Sequence[StreamRow], stops: Callable[[], bool]) -> None:
        while rows and not stops():
            try:
                counts, dead = self._kept(rows)
            except LiveStateError as error:
                _log.warning("%s: %s", self._live.place, error)
                time.sleep(_RETRY_SECONDS)
                continue
            self._stream.commit(rows, dead=dead)
            self._count(counts)
            return

    def _kept(self, rows: Sequence[StreamRow]) -> tuple[Consumed, list[DeadRow]]:
        whole, dead = _contents(rows, self._stream.name)
        good, rejected = checked_rows([content for _, content in whole])
        dead += [DeadRow(whole[one.row][0], one.reason) for one in rejected]
        added = self._live.add([event for _, event in good], judge=self._gate())
        return Consumed(
            messages=len(rows),
            accepted=added.num_accepted,
            duplicates=added.num_duplicates,
            dead=len(dead),
            erased=len(added.refused_rows),
            without_consent=added.num_withheld,
        ), dead

    def _count(self, counts: Consumed) -> None:
        for name, number in vars(counts).items():
            setattr(self.counts, name, getattr(self.counts, name) + number)

    def _gate(self) -> Gate:
        now = time.monotonic()
        if self._gate_of_seconds is None or now - self._gate_of_seconds[1] > _RELOAD_SECONDS:
            self._gate_of_seconds = self._new_gate(), now
        return self._gate_of_seconds[0]

    def _new_gate(self) -> Gate:
        book = newest_consents(self._store) or ConsentBook.of_default(granted=True)
        links = newest_links(self._store) or IdentityMap.empty()
        consents = ConsentWatch(book, self._live, LiveReads(self._live), links=links)
        return Gate(ErasureWatch(self._store.erasures), consents)


def _contents(rows: Sequence[StreamRow], stream: str) -> tuple[list[tuple[StreamRow, Any]], list[DeadRow]]:
    """Return what the messages hold, and those that hold no JSON: one of them must not stand in the way of the others."""
    whole: list[tuple[StreamRow, Any]] = []
    dead: list[DeadRow] = []
    for row in rows:
        try:
            if row.broken:
                raise ValueError(row.broken)
            whole.append((row, _content(row, stream)))
        # Also text that is not UTF-8, and lists in lists in lists.
        except (ValueError, RecursionError) as error:
            dead.append(DeadRow(row, f"expected a JSON object, found something else ({error})"))
    return whole, dead


def _content(row: StreamRow, stream: str) -> Any:
    """Return a message's object, with an id in any case."""
    content = msgspec.json.decode(row.payload)
    if isinstance(content, dict) and content.get("event_id") is None:
        return content | {"event_id": f"{stream}-{row.position}"}
    return content
