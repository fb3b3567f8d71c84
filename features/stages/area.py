"""Where a directory is made for as long as that takes: by several processes, one after the other.

    .NAME.building/lock           held by the process that builds; says which it is
                   journal.json   what is finished (``features.stages.journal``)
                   made/          becomes NAME

There is one such place a target. The system lets go of the lock however its process ends, so what a dead process left is
the next one's.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from features.asides import aside_of
from features.errors import ConfigError, DataError
from features.files import put_in_place


@dataclass(frozen=True, kw_only=True)
class BuildingArea:
    """The place, held by this process.

    Args:
        target: what is made.
        directory: the place.
    """

    target: Path
    directory: Path

    @property
    def made(self) -> Path:
        """What becomes the target."""
        return self.directory / "made"

    @property
    def journal(self) -> Path:
        """The file that says what is finished."""
        return self.directory / "journal.json"

    def size(self) -> int:
        """Return how many bytes lie here."""
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())

    def keep_only(self, files: set[str]) -> None:
        """Remove everything from ``made`` but some files, named relative to it."""
        self.made.mkdir(exist_ok=True)
        for path in sorted(self.made.rglob("*"), reverse=True):  # what lies in a directory before the directory
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):  # something that stays lies in it
                    path.rmdir()
            elif path.relative_to(self.made).as_posix() not in files:
                path.unlink()

    def publish(self) -> None:
        """Put ``made`` in the target's place, whole, and remove the area."""
        put_in_place(self.made, self.target)
        self.remove()

    def remove(self) -> None:
        """Remove the area; whoever builds next makes another."""
        if self.directory.exists():
            gone = aside_of(self.target)
            self.directory.rename(gone)  # at once, so that no other process takes hold of half of it
            shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def building_area(target: Path) -> Iterator[BuildingArea]:
    """Yield the area of a target, held against other processes until the block ends; what is in it stays.

    Raises:
        ConfigError: another process builds the target.
        DataError: the target's parent is no directory.
    """
    target = Path(target)
    directory = target.parent / f".{target.name}.building"
    with contextlib.closing(_held(directory, target)):
        yield BuildingArea(target=target, directory=directory)


def _held(directory: Path, target: Path) -> IO[str]:
    """Return the open lock file, locked; closing it lets go."""
    while True:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise DataError(f"{target.parent}: expected a directory, found a file; choose another place.") from None
        try:
            lock = (directory / "lock").open("a+")
        except FileNotFoundError:  # its owner has just removed the area
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with lock:
                raise ConfigError(_taken(target, lock)) from None
        if _is_at(lock, directory / "lock"):
            _sign(lock)
            return lock
        lock.close()


def _is_at(lock: IO[str], path: Path) -> bool:
    """Whether the file is still the one at its path: the area may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sign(lock: IO[str]) -> None:
    since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    lock.truncate(0)
    lock.write(json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}))
    lock.flush()


def _taken(target: Path, lock: IO[str]) -> str:
    lock.seek(0)
    try:
        holder = json.loads(lock.read())
        who = f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except (json.JSONDecodeError, KeyError, TypeError):  # about to sign
        who = "another process"
    return f"{target}: expected nobody else to build it, found {who}; wait for it, or choose another directory."
