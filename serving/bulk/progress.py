"""One line that says how far the lists are, on a terminal alone."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

_EVERY_SECONDS: Final = 0.2


class ProgressLine:
    """Counts users.

    Args:
        total: of all parts.
        done: of those that were there already.
        stream: where the line is written.
    """

    def __init__(self, total: int, done: int, *, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total, self._before, self._done = total, done, done
        self._started = time.monotonic()
        self._next = 0.0 if self._stream.isatty() else float("inf")

    def __call__(self, number: int) -> None:
        """Count some more users."""
        self._done += number
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_SECONDS
            self._stream.write(f"\r{self.text(now - self._started)}\033[K")
            self._stream.flush()

    def text(self, seconds: float) -> str:
        """Return the line."""
        rate = (self._done - self._before) / max(seconds, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        return f"{self._done:,} of {self._total:,} users, {rate:,.0f} a second, {left:,.0f} s left"

    def close(self) -> None:
        """Clear the line."""
        if self._next != float("inf"):
            self._stream.write("\r\033[K")
            self._stream.flush()
