"""A mapping as SQL: source files in, rows with the contract's column names out.

Every value leaves as the source's text, except where that text was understood: an epoch becomes a
timestamp, major money becomes minor. What was not understood passes unchanged, so that the contract's
check sets the row aside and shows what was there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.engine import sql_name, sql_text
from features.errors import ConfigError, DataError, did_you_mean
from features.sources.mapping import ELEMENT, ColumnMapping, Format, TableMapping

UNREADABLE: Final = "unreadable line"
REJECTED_LINES: Final = "reject_errors"  # DuckDB's own table of CSV lines it could not read

_SEGMENT: Final = re.compile(r"([^.\[\]]+)(?:\[([^\[\]]+)\])?(?:\.|$)")
_MICROSECONDS: Final = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_MAX_LINE_BYTES: Final = 64 << 20


# A field's name, and the key of the element to pick from its list; either may be empty.
Segment = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files of one format, and their columns with DuckDB types; JSON lines have one column, ``json``."""

    scan: str
    format: Format
    types: dict[str, str]


def scan_sql(files: Sequence[Path], mapping: TableMapping, *, format: Format) -> str:  # noqa: A002
    """Return SQL that reads ``files``: every CSV field as text, every JSON line as one value."""
    paths = f"[{', '.join(sql_text(path) for path in files)}]"
    if format == "parquet":
        return f"read_parquet({paths}, union_by_name = true)"
    if format == "json":
        return _json_lines_sql(paths)
    delimiter = mapping.delimiter or ("\t" if ".tsv" in files[0].name else ",")
    names = f", names = [{', '.join(map(sql_text, mapping.names))}]" if mapping.names else ""
    return (
        f"read_csv({paths}, all_varchar = true, header = {str(mapping.header).lower()}, delim = {sql_text(delimiter)}, "
        f"quote = '\"', escape = '\"', store_rejects = true{names})"
    )


def rows_sql(source: Source, mapping: TableMapping, *, minor_units: int) -> str:
    """Return SQL for the rows of one table, with the contract's column names.

    Raises:
        DataError: the mapping names a column that the files do not have.
    """
    columns = [f"{_column(source, spec, minor_units)} AS {sql_name(name)}" for name, spec in mapping.columns.items()]
    if source.format == "json" and not mapping.one_per:
        columns.append(f"CASE WHEN json IS NULL THEN line END AS {sql_name(UNREADABLE)}")
    spread = _spread(source, mapping)
    if not mapping.one_per:
        return f"SELECT {', '.join(columns)} FROM {spread}"
    return _latest(f"SELECT {', '.join(columns)}, {_rank(source, mapping)} AS rank FROM {spread}", mapping)


def path_sql(source: Source, path: str) -> str:
    """Return SQL for the text at ``path``: ``a``, ``a.b.c``, ``each.b``, or ``params[key].value``."""
    if path in source.types and source.format != "json":
        return f"CAST({sql_name(path)} AS VARCHAR)"
    segments = _segments(path)
    (first, key), rest = segments[0], segments[1:]
    if first == ELEMENT:
        return _text_at("element", rest)
    if source.format == "json":
        return _text_at("json", segments)
    if first not in source.types:
        raise DataError(
            f"Expected a source column {first!r}, found {', '.join(source.types)}.{did_you_mean(first, source.types)}"
        )
    return _text_at(f"to_json({sql_name(first)})", (("", key), *rest))


def _json_lines_sql(paths: str) -> str:
    """Read lines as text first: a line that is not JSON is then still there to be shown."""
    lines = (
        f"read_csv({paths}, columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x01', "
        f"quote = '', escape = '', max_line_size = {_MAX_LINE_BYTES})"
    )
    return f"(SELECT line, TRY_CAST(line AS JSON) AS json FROM {lines} WHERE trim(line) <> '')"


def _spread(source: Source, mapping: TableMapping) -> str:
    """Return the source, with one row for each ``element`` of the list at ``each``; an empty list keeps its row."""
    if not mapping.each:
        return source.scan
    elements = f"coalesce(nullif(from_json({_list_sql(source, mapping.each)}, '[\"JSON\"]'), []), [NULL])"
    if mapping.each_when:
        path, values = mapping.each_when
        condition = f"{path_sql(source, path)} IN ({', '.join(map(sql_text, values))})"
        elements = f"CASE WHEN {condition} THEN {elements} ELSE [NULL] END"
    return f"(SELECT *, unnest({elements}) AS element FROM {source.scan})"


def _list_sql(source: Source, path: str) -> str:
    is_column = source.format != "json" and path in source.types
    return f"to_json({sql_name(path)})" if is_column else path_sql(source, path)


def _rank(source: Source, mapping: TableMapping) -> str:
    """Compare numbers as numbers and ISO instants as text."""
    text = path_sql(source, mapping.latest_by)
    return f"{{'number': coalesce(TRY_CAST({text} AS DOUBLE), -1e308), 'text': coalesce({text}, '')}}"


def _latest(rows: str, mapping: TableMapping) -> str:
    keys = ", ".join(map(sql_name, mapping.one_per))
    names = [name for name in mapping.columns if name not in mapping.one_per]
    present = " AND ".join(f"{sql_name(name)} IS NOT NULL" for name in mapping.one_per)
    if not names:
        return f"SELECT DISTINCT {keys} FROM ({rows}) WHERE {present} ORDER BY {keys}"
    packed = ", ".join(f"{sql_name(name)} := {sql_name(name)}" for name in names)
    latest = f"arg_max(struct_pack({packed}), struct_pack(rank := rank, row := struct_pack({packed})))"
    return f"SELECT {keys}, unnest({latest}) FROM ({rows}) WHERE {present} GROUP BY {keys} ORDER BY {keys}"


def _column(source: Source, spec: ColumnMapping, minor_units: int) -> str:
    text = _text(source, spec)
    if spec.values:
        cases = " ".join(f"WHEN {sql_text(old)} THEN {sql_text(new)}" for old, new in spec.values.items())
        text = f"CASE {text} {cases} ELSE {text} END"
    return _within(_in_unit(text, spec, minor_units), spec)


def _text(source: Source, spec: ColumnMapping) -> str:
    if spec.constant is not None:
        return sql_text(spec.constant)
    present = [path for path in spec.all_paths if not (spec.optional and _is_absent(source, path))]
    parts = ", ".join(f"nullif(trim({path_sql(source, path)}), '')" for path in present) or "NULL"
    if not spec.join:
        return f"coalesce({parts}, NULL)"
    joined = f"nullif(concat_ws({sql_text(spec.separator)}, {parts}), '')"
    return f"CASE WHEN list_count([{parts}]) = {len(spec.join)} THEN {joined} END" if spec.complete else joined


def _is_absent(source: Source, path: str) -> bool:
    first = _segments(path)[0][0]
    return source.format != "json" and first != ELEMENT and first not in source.types and path not in source.types


def _in_unit(text: str, spec: ColumnMapping, minor_units: int) -> str:
    if spec.unit == "major":  # "12.30" -> "1230"
        return f"coalesce(CAST(CAST(round(TRY_CAST({text} AS DOUBLE) * {minor_units}) AS BIGINT) AS VARCHAR), {text})"
    if spec.unit in _MICROSECONDS:  # "1511658000" -> "2017-11-26 01:00:00+00"
        number = f"TRY_CAST(TRY_CAST({text} AS DOUBLE) * {_MICROSECONDS[spec.unit]} AS BIGINT)"
        return f"coalesce(CAST(timezone('UTC', TRY(make_timestamp({number}))) AS VARCHAR), {text})"
    return text


def _within(text: str, spec: ColumnMapping) -> str:
    """Mark an implausible instant so that it is no instant any more, and its reason says why."""
    if spec.between is None:
        return text
    first, last = (f"TIMESTAMPTZ {sql_text(end)}" for end in spec.between)
    mark = sql_text(f" (outside {spec.between[0]} to {spec.between[1]})")
    at = f"TRY_CAST({text} AS TIMESTAMPTZ)"
    return f"CASE WHEN {at} NOT BETWEEN {first} AND {last} THEN {text} || {mark} ELSE {text} END"


def _segments(path: str) -> tuple[Segment, ...]:
    """Split a path: ``a.b[k].c`` -> ``((a, ""), (b, k), (c, ""))``."""
    matches = list(_SEGMENT.finditer(path))
    if not matches or "".join(match.group() for match in matches) != path or path.endswith("."):
        raise ConfigError(f"Expected a path such as a.b or params[key].value, found {path!r}.")
    return tuple((match.group(1), match.group(2) or "") for match in matches)


def _text_at(base: str, segments: Sequence[Segment]) -> str:
    """Walk JSON: names are fields, ``[key]`` picks the element whose ``key`` field says so."""
    pointer = ""
    for name, key in segments:
        if name:
            escaped = name.replace('"', '\\"')
            pointer += f'."{escaped}"'
        if key:
            elements = f"from_json(json_extract({base}, {sql_text('$' + pointer)}), '[\"JSON\"]')"
            base = f"list_filter({elements}, lambda e: (e ->> '$.key') = {sql_text(key)})[1]"
            pointer = ""
    return f"json_extract_string({base}, {sql_text('$' + pointer)})"
