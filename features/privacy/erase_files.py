"""Erasure in a data directory: every row of a customer, in the tables, in what was set aside, and beside them.

    events, users, consents, exposures, coupons, truth/...    rows whose user_id is the customer's
    identities                                                rows that link any of the customer's ids
    rejects/*                                                 rows whose content or reason holds an id as a whole word
    identity_denials.yaml                                     entries that name an id

Each file is written anew beside the old one and takes its place whole; running again finishes what a crash cut short.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import yaml

from features import columns as c
from features.asides import sweep
from features.contract.data_directory import ABOUT_FILE, REJECTS
from features.engine import memory_explained, private_connection, sql_name, sql_text
from features.errors import DataError
from features.files import read_json, staged_file, write_bytes, write_json
from features.identity.denials import DENIALS_YAML
from features.privacy.person import Person, rows_of
from features.settings import EngineSettings

_CONTENT: Final = ("content", "reason")
_TEXTS: Final = frozenset({".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".txt", ".html", ".md", ".log"})

logger = logging.getLogger(__name__)


def erase_from_data(data: Path, person: Person, *, engine: EngineSettings = EngineSettings()) -> dict[str, Any]:
    """Remove a customer's rows from a data directory.

    Args:
        data: a data directory.
        person: whom, under which ids.
        engine: memory limit, threads, where to spill.

    Returns:
        ``removed`` rows by file, and ``still_named_in``: text files that hold an id and that only people can judge.

    Raises:
        DataError: there is no such directory, or a file is damaged.
    """
    data = Path(data)
    if not data.is_dir():
        raise DataError(f"{data}: expected a data directory, found none.")
    removed: dict[str, int] = {}
    with memory_explained(engine), private_connection(engine, beside=data.parent) as connection:
        person.define(connection)
        for path in sorted(path for path in data.rglob("*.parquet") if path.is_file()):  # a table may be a directory
            sweep(path.parent)
            condition = _rejected(person) if path.parent.name == REJECTS else ""
            if number := _rewrite(connection, path, condition):
                removed[str(path.relative_to(data))] = number
    if number := _forget_denials(data / DENIALS_YAML, person):
        removed[DENIALS_YAML] = number
    _recount(data / ABOUT_FILE, removed)
    logger.info("data: %d rows removed from %d files of %s", sum(removed.values()), len(removed), data)
    return {"removed": removed, "still_named_in": naming_files(data, person.ids)}


def naming_files(directory: Path, ids: Iterable[str]) -> list[str]:
    """Return the text files under a directory that hold one of the ids as a whole word."""
    word = whole_word(ids)
    return [str(path.relative_to(directory)) for path in _texts(directory) if word.search(_text(path))]


def whole_word(ids: Iterable[str]) -> re.Pattern[str]:
    r"""Return a pattern that finds an id where it stands by itself, also as JSON writes it.

    >>> bool(whole_word(["u1"]).search('{"id": "u1"}')), bool(whole_word(["u1"]).search('{"id": "u12"}'))
    (True, False)
    """
    written = {form for id_ in ids for form in (id_, json.dumps(id_)[1:-1])}
    return re.compile(rf"(^|[^\w-])({'|'.join(map(re.escape, sorted(written)))})([^\w-]|$)")


def _rewrite(connection: duckdb.DuckDBPyConnection, path: Path, condition: str) -> int:
    """Write a table without the person's rows; return how many those were."""
    rows = _relation(connection, path)
    where = condition or rows_of(rows.columns)
    if not where:
        return 0
    number = int(rows.filter(where).count("*").fetchall()[0][0])
    devices = c.DEVICE_ID in rows.columns
    held = f"OR {c.DEVICE_ID} IN (SELECT id FROM person)" if devices else ""
    if not (number or (held and rows.filter(f"false {held}").limit(1).fetchall())):
        return 0
    names = ", ".join(_kept(name) for name in rows.columns)
    with staged_file(path) as aside:
        connection.execute(
            f"COPY (SELECT {names} FROM read_parquet({sql_text(path)}) WHERE NOT {where}) "
            f"TO {sql_text(aside)} (FORMAT parquet, COMPRESSION zstd)"
        )
    return number


def _kept(name: str) -> str:
    """A row of another customer forgets which device it came from where that is the person's."""
    if name != c.DEVICE_ID:
        return sql_name(name)
    return f"CASE WHEN {name} NOT IN (SELECT id FROM person) THEN {name} END AS {name}"


def _relation(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    try:
        return connection.read_parquet(str(path))
    except duckdb.Error as error:
        raise DataError(f"{path}: expected a Parquet file, found something else ({error}); remove it.") from None


def _rejected(person: Person) -> str:
    pattern = sql_text(whole_word(person.ids).pattern.replace("\\-", "-"))
    return "(" + " OR ".join(f"coalesce(regexp_matches({name}, {pattern}), false)" for name in _CONTENT) + ")"


def _forget_denials(path: Path, person: Person) -> int:
    if not path.is_file():
        return 0
    rows = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    word = whole_word(person.ids)
    kept = [row for row in rows if not any(word.search(str(value)) for value in row.values())]
    if len(kept) < len(rows):
        write_bytes(path, yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).encode())
    return len(rows) - len(kept)


def _recount(path: Path, removed: dict[str, int]) -> None:
    """Let ``about.json`` count what is there now."""
    if not removed or not path.is_file():
        return
    about = read_json(path)
    for name, counts in about.get("tables", {}).items():
        gone, rejected = _of_table(f"{name}.parquet", removed), removed.get(f"{REJECTS}/{name}.parquet", 0)
        if gone or rejected:
            counts["accepted"] = counts.get("accepted", gone) - gone
            counts["erased"] = counts.get("erased", 0) + gone + rejected
    write_json(path, about)


def _of_table(table: str, removed: dict[str, int]) -> int:
    return sum(number for name, number in removed.items() if name.split("/")[0] == table)


def _texts(directory: Path) -> Iterator[Path]:
    yield from sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix in _TEXTS)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
