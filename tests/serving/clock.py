"""A clock that tests set."""

from __future__ import annotations


class Clock:
    """UTC microseconds, as they were set."""

    def __init__(self, us: int) -> None:
        self.us = us

    def __call__(self) -> int:
        return self.us

    def pass_(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)
