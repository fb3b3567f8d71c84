"""Where things are written before they take their place, and what dead processes left of that.

    .NAME.HOST-PID-PROCESS-TIMES.partial    being written
    .NAME.HOST-PID-PROCESS-TIMES.retired    replaced, about to be deleted

A process that is killed leaves such a path behind. The next writer of NAME removes it, if its process lived on
this host and lives no more; PROCESS tells two processes of one number apart, as a container has when it restarts.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

_HOST: Final = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_PROCESS: Final = uuid.uuid4().hex[:8]
_NAME: Final = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-(?P<process>[0-9a-f]{8})-[0-9a-f]{8}\.(?:partial|retired)"
)

log = logging.getLogger(__name__)


def aside_of(target: Path, suffix: Literal["partial", "retired"] = "partial") -> Path:
    """Return a new path beside ``target``, which tells that this process uses it."""
    owner = f"{_HOST}-{os.getpid()}-{_PROCESS}-{uuid.uuid4().hex[:8]}"
    return target.parent / f".{target.name}.{owner}.{suffix}"


def sweep(directory: Path, name: str = "") -> None:
    """Remove what dead processes of this host left in a directory.

    What was retired stays until there is something in its place.

    Args:
        directory: looked at, not what lies in it; may be missing.
        name: of one target; of all where empty.
    """
    for path in sorted(directory.glob(".*")):
        found = _NAME.fullmatch(path.name)
        if found is None or (name and found["name"] != name) or not _is_dead(found):
            continue
        if path.suffix == ".retired" and not (directory / found["name"]).exists():
            continue
        log.info("swept %s, which a process that was killed left", path)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_directory(parent: Path, name: str) -> Iterator[Path]:
    """Yield an empty directory in ``parent`` for its owner alone, which is removed afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent, name)
    scratch = aside_of(parent / name)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_dead(found: re.Match[str]) -> bool:
    if found["host"] != _HOST:
        return False
    pid = int(found["pid"])
    if pid == os.getpid():
        return found["process"] != _PROCESS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # another user's, or no number of a process
        return False
    return False
