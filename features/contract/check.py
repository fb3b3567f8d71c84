"""The contract as SQL: each column cast to its type, each broken row given its reason.

A source column passes three forms, each a query over the one before:

    present   the value, or NULL where it is missing, blank text or NaN
    value     the value in the contract's type, or NULL where it does not fit
    problem   NULL, or a sentence: "price: expected ..., found 'abc'"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from features import columns as c
from features.contract.tables import SQL_TYPES, Column, Kind, Table
from features.engine import sql_name, sql_text
from features.errors import DataError, did_you_mean

EXPECTED: Final[dict[Kind, str]] = {
    "id": "an id",
    "text": "a text",
    "instant": "an instant between 1900 and 2200, as a timestamp or ISO 8601 text",
    "day": "a day such as 2024-01-31",
    "count": "a whole number >= 0",
    "integer": "a whole number",
    "money": "a whole number of minor units >= 0",
    "real": "a finite number",
    "share": "a number from 0 to 1",
    "flag": "true or false",
}
# Event types of which at least one unit must have moved.
UNIT_EVENT_TYPES: Final = (c.PURCHASE, c.REFUND)

_INTEGERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_REALS: Final = ("FLOAT", "DOUBLE", "DECIMAL")
_TIMES: Final = ("TIMESTAMP", "DATE")
_MAX_FOUND_CHARS: Final = 80


def is_integer(sql_type: str) -> bool:
    """Tell whether a DuckDB type holds whole numbers."""
    return sql_type.removeprefix("U") in _INTEGERS


def is_real(sql_type: str) -> bool:
    """Tell whether a DuckDB type holds fractions."""
    return sql_type.startswith(_REALS) and not sql_type.endswith("]")


def is_float(sql_type: str) -> bool:
    """Tell whether a DuckDB type can hold NaN and infinity."""
    return sql_type in ("FLOAT", "DOUBLE")


@dataclass(frozen=True, kw_only=True)
class TableCheck:
    """What a source with these columns becomes under one table of the contract.

    Args:
        table: the contract.
        types: DuckDB type of each source column, in the source's order.
    """

    table: Table
    types: Mapping[str, str]

    def __post_init__(self) -> None:
        for column in self.table.columns:
            if column.required and column.name not in self.types:
                raise DataError(
                    f"{self.table.name}: expected a column {column.name!r}, found {', '.join(self.types) or 'none'}."
                    f"{did_you_mean(column.name, self.ignored)} Rename it, or map it."
                )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The contract's columns, then the source's tags in their order."""
        tags = [name for name in self.types if self._is_tag(name)]
        return (*self.table.columns, *(Column(name=name, kind="text") for name in tags))

    @property
    def ignored(self) -> list[str]:
        """Source columns that the contract does not know."""
        return [name for name in self.types if name not in self.table.column_names and not self._is_tag(name)]

    def query(self, source: str) -> str:
        """Return SQL over ``source`` (a Parquet file) with ``row`` (from 1), each column and ``reason``."""
        present = _list(f"{self._present(x)} AS {_in(x)}" for x in self.columns)
        values = _list(
            f"{_value(x.kind, _in(x), self.types.get(x.name, 'VARCHAR'))} AS {_out(x)}" for x in self.columns
        )
        problems = [_problem(x) for x in self.columns] + self._row_problems()
        return f"""
            SELECT row, {_list(_out(x) for x in self.columns)},
                nullif(concat_ws('; ', {_list(problems)}), '') AS reason
            FROM (SELECT *, {values} FROM (SELECT file_row_number + 1 AS row, {present} FROM {parquet(source)}))
        """

    def content(self) -> str:
        """Return SQL for a source row as JSON; numbers that JSON cannot say become text."""
        fields = (f"{sql_text(name)}, {_json(name, sql_type)}" for name, sql_type in self.types.items())
        return f"json_object({_list(fields)})"

    def _is_tag(self, name: str) -> bool:
        return self.table.allows_tags and name.startswith("tag_")

    def _present(self, column: Column) -> str:
        name, sql_type = sql_name(column.name), self.types.get(column.name)
        if sql_type is None:
            return "CAST(NULL AS VARCHAR)"
        if sql_type == "VARCHAR" or sql_type.startswith("ENUM"):
            return f"nullif(trim(CAST({name} AS VARCHAR)), '')"
        return f"CASE WHEN NOT isnan({name}) THEN {name} END" if is_float(sql_type) else name

    def _row_problems(self) -> list[str]:
        return [_item_problem(), _units_problem()] if self.table.name == "events" else []


def parquet(path: str) -> str:
    """Return SQL that scans a Parquet file with its row numbers."""
    return f"read_parquet({sql_text(path)}, file_row_number = true)"


def _value(kind: Kind, x: str, sql_type: str) -> str:
    return f"CAST({_CASTS[kind](x, sql_type)} AS {SQL_TYPES[kind]})"


def _as_text(x: str, sql_type: str) -> str:
    if not is_real(sql_type):
        return f"CAST({x} AS VARCHAR)"
    # A pandas column of ids with a gap arrives as floats: 123.0 means "123".
    return f"CASE WHEN {x} = floor({x}) AND abs({x}) < 1e15 THEN CAST(CAST({x} AS BIGINT) AS VARCHAR) ELSE CAST({x} AS VARCHAR) END"


def _as_instant(x: str, sql_type: str) -> str:
    if is_integer(sql_type) or is_real(sql_type):
        return "NULL"  # seconds or milliseconds? A mapping has to say.
    source = x if sql_type.startswith(_TIMES) else f"CAST({x} AS VARCHAR)"
    at = f"TRY_CAST({source} AS TIMESTAMP WITH TIME ZONE)"
    return f"CASE WHEN {at} >= TIMESTAMPTZ '1900-01-01 00:00:00+00' AND {at} < TIMESTAMPTZ '2200-01-01 00:00:00+00' THEN {at} END"


def _as_day(x: str, sql_type: str) -> str:
    at = f"CAST({_as_instant(x, sql_type)} AS TIMESTAMP)"
    return f"CASE WHEN {at} = date_trunc('day', {at}) THEN {at} END"


def _as_integer(x: str, sql_type: str) -> str:
    number = f"TRY_CAST({x} AS BIGINT)"
    if is_integer(sql_type):
        return number
    real = f"TRY_CAST({x} AS DOUBLE)"  # the cast to BIGINT rounds '2.5' without a word
    return f"CASE WHEN {real} = {number} THEN {number} END"


def _as_count(x: str, sql_type: str) -> str:
    number = _as_integer(x, sql_type)
    return f"CASE WHEN {number} >= 0 THEN {number} END"


def _as_real(x: str, sql_type: str) -> str:
    number = f"TRY_CAST({x} AS DOUBLE)"
    return number if is_integer(sql_type) else f"CASE WHEN isfinite({number}) THEN {number} END"


def _as_share(x: str, sql_type: str) -> str:
    number = _as_real(x, sql_type)
    return f"CASE WHEN {number} BETWEEN 0 AND 1 THEN {number} END"


def _as_flag(x: str, sql_type: str) -> str:
    if is_integer(sql_type) or is_real(sql_type):
        return f"CASE WHEN {x} = 1 THEN true WHEN {x} = 0 THEN false END"
    return f"TRY_CAST(CAST({x} AS VARCHAR) AS BOOLEAN)"


_CASTS: Final = {
    "id": _as_text,
    "text": _as_text,
    "instant": _as_instant,
    "day": _as_day,
    "count": _as_count,
    "integer": _as_integer,
    "money": _as_count,
    "real": _as_real,
    "share": _as_share,
    "flag": _as_flag,
}


def _problem(column: Column) -> str:
    expected = sql_text(f"{column.name}: expected {EXPECTED[column.kind]}, found ")
    cases = [f"WHEN {_in(column)} IS NOT NULL AND {_out(column)} IS NULL THEN {expected} || {_found(_in(column))}"]
    if column.required:
        cases.append(f"WHEN {_in(column)} IS NULL THEN {expected} || 'nothing'")
    if column.one_of:
        cases.append(f"WHEN {_out(column)} NOT IN ({_words(column.one_of)}) THEN {_choice(column)}")
    return f"CASE {' '.join(cases)} END"


def _choice(column: Column) -> str:
    """Return SQL for "event_type: expected one of ..., found 'vew'. Did you mean 'view'?"."""
    expected = sql_text(f"{column.name}: expected one of {', '.join(column.one_of)}, found ")
    scored = f"{{'score': jaro_winkler_similarity(word, {_out(column)}), 'word': word}}"
    best = f"list_max(list_transform([{_words(column.one_of)}], lambda word: {scored}))"
    hint = f"CASE WHEN {best}.score > 0.8 THEN '. Did you mean ''' || {best}.word || '''?' ELSE '' END"
    return f"{expected} || {_found(_in(column))} || {hint}"


def _item_problem() -> str:
    is_item_event = f"{c.EVENT_TYPE} IN ({_words(sorted(c.ITEM_EVENT_TYPES))})"
    sentence = f"'item_id: expected an item for event_type ''' || {c.EVENT_TYPE} || ''', found nothing'"
    return f"CASE WHEN {is_item_event} AND {c.ITEM_ID} IS NULL THEN {sentence} END"


def _units_problem() -> str:
    sentence = f"'quantity: expected at least 1 for event_type ''' || {c.EVENT_TYPE} || ''', found ''0'''"
    return f"CASE WHEN {c.EVENT_TYPE} IN ({_words(UNIT_EVENT_TYPES)}) AND {c.QUANTITY} < 1 THEN {sentence} END"


def _found(x: str) -> str:
    return f"'''' || left(CAST({x} AS VARCHAR), {_MAX_FOUND_CHARS}) || ''''"


def _json(name: str, sql_type: str) -> str:
    x = sql_name(name)
    return (
        f"CASE WHEN isfinite({x}) THEN to_json({x}) ELSE to_json(CAST({x} AS VARCHAR)) END" if is_float(sql_type) else x
    )


def _in(column: Column) -> str:
    return sql_name(f"in {column.name}")


def _out(column: Column) -> str:
    return sql_name(column.name)


def _words(words: Iterable[str]) -> str:
    return _list(sql_text(word) for word in words)


def _list(parts: Iterable[str]) -> str:
    return ", ".join(parts)
