"""Temporary directories of servers, gone with them; those of servers that were killed go with the next one's start."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_ALIVE: Final = "alive"


@contextlib.contextmanager
def home(prefix: str) -> Iterator[Path]:
    """Make a directory that is held while this runs, and remove those of the dead.

    Args:
        prefix: of the directory's name.
    """
    _sweep(prefix)
    made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with made as directory, (Path(directory) / _ALIVE).open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        yield Path(directory)


def _sweep(prefix: str) -> None:
    for alive in Path(tempfile.gettempdir()).glob(f"{prefix}*/{_ALIVE}"):
        with contextlib.suppress(OSError), alive.open("rb") as file:  # another user's, or held: it lives
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _log.info("%s: removed, its server was killed", alive.parent)
            shutil.rmtree(alive.parent, ignore_errors=True)
