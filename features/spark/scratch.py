"""Frames kept as Parquet on the file system that all workers see, where a dead worker takes none of them along."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from features.spark.session import file_url


def write_parts(frame: Any, path: Path) -> Path:
    """Write a frame as a directory of Parquet files ``00000.parquet``, ``00001.parquet``, ... in order of its parts.

    What stands at ``path`` is replaced; whoever reads the directory before this returns finds no file of a known name.
    """
    shutil.rmtree(path, ignore_errors=True)
    frame.write.parquet(file_url(path))
    for number, part in enumerate(sorted(path.glob("part-*.parquet"))):
        part.rename(path / f"{number:05d}.parquet")
    return path


def read_parts(session: Any, path: Path) -> Any:
    """Return a table as a frame."""
    return session.read.parquet(file_url(path))


def kept(frame: Any, path: Path) -> Any:
    """Return a frame that is computed once and read from ``path`` from then on."""
    return read_parts(frame.sparkSession, write_parts(frame, path))
