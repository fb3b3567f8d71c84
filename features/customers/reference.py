"""The columns of the customer table as Markdown, for ``docs/customers.md``.

After a change to a part: ``python -m features.customers.reference docs/customers.md``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from features.customers.parts import ARROW_TYPES, CustomerColumn, Part
from features.customers.registry import PARTS

BEGIN: Final = "<!-- begin: written by features.customers.reference -->"
END: Final = "<!-- end -->"


def reference() -> str:
    """Return one Markdown table of all columns, in the order of the table."""
    rows = [_row(part, column) for part in PARTS for column in part.columns]
    rows += [
        f"| `{part.prefix}*` | {part.name} | text | | As the shop's users table has it."
        for part in PARTS
        if part.prefix
    ]
    head = "| column | part | kind | unit | meaning |\n|---|---|---|---|---|"
    return "\n".join([head, *(row.rstrip(" |") + " |" for row in rows)])


def with_reference(page: str) -> str:
    """Return ``page`` with the text between its two marks replaced by today's reference."""
    head, rest = page.split(BEGIN, maxsplit=1)
    return f"{head}{BEGIN}\n\n{reference()}\n\n{END}{rest.split(END, maxsplit=1)[1]}"


def _row(part: Part, column: CustomerColumn) -> str:
    kind = (
        f"{column.kind} ({ARROW_TYPES[column.kind]})".replace("[day]", "")
        .replace("list<element: ", "list<")
        .replace("list<item: ", "list<")
    )
    return f"| `{column.name}` | {part.name} | {kind} | {column.unit} | {column.meaning} |"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_reference(target.read_text(encoding="utf-8")), encoding="utf-8")
