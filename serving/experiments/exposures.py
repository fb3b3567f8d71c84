"""What was shown in experiments, on its way to the log: kept in memory, written by a thread of its own."""

from __future__ import annotations

import atexit
import datetime as dt
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from features.exposure_log import ExposureLog, ExposureRow, writer_name
from serving.api.schemas import Surface
from serving.experiments.arm import Arm
from serving.surfaces.clock import wall_clock_us
from serving.surfaces.question import Drawn

_log = logging.getLogger(__name__)
_MOST_WAITING: Final = 100_000
_PRUNE_SECONDS: Final = 3_600.0
PINNED: Final = "pinned"


class _List(NamedTuple):
    """One answered list."""

    arm: Arm
    surface: Surface
    items: Sequence[str]
    drawn: Drawn | None
    ts_us: int


class ExposureWriter:
    """Keeps answered lists; ``keep`` takes a few microseconds, and a thread writes them every so often.

    A process that is killed loses what it had not written yet: the last ``flush_seconds``. One that stops loses nothing.

    Args:
        directory: of the log.
        is_erased: whose rows are not written.
        flush_seconds: between two writes.
        keep_days: older days are deleted, once an hour; none where 0.
        lost: told of each list that is lost.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        is_erased: Callable[[str], bool] = lambda _: False,
        flush_seconds: float = 1.0,
        keep_days: int = 0,
        lost: Callable[[], object] = lambda: None,
        wall: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._keep_days, self._lost = keep_days, lost
        self._pruned_at = -_PRUNE_SECONDS
        self._exposures = ExposureLog(directory=Path(directory))
        self._writer = writer_name()
        self._is_erased, self._seconds, self._wall = is_erased, flush_seconds, wall
        self._waiting: deque[_List] = deque()  # appended to by one thread, emptied by another
        self._newest_us = 0
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.num_lost = 0

    def keep(self, arm: Arm, surface: Surface, items: Sequence[str], drawn: Drawn | None) -> None:
        """Keep one list; it is dropped, and counted, where the disk cannot follow."""
        if not arm.is_logged:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._lose()
            return
        self._newest_us = max(self._wall(), self._newest_us + 1)  # two lists of a slot are of two instants
        self._waiting.append(_List(arm, surface, items, drawn, self._newest_us))
        if self._thread is None:
            self.start()

    def start(self) -> None:
        """Write every so often from now on, and delete what is too old; the first list begins it too."""
        if self._thread is None:
            atexit.register(self.close)
            self._thread = threading.Thread(target=self._run, name="exposures", daemon=True)
            self._thread.start()

    def flush(self) -> int:
        """Write what waits; return how many lists that were."""
        with self._writing:
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            rows = [row for one in waiting for row in self._rows(one)]
            try:
                self._exposures.append(rows, writer=self._writer)
            except Exception as error:
                self._waiting.extendleft(reversed(waiting))  # a row that was written all the same counts once
                _log.error("exposures of %d lists wait: %s", len(waiting), error)
                return 0
        return len(waiting)

    def of(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Return what is kept of a customer's ids."""
        self.flush()
        return self._exposures.of(ids)

    def erase(self, ids: Collection[str]) -> int:
        """Remove all rows of a customer's ids, which are on the erasure list already; return how many there were."""
        with self._writing:  # what was judged before the ids were on the list is in the file by then
            return self._exposures.erase(ids)

    def prune(self) -> int:
        """Once an hour, delete days that are too old; return how many files there were."""
        if not self._keep_days or time.monotonic() - self._pruned_at < _PRUNE_SECONDS:
            return 0
        self._pruned_at = time.monotonic()
        today = dt.datetime.fromtimestamp(self._wall() / 1e6, dt.UTC).date()
        return self._exposures.prune(before=today - dt.timedelta(days=self._keep_days))

    def close(self) -> None:
        """Write what waits, and stop."""
        self._stopped.set()
        self.flush()

    def _rows(self, one: _List) -> list[ExposureRow]:
        """Return a list's rows; one that has none for whatever reason takes no other with it."""
        try:
            return [] if self._is_erased(one.arm.unit) else rows_of(one)
        except Exception:
            self._lose()
            _log.exception("exposures of a list are lost")
            return []

    def _lose(self) -> None:
        self.num_lost += 1
        self._lost()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self.flush()
                self.prune()
            except Exception:
                _log.exception("exposures could not be written; trying again")


def rows_of(one: _List) -> list[ExposureRow]:
    """Return a list's rows: place n is the slot ``SURFACE_n``.

    A place that nothing drew has no propensity. In a list that was drawn, it is a slot of its own
    (``SURFACE_n_pinned``), so that what remains of the slot was drawn each time.
    """
    arm, drawn = one.arm, one.drawn
    # Of no candidates nothing was drawn: such a list has pinned items and fallbacks alone, or nothing.
    chance = None if drawn is None or arm.explore is None or not drawn.num else arm.explore.chance(drawn.num)
    rows = []
    for place, item in enumerate(one.items):
        slot, propensity = f"{one.surface}_{place + 1}", None
        if drawn is not None and arm.explore is not None:
            if chance is not None and drawn.ranks[place] >= 0:
                propensity = float(chance[drawn.ranks[place], drawn.places[place]])
            else:
                slot = f"{slot}_{PINNED}"
        rows.append(ExposureRow(arm.unit, str(item), slot, one.ts_us, propensity, arm.experiment, arm.variant))
    return rows
