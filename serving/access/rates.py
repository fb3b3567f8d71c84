"""Token buckets that all workers of a server share.

A bucket is one number in shared memory: until when the requests so far have used it up (the "theoretical arrival
time" of the generic cell rate algorithm). A request fits where that is no further ahead than a burst lasts, and moves
it on by its share. A lock on the file keeps two workers from counting two requests as one. It is held for a
microsecond; where a worker is stopped just then, the others go on without it rather than wait, and may count wrong
for as long as that lasts.

Example, 10 requests a second, burst 5, at second 100.0::

    bucket 99.0 -> fits, 100.1      (it was empty: counting starts now)
    bucket 100.4 -> fits, 100.5     (four came just before; this is the fifth)
    bucket 100.5 -> no, in 0.1 s
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from serving.access.settings import Rate

MAX_KEYS: Final = 4_096
_HASHED: Final = 65_536
_SLOT: Final = struct.Struct("<d")
_BYTES: Final = (MAX_KEYS + _HASHED) * _SLOT.size
_TRIES: Final = 50


class SharedBuckets:
    """Buckets by number, exact, and by name: an address or a token's owner, of which there may be any number.

    A named bucket is two slots out of 65,536; the emptier one counts. Two names share a bucket only where both slots
    collide with fuller ones, which a server of some thousand busy addresses hardly meets.

    Args:
        path: file that the workers of one server share, made where absent; memory of this process alone where ``None``.
        clock: seconds that all processes of the machine agree on, and that nobody can set.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = -1 if path is None else _opened(path)  # -1: memory of this process
        self._memory = mmap.mmap(self._file, _BYTES)
        self._clock = clock

    def take(self, number: int, rate: Rate) -> float:
        """Count a request into a numbered bucket; return 0 where it fits, else seconds until it may."""
        return self._take((number,), rate)

    def charge_named(self, name: bytes, rate: Rate, requests: int) -> None:
        """Count what turned out to be as much as so many requests more: later ones wait for it."""
        if rate.per_second > 0 and requests > 0:
            with self._locked():
                self._moved(_slots_of(name), rate, requests=requests, most=math.inf)

    def take_named(self, name: bytes, rate: Rate) -> float:
        """Count a request into a named bucket; return 0 where it fits, else seconds until it may."""
        return self._take(_slots_of(name), rate)

    def _take(self, slots: tuple[int, ...], rate: Rate) -> float:
        if rate.per_second <= 0:
            return 0.0
        with self._locked():
            return self._moved(slots, rate, requests=1, most=rate.burst)

    def _moved(self, slots: tuple[int, ...], rate: Rate, *, requests: int, most: float) -> float:
        memory, now, share = self._memory, self._clock(), 1.0 / rate.per_second
        used = [max(_SLOT.unpack_from(memory, slot * _SLOT.size)[0], now) for slot in slots]
        until = min(used) + requests * share
        ahead = until - now - most * share
        if ahead > 1e-9:
            return ahead
        for slot, before in zip(slots, used, strict=True):
            if before < until:
                _SLOT.pack_into(memory, slot * _SLOT.size, until)
        return 0.0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        is_held = self._file >= 0 and any(_try_lock(self._file) for _ in range(_TRIES))
        try:
            yield
        finally:
            if is_held:
                fcntl.flock(self._file, fcntl.LOCK_UN)


def _slots_of(name: bytes) -> tuple[int, int]:
    digest = hashlib.blake2b(name, digest_size=8).digest()
    first = int.from_bytes(digest[:4], "little") % _HASHED
    second = int.from_bytes(digest[4:], "little") % _HASHED
    return MAX_KEYS + first, MAX_KEYS + second


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if os.fstat(file).st_size < _BYTES:
        os.ftruncate(file, _BYTES)
    return file
