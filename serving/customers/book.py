"""The customer table of a release, looked up by user id."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ReleaseError
from features.identity.map import IdentityMap
from features.vocabulary import FIRST, Vocabulary

Text = npt.NDArray[np.object_]

_CATEGORY_COLUMN: Final = "favourite_category"
# How far along a customer is; the first that the table has.
_STAGE_COLUMNS: Final = ("growth_stage", "lifecycle")


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerBook:
    """One row a customer.

    Args:
        rows: the customer table; all columns but the user id.
        users: row ``r`` is code ``r + 2``.
        as_of: the instant that the rows describe, as the part states it.
        currency: ISO 4217 code of the money columns; ``None`` where the part does not say.
        minor_units: minor units, in which the money columns count, in one unit of the currency.
        links: the customers of ids that are none themselves, such as devices.
    """

    rows: pa.Table
    users: Vocabulary
    as_of: str | None
    currency: str | None = None
    minor_units: int = 1
    links: IdentityMap = field(default_factory=IdentityMap.empty)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        as_of: str | None,
        currency: str | None = None,
        minor_units: int = 1,
        links: IdentityMap | None = None,
    ) -> CustomerBook:
        """Map a customers file.

        Raises:
            ReleaseError: it has no user ids.
        """
        table = pq.read_table(path, memory_map=True)
        if c.USER_ID not in table.column_names:
            raise ReleaseError(f"{path}: expected a column {c.USER_ID!r}, found {table.column_names}.")
        users = Vocabulary.from_ids(table[c.USER_ID].cast(pa.string()).to_pylist())
        rows = table.drop_columns([c.USER_ID])
        known = links or IdentityMap.empty()
        return cls(rows=rows, users=users, as_of=as_of, currency=currency, minor_units=minor_units, links=known)

    def profile(self, user_id: str) -> dict[str, Any] | None:
        """Return a customer's row as JSON values, ``None`` where there is none."""
        return self._row(user_id, self.rows.column_names)

    def row(self, user_id: str) -> dict[str, Any]:
        """Return a customer's row as rules compare it: days are dates, what is missing is ``None``; empty for nobody."""
        code = self._code(user_id)
        if code < FIRST:
            return {}
        values = self.rows.slice(code - FIRST, 1).to_pylist()[0]
        return {name: _plain(value) for name, value in values.items()}

    def segments(self, user_id: str) -> dict[str, Any] | None:
        """Return a customer's labels: columns of text, flags or lists of text, neither measures nor ids."""
        return self._row(user_id, self.segment_columns)

    def segments_of(self, user_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return what ``segments`` returns of many customers, column by column."""
        rows = self._codes(user_ids) - FIRST
        known, names = np.flatnonzero(rows >= 0), self.segment_columns
        chosen = self.rows.select(names).take(pa.array(rows[known]))
        columns = [_labels(chosen[name].combine_chunks()) for name in names]
        found: list[dict[str, Any] | None] = [None] * len(rows)
        for place, values in zip(known, zip(*columns, strict=True) if names else [()] * len(known), strict=True):
            found[place] = dict(zip(names, values, strict=True))
        return found

    def customer_of(self, user_id: str) -> str:
        """Return the customer that an id belongs to, the id itself where none is known."""
        return user_id if user_id in self.users else self.links.resolve([user_id])[0]

    def row_number(self, user_id: str) -> int:
        """Return the row of the customer that an id belongs to, -1 where there is none."""
        return max(self._code(user_id) - FIRST, -1)

    @property
    def day(self) -> dt.date | None:
        """The local day that the rows describe."""
        return None if self.as_of is None else dt.date.fromisoformat(self.as_of[:10])

    def labels(self, user_id: str) -> tuple[str, str]:
        """Return a customer's favourite top-level category and growth stage, blank where not known."""
        code = self._code(user_id)
        if code < FIRST:
            return "", ""
        category, stage = (self._text(name, [code - FIRST])[0] for name in self._label_columns)
        return category.split("/")[0], stage

    def labels_of(self, user_ids: Iterable[str]) -> tuple[Text, Text]:
        """Return what ``labels`` returns of many customers, each as str ``[U]``."""
        rows = self._codes(list(user_ids)) - FIRST
        known = rows >= 0
        category, stage = (np.full(len(rows), "", object) for _ in range(2))
        names = self._label_columns
        category[known] = [path.split("/")[0] for path in self._text(names[0], rows[known])]
        stage[known] = self._text(names[1], rows[known])
        return category, stage

    def _code(self, user_id: str) -> int:
        """Return the code of the customer that an id belongs to."""
        code = self.users.code_of(user_id)
        return code if code >= FIRST else self.users.code_of(self.links.resolve([user_id])[0])

    def _codes(self, user_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return what ``_code`` returns of many ids, ``[U]``."""
        codes = self.users.encode(user_ids).astype(np.int64)
        others = np.flatnonzero(codes < FIRST)
        codes[others] = self.users.encode(self.links.resolve([user_ids[row] for row in others.tolist()]))
        return codes

    @property
    def _label_columns(self) -> tuple[str, str]:
        stages = [name for name in _STAGE_COLUMNS if name in self.rows.column_names]
        return _CATEGORY_COLUMN, stages[0] if stages else ""

    def _text(self, name: str, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        """Return a column's text in some rows, blank where missing."""
        if name not in self.rows.column_names:
            return [""] * len(rows)
        return [str(value or "") for value in self.rows[name].take(pa.array(rows)).to_pylist()]

    @property
    def segment_columns(self) -> list[str]:
        """Columns of labels."""
        return [field.name for field in self.rows.schema if _is_label(field.type) and not field.name.endswith("_id")]

    def _row(self, user_id: str, names: list[str]) -> dict[str, Any] | None:
        code = self._code(user_id)
        if code < FIRST:
            return None
        row = self.rows.select(names).slice(code - FIRST, 1).to_pylist()
        return {name: _json(value) for name, value in row[0].items()} if row else {}


def _is_label(kind: pa.DataType) -> bool:
    """Whether a type holds labels: a list of numbers, such as shares by hour, is a measure."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_label(kind.value_type)
    labels = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_dictionary)
    return any(test(kind) for test in labels)


def _labels(column: pa.Array) -> list[Any]:
    """Return what ``to_pylist`` returns, quicker where few values come many times, as labels do."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        flat, at, found = _labels(column.flatten()), 0, list[Any]()
        for length in pc.fill_null(pc.list_value_length(column), -1).to_numpy().tolist():
            found.append(None if length < 0 else flat[at : at + length])
            at += max(length, 0)
        return found
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words = [*coded.dictionary.to_pylist(), None]  # the last one stands for what is missing
    return [words[code] for code in pc.fill_null(coded.indices, -1).to_numpy().tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.date() if isinstance(value, dt.datetime) else value


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
