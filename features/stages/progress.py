"""How far a build is: a line that is rewritten on a terminal, a line of the log for each stage that takes a while.

    features 5/8 sequences: 42% of a query, 1:23

A build of a few seconds says nothing here.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self, TextIO

from features.query_progress import QueryProgress, watching_queries

_QUIET_S: Final = 2.0  # what takes less is not worth a line
_REDRAW_S: Final = 0.5
_CLEAR: Final = "\r\x1b[K"

logger = logging.getLogger(__name__)

Tell = Callable[[Mapping[str, int]], None]


class Progress:
    """Tells of stages; use it as a context.

    Args:
        of: how many stages there are.
        stream: where a terminal may be.
    """

    def __init__(self, *, of: int, stream: TextIO | None = None) -> None:
        self._of = of
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._open = contextlib.ExitStack()
        self._queries: QueryProgress | None = None

    def __enter__(self) -> Self:
        if self._terminal:
            self._queries = self._open.enter_context(watching_queries())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @contextlib.contextmanager
    def stage(self, name: str, number: int) -> Iterator[Tell]:
        """Tell of one stage; call what this yields with its counts when it is finished."""
        started = time.monotonic()

        def tell(counts: Mapping[str, int]) -> None:
            seconds = time.monotonic() - started
            if seconds >= _QUIET_S:
                logger.info("features: %d of %d, %s: %.1f s%s", number, self._of, name, seconds, _counted(counts))

        with self._drawn(f"features {number}/{self._of} {name}", started) if self._terminal else _nothing():
            yield tell

    @contextlib.contextmanager
    def _drawn(self, text: str, started: float) -> Iterator[None]:
        over = threading.Event()
        line = _Line(self._stream)
        handlers = logging.getLogger().handlers
        for handler in handlers:
            handler.addFilter(line)
        drawer = threading.Thread(target=self._draw, args=(line, text, started, over), daemon=True)
        drawer.start()
        try:
            yield
        finally:
            over.set()
            drawer.join()
            for handler in handlers:
                handler.removeFilter(line)
            line.clear()

    def _draw(self, line: _Line, text: str, started: float, over: threading.Event) -> None:
        if over.wait(_QUIET_S):
            return
        while not over.wait(_REDRAW_S):
            share = None if self._queries is None else self._queries.share()
            of_query = "" if share is None else f" {share:.0%} of a query,"
            minutes, seconds = divmod(int(time.monotonic() - started), 60)
            line.write(f"{text}:{of_query} {minutes}:{seconds:02}")


class _Line(logging.Filter):
    """The last line of the terminal; a handler that it filters writes over it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lock = threading.Lock()
        self._drawn = False

    def write(self, text: str) -> None:
        with self._lock:
            self._stream.write(_CLEAR + text)
            self._stream.flush()
            self._drawn = True

    def clear(self) -> None:
        with self._lock:
            if self._drawn:
                self._stream.write(_CLEAR)
                self._stream.flush()
            self._drawn = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - as logging.Filter has it
        """Make room for a line of the log."""
        self.clear()
        return True


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def _counted(counts: Mapping[str, int]) -> str:
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1_000 if sys.platform != "darwin" else 1_000_000)
    return "".join(f", {count} {name}" for name, count in counts.items()) + f", at most {peak:.0f} MB of memory so far"
