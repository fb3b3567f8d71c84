"""The customer table of a release, looked up by user id."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ReleaseError
from features.vocabulary import FIRST, Vocabulary

_CATEGORY_COLUMN: Final = "favourite_category"


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerBook:
    """One row a customer.

    Args:
        rows: the customer table; all columns but the user id.
        users: row ``r`` is code ``r + 2``.
        as_of: the instant that the rows describe, as the part states it.
        currency: ISO 4217 code of the money columns; ``None`` where the part does not say.
        minor_units: minor units, in which the money columns count, in one unit of the currency.
    """

    rows: pa.Table
    users: Vocabulary
    as_of: str | None
    currency: str | None = None
    minor_units: int = 1

    @classmethod
    def load(cls, path: Path, *, as_of: str | None, currency: str | None = None, minor_units: int = 1) -> CustomerBook:
        """Map a customers file.

        Raises:
            ReleaseError: it has no user ids.
        """
        table = pq.read_table(path, memory_map=True)
        if c.USER_ID not in table.column_names:
            raise ReleaseError(f"{path}: expected a column {c.USER_ID!r}, found {table.column_names}.")
        users = Vocabulary.from_ids(table[c.USER_ID].cast(pa.string()).to_pylist())
        rows = table.drop_columns([c.USER_ID])
        return cls(rows=rows, users=users, as_of=as_of, currency=currency, minor_units=minor_units)

    def profile(self, user_id: str) -> dict[str, Any] | None:
        """Return a customer's row as JSON values, ``None`` where there is none."""
        return self._row(user_id, self.rows.column_names)

    def segments(self, user_id: str) -> dict[str, Any] | None:
        """Return a customer's labels: columns of text, flags or lists, neither measures nor ids."""
        return self._row(user_id, self.segment_columns)

    def category(self, user_id: str) -> str | None:
        """Return the category that a customer likes best, ``None`` where it is not known."""
        if _CATEGORY_COLUMN not in self.rows.column_names:
            return None
        row = self._row(user_id, [_CATEGORY_COLUMN]) or {}
        return row.get(_CATEGORY_COLUMN) or None

    @property
    def segment_columns(self) -> list[str]:
        """Columns of labels."""
        return [field.name for field in self.rows.schema if _is_label(field.type) and not field.name.endswith("_id")]

    def _row(self, user_id: str, names: list[str]) -> dict[str, Any] | None:
        code = self.users.code_of(user_id)
        if code < FIRST:
            return None
        row = self.rows.select(names).slice(code - FIRST, 1).to_pylist()
        return {name: _json(value) for name, value in row[0].items()} if row else {}


def _is_label(kind: pa.DataType) -> bool:
    labels = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_dictionary)
    return any(test(kind) for test in labels) or pa.types.is_list(kind)


def _json(value: Any) -> Any:
    """Return a Parquet value as JSON has it; NaN and infinity are ``null``."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
