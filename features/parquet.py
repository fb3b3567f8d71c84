"""A table as one Parquet file, or as a directory of Parquet files that together are the table.

A cluster writes directories, each part by another worker::

    event_log.parquet/00000.parquet     users a .. k
                      00001.parquet     users l .. z
                      _footfall.json    what one file says in its footer

Whoever reads events, an event log or a customer table asks here which files those are, in the order of their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from features.engine import sql_text

SUMMARY_FILE: Final = "_footfall.json"


def is_table(path: Path) -> bool:
    """Tell whether a table stands at ``path``: a file, or a directory with a Parquet file in it."""
    path = Path(path)
    return path.is_file() or (path.is_dir() and bool(_parts(path)))


def files_of(path: Path) -> list[Path]:
    """Return the files of a table, sorted by name; ``path`` itself where it is no directory."""
    path = Path(path)
    return _parts(path) if path.is_dir() else [path]


def names_of(path: Path) -> list[str]:
    """Return the files of a table as ``duckdb.read_parquet`` takes them."""
    return [str(file) for file in files_of(path)]


def scan(path: Path) -> str:
    """Return SQL that reads a table, for use after FROM.

    >>> scan(Path("data/events.parquet"))
    "read_parquet(['data/events.parquet'])"
    """
    return f"read_parquet([{', '.join(map(sql_text, names_of(path)))}])"


def _parts(directory: Path) -> list[Path]:
    found = (path.relative_to(directory) for path in directory.rglob("*.parquet"))
    return [directory / path for path in sorted(found) if not any(part.startswith((".", "_")) for part in path.parts)]
