"""A limit on a process's memory that the system holds it to, page cache and all, where this machine lets us set one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_CONTROLLER: Final = Path("/sys/fs/cgroup/memory")  # version 1, as containers of older kernels have it


@contextlib.contextmanager
def memory_cage(num_bytes: int) -> Iterator[Callable[[], None] | None]:
    """Yield what a child process calls to be held to ``num_bytes`` (``preexec_fn``); ``None`` where that cannot be had."""
    cage = _CONTROLLER / f"footfall-{os.getpid()}"
    try:
        cage.mkdir()
        (cage / "memory.limit_in_bytes").write_text(str(num_bytes))
    except OSError:
        yield None
        return
    try:
        yield lambda: (cage / "cgroup.procs").write_text(str(os.getpid())) and None
    finally:
        cage.rmdir()
