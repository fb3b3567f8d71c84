"""Files that are either whole or absent: write aside, then rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.asides import aside_of, sweep
from features.errors import DataError

_BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def staged_directory(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a fresh directory beside ``target`` that becomes ``target`` when the block ends well.

    An exception leaves ``target`` as it was. With ``replace`` an existing directory is moved aside
    first and deleted last; a crash between the two moves leaves it whole beside ``target``, as ``.NAME.*.retired``.
    What a killed writer left of ``target`` is removed (see ``features.asides``).

    Raises:
        DataError: ``target`` exists and ``replace`` is false, or its parent is no directory.
    """
    target = Path(target)
    if target.exists() and not replace:
        raise DataError(f"{target} exists already; choose another directory or remove it first.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{target.parent}: expected a directory, found a file; choose another place.") from None
    sweep(target.parent, target.name)
    staging = aside_of(target)
    staging.mkdir()
    try:
        yield staging
        put_in_place(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def put_in_place(staging: Path, target: Path) -> None:
    """Make a directory beside ``target`` the target, on disk, and delete what stood there.

    What stood there is moved aside first: see ``staged_directory``.
    """
    sync_tree(staging)
    if target.exists():
        retired = aside_of(target, "retired")
        target.rename(retired)
        try:
            staging.rename(target)
        except OSError:
            retired.rename(target)
            raise
        shutil.rmtree(retired)
    else:
        staging.rename(target)
    _sync(target.parent)
    sweep(target.parent, target.name)  # what was retired in vain, now that something is in its place


def sync_tree(path: Path) -> None:
    """Wait until a file, or a directory with all that is in it, is on disk."""
    for part in sorted(path.rglob("*")):
        _sync(part)
    _sync(path)


@contextlib.contextmanager
def staged_file(target: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Yield a path beside ``target``; what is written there becomes ``target`` when the block ends well.

    Args:
        target: the file.
        mode: permissions of an empty file that then waits there to be written to; none waits where left out.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    aside = aside_of(target)
    try:
        if mode is not None:
            os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield aside
        _sync(aside)
        aside.replace(target)
        _sync(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one.

    Args:
        path: the file.
        content: all of it.
        mode: permissions, less the process's umask; no reader ever sees wider ones.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, path.name)
    aside = aside_of(path)
    try:
        with open(aside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, whole or not at all; NaN is refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Return the JSON value in ``path``.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: expected a JSON file here, found none.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected JSON, found something else ({error}).") from None


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
