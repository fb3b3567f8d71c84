"""Queries typed one after the other, at a terminal or from a file on stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from features.errors import ConfigError
from features.insight.sql.tables import ReadOnlyTables

_PROMPT, _MORE = "footfall> ", "     ...> "
_SHOWN_ROWS = 1_000


def run_shell(tables: ReadOnlyTables, *, typed: TextIO = sys.stdin, out: TextIO = sys.stdout) -> dict[str, int]:
    """Answer each query as it comes; what is wrong with one is said, and the next is waited for.

    Args:
        tables: an open session.
        typed: where queries come from; each ends in a semicolon.
        out: where answers go.

    Returns:
        queries, refused: how many.
    """
    counts = {"queries": 0, "refused": 0}
    for text in statements(_lines(typed)):
        counts["queries"] += 1
        try:
            out.write(as_text(tables, text) + "\n")
        except ConfigError as error:
            counts["refused"] += 1
            out.write(f"{error}\n")
        out.flush()
    return counts


def as_text(tables: ReadOnlyTables, text: str, *, limit: int = _SHOWN_ROWS) -> str:
    """Return a query's rows as a table of text."""
    rows = tables.query(text, limit=limit)
    return rows.to_pandas(date_as_object=True).to_string(index=False) if rows.num_rows else "(no rows)"


def statements(lines: Iterable[str]) -> Iterator[str]:
    r"""Yield what stands up to a line that ends in a semicolon.

    >>> list(statements(["SELECT 1", "  + 1;", "SELECT 2;"]))
    ['SELECT 1\n  + 1;', 'SELECT 2;']
    """
    kept: list[str] = []
    for line in lines:
        if line.strip() or kept:
            kept.append(line.rstrip("\n"))
        if line.rstrip().endswith(";"):
            yield "\n".join(kept)
            kept = []
    if kept:
        yield "\n".join(kept)


def _lines(typed: TextIO) -> Iterator[str]:
    if not (typed is sys.stdin and typed.isatty()):
        yield from typed
        return
    import readline  # noqa: F401, PLC0415 (arrow keys and history, at a terminal alone)

    prompt = _PROMPT
    while True:
        try:
            line = input(prompt)
        except EOFError:
            return
        prompt = _PROMPT if line.rstrip().endswith(";") or not line.strip() else _MORE
        yield line
