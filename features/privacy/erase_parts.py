"""Erasure in a release store: customers parts without a customer, and releases that name the rewritten parts.

A part is immutable, so a rewritten one is another version, which sorts right after the one it replaces:

    parts/customers/20261122T101500123456-3fa9c1       ->  parts/customers/20261122T101500123456-3fa9c1.e1
    releases/R.json  customers: ...-3fa9c1             ->  customers: ...-3fa9c1.e1

First the new part, then each release that names the old one, then the old one goes: whenever that is cut off, every
release opens, and running again finishes it. A release keeps its id, so a server and a rollback find it.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.privacy.person import PERSON_COLUMNS
from features.release import layout
from features.release.part import Part, write_part
from features.release.release import ReleaseStore
from features.sequences import Sequences
from features.vocabulary import Vocabulary

_REWRITTEN: Final = re.compile(r"(?P<version>.+)\.e(?P<number>\d+)")
_OF_HISTORIES: Final = frozenset({layout.USERS, layout.HISTORY_VOCABULARY})  # one row a user, or no user at all

logger = logging.getLogger(__name__)


def erase_from_parts(store: ReleaseStore, ids: Collection[str]) -> dict[str, Any]:
    """Rewrite every customers part that holds one of the ids, whichever release names it, or none.

    Args:
        store: the release store; the ids stand on its erasure list already, so that no new part will hold them.
        ids: of the customer.

    Returns:
        ``parts``: rewritten versions by the ones they replace; ``releases``: those that name them; ``rows`` removed.

    Raises:
        ReleaseError: a part is damaged; the message names the file.
    """
    parts: dict[str, str] = {}
    releases: list[str] = []
    rows = 0
    for part in store.parts("customers"):
        number = sum(int(_mine(part.directory / name, ids).sum()) for name in _tables(part)) + _histories_of(part, ids)
        if not number:
            continue
        new = _rewritten(store, part, ids)
        releases += store.replace_part(part, by=new)
        shutil.rmtree(part.directory)
        parts[part.version] = new.version
        rows += number
    logger.info("store: %d rows removed from %d customers parts, %d releases", rows, len(parts), len(set(releases)))
    return {"parts": parts, "releases": sorted(set(releases)), "rows": rows}


def _rewritten(store: ReleaseStore, part: Part, ids: Collection[str]) -> Part:
    version = _next_version(part)
    with write_part(store.root, part.kind, data_fingerprint=part.data_fingerprint, version=version) as draft:
        for name in part.files:
            target = draft.directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in _tables(part):
                _write_without(part.directory / name, target, ids)
            else:
                shutil.copyfile(part.directory / name, target)
        if layout.USERS in part.files:
            _write_histories(part, draft.directory, ids)
        draft.metrics.update(part.metrics)
        draft.about.update(part.about)
        draft.about.update(rewritten_from=part.version)
        if "num_customers" in draft.about:
            draft.about["num_customers"] = pq.read_metadata(draft.directory / layout.CUSTOMERS).num_rows
    return store.open_part(part.kind, version)


def _next_version(part: Part) -> str:
    found = _REWRITTEN.fullmatch(part.version)
    base, number = (found["version"], int(found["number"])) if found else (part.version, 0)
    while (part.directory.parent / f"{base}.e{number + 1}").exists():
        number += 1  # written by a run that was cut off
    return f"{base}.e{number + 1}"


def _tables(part: Part) -> list[str]:
    """Tables whose rows are somebody's."""
    return [name for name in part.files if name.endswith(".parquet") and name not in _OF_HISTORIES]


def _mine(path: Path, ids: Collection[str]) -> npt.NDArray[np.bool_]:
    """Return which rows of a table are the customer's, bool ``[N]``."""
    names = [name for name in PERSON_COLUMNS if name in pq.read_schema(path).names]
    table = pq.read_table(path, columns=names)
    wanted = pa.array(sorted(ids), pa.string())
    found = [pc.is_in(table[name].cast(pa.string()), value_set=wanted).to_numpy() for name in names]
    return np.logical_or.reduce(found) if found else np.zeros(table.num_rows, bool)


def _write_without(source: Path, target: Path, ids: Collection[str]) -> None:
    mine = _mine(source, ids)
    if not mine.any():
        shutil.copyfile(source, target)
        return
    metadata = pq.read_metadata(source)  # lookups read a row group at a time: as many rows in each as before
    rows = max(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    pq.write_table(pq.read_table(source).filter(pa.array(~mine)), target, row_group_size=rows)


def _histories_of(part: Part, ids: Collection[str]) -> int:
    if layout.USERS not in part.files:
        return 0
    return int(np.isin(Vocabulary.load(part.path(layout.USERS)).ids, sorted(ids)).sum())


def _write_histories(part: Part, directory: Path, ids: Collection[str]) -> None:
    users = Vocabulary.load(part.path(layout.USERS)).ids
    kept = np.flatnonzero(~np.isin(users, sorted(ids)))
    Vocabulary.from_ids(users[kept]).save(directory / layout.USERS)
    shutil.rmtree(directory / layout.HISTORIES, ignore_errors=True)
    Sequences.load(part.directory / layout.HISTORIES).take(kept).save(directory / layout.HISTORIES)
