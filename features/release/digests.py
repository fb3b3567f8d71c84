"""Digests that were computed already, so that a file that has not changed is not read again only to be checked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from features.errors import DataError
from features.files import read_json, sha256_of_file, write_json

Signature = tuple[int, int, int, int]
_HEX: Final = 64
_MOST: Final = 4096  # files; a release has some dozens


class KnownDigests:
    """SHA-256 by path, for as long as a file's device, inode, size and time of change are what they were.

    One process checks a release and saves what it found; others, which start later on the same machine, read the file
    system's word instead of every byte. A bit that flips on disk without a write goes unseen until somebody computes anew:
    call the object for what is remembered, ``fresh`` for what is on disk.

    Args:
        known: digests by path, with the signature of the file that they were computed of.
    """

    def __init__(self, known: dict[str, tuple[Signature, str]] | None = None) -> None:
        self._known = known or {}

    def __call__(self, path: Path) -> str:
        """Return a file's SHA-256, remembered where the file is the same."""
        found = self._known.get(str(path))
        if found is not None and found[0] == signature_of(path):
            return found[1]
        return self.fresh(path)

    def fresh(self, path: Path) -> str:
        """Compute a file's SHA-256 and remember it."""
        before = signature_of(path)  # a change while it is read is seen at the next question
        digest = sha256_of_file(path)
        self._known.pop(str(path), None)
        self._known[str(path)] = (before, digest)  # newest last
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return digest

    @classmethod
    def load(cls, path: Path) -> KnownDigests:
        """Read what ``save`` wrote; nothing is known where the file is missing or damaged."""
        try:
            rows = read_json(path)
            known = {str(file): (_signature(row[0]), str(row[1])) for file, row in rows.items() if len(row[1]) == _HEX}
        except (DataError, OSError, AttributeError, TypeError, ValueError, IndexError, KeyError):
            return cls()
        return cls(known)

    def save(self, path: Path) -> None:
        """Write what is known as JSON."""
        write_json(path, {file: [list(signature), digest] for file, (signature, digest) in self._known.items()})


def signature_of(path: Path) -> Signature:
    """Return a file's device, inode, size and time of change in nanoseconds."""
    stat = Path(path).stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _signature(values: list[int]) -> Signature:
    device, inode, size, changed_ns = (int(value) for value in values)
    return device, inode, size, changed_ns
