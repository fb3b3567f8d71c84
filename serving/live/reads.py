"""What answers read of live state: one read a batch of requests, and none that makes a recommendation fail."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from serving import timings
from serving.live.store import LiveStateError, LiveStore, LiveUser


@dataclass
class _Batch:
    """What was read for the requests of one batch."""

    ids: set[str]
    users: dict[str, LiveUser] = field(default_factory=dict)
    is_readable: bool = True


class LiveReads:
    """Reads of a store; safe to use from several threads.

    Args:
        store: where events and consents are.
    """

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self._local = threading.local()
        # Unknown counts as yes: without the store nobody could say who withdrew.
        self._may_hold_consents = True

    @contextlib.contextmanager
    def together(self, user_ids: Iterable[str]) -> Iterator[None]:
        """Read some ids at once: within the block, this thread's ``of`` answers from that.

        Where the store cannot be read nobody sent anything, as far as the block is told, and ``is_readable`` says so.
        """
        batch = _Batch(ids=set(user_ids))
        self._local.batch = batch
        if batch.ids:
            self._fill(batch, batch.ids)
        try:
            yield
        finally:
            self._local.batch = None

    def of(self, user_ids: Iterable[str]) -> dict[str, LiveUser]:
        """Return what some ids sent, of those that sent anything.

        Raises:
            LiveStateError: the store cannot be read; never within ``together``.
        """
        batch = self._batch
        if batch is None:
            return self._read(user_ids)
        asked = list(user_ids)
        if batch.is_readable and (others := [id_ for id_ in asked if id_ not in batch.ids]):
            batch.ids.update(others)
            self._fill(batch, others)
        return {id_: batch.users[id_] for id_ in asked if id_ in batch.users}

    @property
    def is_readable(self) -> bool:
        """Whether the store could be read in this block."""
        batch = self._batch
        return batch is None or batch.is_readable

    @property
    def knows_consents(self) -> bool:
        """Whether ``of`` tells of every change of consent: not in a block whose read failed, if there ever was a change."""
        return self.is_readable or not self._may_hold_consents

    @property
    def _batch(self) -> _Batch | None:
        return getattr(self._local, "batch", None)

    def _fill(self, batch: _Batch, user_ids: Collection[str]) -> None:
        if not user_ids:  # sessions without a name: nothing to read
            return
        try:
            batch.users |= self._read(user_ids)
        except LiveStateError:
            batch.is_readable = False

    def _read(self, user_ids: Iterable[str]) -> dict[str, LiveUser]:
        with timings.timed("store_read"):
            found = self._store.read(user_ids)
        self._may_hold_consents = self._store.holds_consents
        return found
