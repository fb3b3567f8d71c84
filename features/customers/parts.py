"""What the customer table is put together from: parts, each a function of one context, each with its columns' meaning.

context  ->  Part.build  ->  frame: user_id, and the part's columns; one row a user, or none where nothing is known

A column is described once, here: the description is its documentation (``features.customers.reference``), and what
a rule or a report may count on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from features import columns as c
from features.customers.context import Context
from features.customers.workbench import Frame
from features.errors import DataError
from features.tables.expressions import frame_of

Kind = Literal[
    "id", "text", "day", "hour", "whole", "count", "money", "real", "share", "flag", "texts", "wholes", "reals"
]

# What a kind is in the file.
ARROW_TYPES: Final[dict[Kind, pa.DataType]] = {
    "id": pa.string(),
    "text": pa.string(),
    "day": pa.date32(),
    "hour": pa.int64(),  # 0 .. 23, local
    "whole": pa.int64(),
    "count": pa.int64(),  # >= 0
    "money": pa.int64(),  # minor units
    "real": pa.float64(),
    "share": pa.float64(),  # 0 .. 1
    "flag": pa.bool_(),
    "texts": pa.list_(pa.string()),  # best first
    "wholes": pa.list_(pa.int64()),
    "reals": pa.list_(pa.float64()),
}


@dataclass(frozen=True, kw_only=True)
class CustomerColumn:
    """One column of the customer table.

    Args:
        name: as in the file.
        kind: what it holds; see ``ARROW_TYPES``.
        unit: such as ``days`` or ``minor units``; empty where there is none.
        meaning: its definition in one sentence, and when it is missing.
    """

    name: str
    kind: Kind
    unit: str = ""
    meaning: str

    @property
    def arrow_type(self) -> pa.DataType:
        """The type in the file."""
        return ARROW_TYPES[self.kind]


def column(name: str, kind: Kind, unit: str, meaning: str) -> CustomerColumn:
    """Return a column; short for tables of them."""
    return CustomerColumn(name=name, kind=kind, unit=unit, meaning=meaning)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A table whose rows of a user follow from that user's rows, so that it is made for some users after the other.

    Args:
        name: by which ``make`` keeps it in a context (``Context.once``).
        make: context -> frame with ``user_id``.
    """

    name: str
    make: Callable[[Context], Frame]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some columns that are made together.

    Args:
        name: unique among the parts.
        build: context -> frame of ``user_id`` and the columns, one row a user.
        columns: in the order of the table. Where a user has no row, they are missing.
        prefix: further columns of the frame that start like this are kept too (``tag_``), as texts.
        by_user: whether a user's row follows from that user's rows alone, and from what ``Context.everyone`` says of
            the shop: then it is built for some users after the other. Else it is built once, of all. Right for what is
            large on the way; where rows are summed up by user at once, the whole is read in a quarter of the time that
            ranges of users take, of whose ids DuckDB loses the dictionaries.
        gathers: tables of all users that ``build`` reads where it is built once.
    """

    name: str
    build: Callable[[Context], Frame]
    columns: tuple[CustomerColumn, ...]
    prefix: str = ""
    by_user: bool = False
    gathers: tuple[Gathered, ...] = ()

    def select(self, context: Context) -> Frame:
        """Return ``user_id`` and the columns, and no others.

        Raises:
            DataError: the frame lacks one of them.
        """
        made = frame_of(self.build(context))
        found = made.columns
        for name in (c.USER_ID, *(column.name for column in self.columns)):
            if name not in found:
                raise DataError(f"customers: expected part {self.name!r} to make {name!r}, found {found}.")
        known = [column.name for column in self.columns]
        more = [name for name in found if self.prefix and name.startswith(self.prefix) and name not in known]
        return made.select(c.USER_ID, *known, *more).to_native()
