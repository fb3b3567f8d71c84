"""Links that somebody said are wrong, kept beside the shop's tables, so that every build honours them.

data/identity_denials.yaml (or .parquet with these columns)

    - {id_a: ann, id_b: d2, at: 2024-05-04T10:00:00Z, why: "Ann sold this phone"}

``id_b`` is the one that leaves where other links still join the two.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml

from features.errors import DataError
from features.files import write_bytes
from features.identity.settings import ACCOUNT, ALIASES, DEVICE

DENIALS_YAML: Final = "identity_denials.yaml"
DENIALS_PARQUET: Final = "identity_denials.parquet"
COLUMNS: Final = ("id_a", "type_a", "id_b", "type_b", "at", "why")


def read_denials(data: Path) -> pd.DataFrame:
    """Return the denied pairs of a data directory, none where it has no such file.

    A type that is left out is ``user_id`` for ``id_a``; for ``id_b`` both ``user_id`` and ``device_id`` are meant.

    Returns:
        ``COLUMNS``; text but for ``at``, an instant in UTC.

    Raises:
        DataError: a file is damaged or a row lacks an id.
    """
    rows = [*_from_yaml(Path(data) / DENIALS_YAML), *_from_parquet(Path(data) / DENIALS_PARQUET)]
    typed = [typed for row in rows for typed in _with_types(row)]
    frame = pd.DataFrame({name: [row.get(name) for row in typed] for name in COLUMNS})
    at = pd.to_datetime(frame["at"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    texts = dict.fromkeys((name for name in COLUMNS if name != "at"), "string")
    return frame.assign(at=at).astype(texts)


def deny_link(data: Path, *, id_a: str, id_b: str, why: str, at: dt.datetime, **types: str) -> None:
    """Add a pair to ``identity_denials.yaml``; the next build of the features undoes the link.

    Args:
        data: a data directory.
        id_a: stays where it is.
        id_b: leaves where other links still join the two.
        why: in words; it stands in the merge log's neighbour, this file.
        at: when it was said, UTC.
        types: ``type_a`` and ``type_b``, where an id alone does not tell.
    """
    path = Path(data) / DENIALS_YAML
    rows = [*_from_yaml(path), {"id_a": id_a, "id_b": id_b, **types, "at": at.isoformat(), "why": why}]
    write_bytes(path, yaml.safe_dump(rows, sort_keys=False, allow_unicode=True).encode())


def _from_yaml(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected YAML, found something else ({error}).") from None
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of denied pairs, found {type(rows).__name__}.")
    return [_checked(row, where=f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def _from_parquet(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        rows = pd.read_parquet(path).astype(object)
    except Exception as error:
        raise DataError(f"{path}: expected a Parquet file, found something else ({error}).") from None
    records: Iterable[Any] = rows.where(rows.notna(), None).to_dict("records")
    return [_checked(row, where=f"{path}, row {number}") for number, row in enumerate(records, start=1)]


def _checked(row: Any, *, where: str) -> dict[str, Any]:
    found = {name: value for name, value in row.items() if value is not None} if isinstance(row, dict) else {}
    unknown = sorted(set(map(str, found)) - set(COLUMNS))
    if not {"id_a", "id_b"} <= set(found) or unknown:
        raise DataError(f"{where}: expected id_a and id_b, and of {', '.join(COLUMNS)} no others, found {row!r}.")
    at = found.get("at")
    if at is not None:
        found["at"] = at.isoformat() if isinstance(at, dt.date) else str(at)
    return {name: str(value) for name, value in found.items()}


def _with_types(row: dict[str, Any]) -> list[dict[str, Any]]:
    types = [[ALIASES.get(row[key], row[key])] if key in row else [] for key in ("type_a", "type_b")]
    return [
        {**row, "type_a": type_a, "type_b": type_b}
        for type_a in types[0] or [ACCOUNT]
        for type_b in types[1] or [ACCOUNT, DEVICE]
    ]
