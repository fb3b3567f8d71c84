"""The contract's tables as Markdown, for ``docs/data-contract.md``.

After a change to ``tables.py``: ``python -m features.contract.reference docs/data-contract.md``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from features.contract.check import EXPECTED
from features.contract.tables import SQL_TYPES, TABLES, Column, Table

BEGIN: Final = "<!-- begin: written by features.contract.reference -->"
END: Final = "<!-- end -->"


def reference() -> str:
    """Return one Markdown section a table, in contract order."""
    return "\n\n".join(_section(table) for table in TABLES.values())


def with_reference(page: str) -> str:
    """Return ``page`` with the text between its two marks replaced by today's reference."""
    head, rest = page.split(BEGIN, maxsplit=1)
    return f"{head}{BEGIN}\n\n{reference()}\n\n{END}{rest.split(END, maxsplit=1)[1]}"


def _section(table: Table) -> str:
    rows = "\n".join(_row(column) for column in table.columns)
    tags = "\n| `tag_*` | text | | any further column so named is kept |" if table.allows_tags else ""
    head = "| column | kind | required | expected |\n|---|---|---|---|"
    return f"### {table.name}\n\nOne row for each `{', '.join(table.key)}`.\n\n{head}\n{rows}{tags}"


def _row(column: Column) -> str:
    expected = ", ".join(column.one_of) if column.one_of else EXPECTED[column.kind]
    kind = f"{column.kind} ({SQL_TYPES[column.kind].lower()})"
    return f"| `{column.name}` | {kind} | {'yes' if column.required else ''} | {expected} |"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_reference(target.read_text(encoding="utf-8")), encoding="utf-8")
