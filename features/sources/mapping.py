"""The mapping language: which column of the contract comes from where, as small typed YAML.

    tables:
      events:
        columns:
          user_id: visitorid                                  # a rename
          event_type: {from: event, values: {addtocart: cart}}
          ts: {from: timestamp, unit: epoch_ms}
          price: {from: properties.price, unit: major}

The reference is ``docs/data-contract.md``. A mapping holds no SQL; ``mapping_sql`` writes that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml

from features.contract.tables import TABLES, Kind, Table
from features.errors import ConfigError, did_you_mean

BUILT_IN: Final = ("ga4", "retailrocket", "segment", "taobao")
ELEMENT: Final = "each"  # in a path, the element of the list that ``each`` names

Unit = Literal["epoch_s", "epoch_ms", "epoch_us", "major", "minor"]
Format = Literal["csv", "parquet", "json"]

_UNIT_KINDS: Final[dict[str, Kind]] = {
    "epoch_s": "instant",
    "epoch_ms": "instant",
    "epoch_us": "instant",
    "major": "money",
    "minor": "money",
}
_DIRECTORY: Final = Path(__file__).parent / "mappings"


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """Where one column of the contract comes from.

    Args:
        paths: source columns or nested paths; the first that holds a value counts.
        join: source paths to be joined with ``separator``, leaving out the empty ones.
        separator: between the joined parts.
        complete: a join that lacks one of its parts is empty.
        constant: the same text for every row.
        values: replacements of whole values; others stay as they are, for the check to judge.
        unit: what a number means: ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``major`` or ``minor`` money.
        between: first and last plausible instant; others are set aside.
        optional: a source column that the files lack is empty, not an error.
    """

    paths: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    separator: str = "-"
    complete: bool = False
    constant: str | None = None
    values: Mapping[str, str]
    unit: Unit | None = None
    between: tuple[str, str] | None = None
    optional: bool = False

    @property
    def all_paths(self) -> tuple[str, ...]:
        """Every path the column reads."""
        return self.paths + self.join


@dataclass(frozen=True, kw_only=True)
class TableMapping:
    """Where one table of the contract comes from.

    Args:
        table: the contract.
        columns: by contract column, or ``tag_*`` for users.
        files: glob within the source directory; empty means every readable file.
        format: what the files hold; ``None`` means by their extension.
        header: whether CSV files begin with a header.
        delimiter: of CSV files.
        names: column names of CSV files without a header.
        each: path of a list; each element becomes a row, read as ``each.name``.
        each_when: only rows with one of these values at this path are spread over their list.
        one_per: contract columns of which each combination is kept once, rows without them left out ...
        latest_by: ... as the row with the greatest value at this path.
    """

    table: Table
    columns: Mapping[str, ColumnMapping]
    files: str = ""
    format: Format | None = None
    header: bool = True
    delimiter: str = ""
    names: tuple[str, ...] = ()
    each: str = ""
    each_when: tuple[str, tuple[str, ...]] | None = None
    one_per: tuple[str, ...] = ()
    latest_by: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceMapping:
    """A whole mapping: its tables, what it is in words, and what readers of results must know."""

    tables: tuple[TableMapping, ...]
    description: str
    warning: str = ""


def load_mapping(name: str) -> SourceMapping:
    """Return a built-in mapping by its name, or the mapping in a YAML file by its path.

    Raises:
        ConfigError: there is no such mapping, or it says something the language does not know.
    """
    path = _DIRECTORY / f"{name}.yaml" if name in BUILT_IN else Path(name)
    if not path.is_file():
        raise ConfigError(
            f"mapping: expected one of {', '.join(BUILT_IN)} or the path of a YAML file, found {name!r}."
            f"{did_you_mean(name, BUILT_IN)}"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected YAML, found something else ({error}).") from None
    return parse_mapping(values, where=path.name)


def parse_mapping(values: Any, *, where: str) -> SourceMapping:
    """Return the mapping that ``values`` (as read from YAML) describes; ``where`` leads every error."""
    values = _mapping_of(values, ("description", "warning", "tables"), where=where)
    tables = _mapping_of(values.get("tables"), tuple(TABLES), where=f"{where}: tables")
    if not tables:
        raise ConfigError(f"{where}: tables: expected at least one of {', '.join(TABLES)}, found none.")
    return SourceMapping(
        tables=tuple(_parse_table(TABLES[name], raw, where=f"{where}: {name}") for name, raw in tables.items()),
        description=str(values.get("description", where)).strip(),
        warning=str(values.get("warning", "")).strip(),
    )


def _parse_table(table: Table, raw: Any, *, where: str) -> TableMapping:
    raw = _mapping_of(raw, tuple(f.name for f in fields(TableMapping) if f.name != "table"), where=where)
    tags = [name for name in raw.get("columns", {}) if table.allows_tags and str(name).startswith("tag_")]
    columns = _mapping_of(raw.get("columns"), (*table.column_names, *tags), where=f"{where}: columns")
    missing = [column.name for column in table.columns if column.required and column.name not in columns]
    if missing:
        raise ConfigError(f"{where}: expected a source for the required {', '.join(missing)}, found none.")
    parsed = TableMapping(
        table=table,
        columns={name: _parse_column(table, name, spec, where=f"{where}.{name}") for name, spec in columns.items()},
        files=_text(raw, "files", where=where),
        format=_choice(raw, "format", get_args(Format), where=where),
        header=_flag(raw, "header", default=True, where=where),
        delimiter=_text(raw, "delimiter", where=where),
        names=_texts(raw.get("names", ()), where=f"{where}: names"),
        each=_text(raw, "each", where=where),
        each_when=_parse_condition(raw.get("each_when"), where=f"{where}: each_when"),
        one_per=_texts(raw.get("one_per", ()), where=f"{where}: one_per"),
        latest_by=_text(raw, "latest_by", where=where),
    )
    return _consistent(parsed, where=where)


def _consistent(mapping: TableMapping, *, where: str) -> TableMapping:
    for name in mapping.one_per:
        if name not in mapping.columns:
            raise ConfigError(
                f"{where}: one_per: expected mapped columns, found {name!r}.{did_you_mean(name, mapping.columns)}"
            )
    if bool(mapping.one_per) != bool(mapping.latest_by):
        raise ConfigError(f"{where}: expected one_per and latest_by together, found one without the other.")
    if mapping.each_when and not mapping.each:
        raise ConfigError(f"{where}: each_when: expected the list it is about in `each`, found none.")
    if mapping.header and mapping.names:
        raise ConfigError(f"{where}: names: expected `header: false` beside them, found a header.")
    return mapping


def _parse_column(table: Table, name: str, spec: Any, *, where: str) -> ColumnMapping:
    if not isinstance(spec, dict):
        return ColumnMapping(paths=_texts(spec, where=where), values={})
    known = ("from", "join", "separator", "complete", "constant", "values", "unit", "between", "optional")
    spec = _mapping_of(spec, known, where=where)
    if sum(key in spec for key in ("from", "join", "constant")) != 1:
        raise ConfigError(
            f"{where}: expected exactly one of from, join and constant, found {', '.join(spec) or 'none'}."
        )
    constant = spec.get("constant")
    unit = _choice(spec, "unit", get_args(Unit), where=where)
    kind: Kind = table.column(name).kind if name in table.column_names else "text"
    if unit and _UNIT_KINDS[unit] != kind:
        raise ConfigError(f"{where}: unit: expected one that fits a column of kind {kind!r}, found {unit!r}.")
    return ColumnMapping(
        paths=_texts(spec.get("from", ()), where=f"{where}: from"),
        join=_texts(spec.get("join", ()), where=f"{where}: join"),
        separator=str(spec.get("separator", "-")),
        complete=_flag(spec, "complete", default=False, where=where),
        constant=None if constant is None else str(constant),
        values={
            str(old): str(new) for old, new in _mapping_of(spec.get("values"), None, where=f"{where}: values").items()
        },
        unit=unit,
        between=_parse_between(spec.get("between"), kind=kind, where=f"{where}: between"),
        optional=_flag(spec, "optional", default=False, where=where),
    )


def _parse_between(value: Any, *, kind: Kind, where: str) -> tuple[str, str] | None:
    if value is None:
        return None
    ends = _texts(value, where=where)
    if len(ends) != 2 or kind != "instant":
        raise ConfigError(f"{where}: expected two instants for a column of kind 'instant', found {value!r}.")
    return ends[0], ends[1]


def _parse_condition(value: Any, *, where: str) -> tuple[str, tuple[str, ...]] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigError(f"{where}: expected one path with its list of values, found {value!r}.")
    path, values = next(iter(value.items()))
    return str(path), _texts(values, where=where)


def _mapping_of(value: Any, known: tuple[str, ...] | None, *, where: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected keys with values, found {type(value).__name__}.")
    for key in value:
        if known is not None and key not in known:
            raise ConfigError(
                f"{where}: expected one of {', '.join(known)}, found {str(key)!r}.{did_you_mean(str(key), known)}"
            )
    return value


def _texts(value: Any, *, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    for entry in values:
        if not isinstance(entry, str | int | float) or isinstance(entry, bool) or entry == "":
            raise ConfigError(f"{where}: expected a text or a list of texts, found {entry!r}.")
    return tuple(str(entry) for entry in values)


def _text(raw: dict[Any, Any], key: str, *, where: str) -> str:
    value = raw.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {key}: expected a text, found {value!r}.")
    return value


def _flag(raw: dict[Any, Any], key: str, *, default: bool, where: str) -> bool:
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {key}: expected true or false, found {value!r}.")
    return value


def _choice(raw: dict[Any, Any], key: str, known: tuple[str, ...], *, where: str) -> Any:
    value = raw.get(key)
    if value is not None and value not in known:
        raise ConfigError(
            f"{where}: {key}: expected one of {', '.join(known)}, found {value!r}.{did_you_mean(str(value), known)}"
        )
    return value
