"""``footfall sql``: the contract's tables in DuckDB, read-only."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from features.commands.parsing import run_command
from features.settings import EngineSettings


def sql(
    directory: Path,
    query: str = "",
    *,
    data: Path | None = None,
    out: Path | None = None,
    limit: int = 1_000,
    purpose: Literal["analytics", "personalisation"] = "analytics",
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any] | None:
    """Ask the tables of a directory in SQL. Nothing can be changed, and no other file can be read.

    Tables are events, items and, where they exist, customers, users, coupons, spend, exposures and the contract's
    others; `SHOW TABLES` and `DESCRIBE events` list them. Without a query, queries are read from the terminal or
    stdin, each up to a semicolon.

    Args:
        directory: feature directory, whose events are those that may serve the purpose; or a data directory, whose
            events stand as they arrived, consent not looked at.
        query: one statement that reads.
        data: data directory of the features, for coupons, spend and the like.
        out: .parquet or .csv file for all rows of the query.
        limit: the most rows that are shown.
        purpose: what rows of the event log must serve.
        engine: memory limit and threads.
    """
    from features.insight.sql.shell import as_text, run_shell
    from features.insight.sql.tables import ReadOnlyTables

    with ReadOnlyTables.open(directory, data=data, purpose=purpose, engine=engine) as tables:
        if not tables.consented:
            sys.stderr.write("footfall sql: events as they arrived; consent is not looked at.\n")
        if not query:
            return run_shell(tables) if out is None else _export(tables, sys.stdin.read(), out)
        if out is not None:
            return _export(tables, query, out)
        if sys.stdout.isatty():
            sys.stdout.write(as_text(tables, query, limit=limit) + "\n")
            return None
        rows = tables.query(query, limit=limit)
        return {"columns": rows.column_names, "rows": _plain(rows)}


def _export(tables: Any, query: str, out: Path) -> dict[str, Any]:
    return {"out": str(out), "rows": tables.export(query, out)}


def _plain(rows: Any) -> list[list[Any]]:
    """Return rows as JSON has them: whole sums as numbers, days and instants as text, what is no number as nothing."""
    return [[_value(value) for value in row.values()] for row in rows.to_pylist()]


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _value(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_value(one) for one in value]
    if isinstance(value, Decimal):  # DuckDB's sums of whole numbers among them
        return int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return None if isinstance(value, float) else str(value)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall sql``."""
    pairs = zip(["", *argv], argv, strict=False)
    bare = [
        place for place, (before, word) in enumerate(pairs)
        if not word.startswith("-") and not (before.startswith("--") and "=" not in before)
    ]  # fmt: skip
    words = list(argv)
    if len(bare) == 2:  # the directory, and the query wherever it stands behind it
        words.insert(bare[1], "--query")
    return run_command(sql, words, prog="footfall sql")
