"""Whose lists are wanted: a file's users in its order, or all of a release."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from features.columns import USER_ID
from features.errors import DataError
from features.files import sha256_of_file
from serving.release.state import ReleaseState

ALL: Final = "all"
_LONGEST: Final = 256  # as the service takes ids
_CSV: Final = (".csv", ".csv.gz")


@dataclass(frozen=True, kw_only=True, eq=False)
class Users:
    """Distinct users, in order.

    Args:
        source: what the file is called; ``all`` of a release.
        digest: of where they stand.
        ids: of the users.
        rejects: rows that name nobody, or somebody again: ``row``, ``reason``, ``content``.
    """

    source: str
    digest: str
    ids: Sequence[str]
    rejects: pa.Table

    @classmethod
    def of(cls, state: ReleaseState) -> Users:
        """Return every user whose history a release holds.

        Raises:
            DataError: it holds none.
        """
        if state.histories is None or not len(state.histories.users.ids):
            raise DataError(
                f"--users {ALL}: expected customers in release {state.release_id}, found none; name a file of users instead."
            )
        return cls(
            source=ALL,
            digest=state.digests["customers"],
            ids=state.histories.users.ids.tolist(),
            rejects=_rejects([], [], []),
        )

    @classmethod
    def read(cls, path: Path) -> Users:
        """Read the column ``user_id`` of a Parquet or CSV file.

        Raises:
            DataError: it is missing, neither of both, has no such column, or names nobody.
        """
        column = _column(path)
        ids, found = _accepted(column)
        if not len(ids):
            raise DataError(
                f"{path}: expected users, found none in {len(column)} rows; {USER_ID} is empty in all of them."
            )
        return cls(source=path.name, digest=sha256_of_file(path), ids=ids, rejects=found)


def _column(path: Path) -> pa.Array:
    """Return the user ids of a file as text, null where there is none."""
    is_csv = path.name.lower().endswith(_CSV)
    if not path.is_file():
        raise DataError(f"{path}: expected a Parquet or CSV file with a column {USER_ID}, found no file.")
    if not is_csv and path.suffix.lower() not in (".parquet", ".pq"):
        raise DataError(
            f"{path}: expected a Parquet or CSV file, found {path.suffix or 'no extension'}; name it .parquet or .csv."
        )
    try:
        if is_csv:
            convert = pc.ConvertOptions(column_types={USER_ID: pa.string()}, include_columns=[USER_ID])
            return pc.read_csv(path, convert_options=convert)[USER_ID].combine_chunks()
        return pq.read_table(path, columns=[USER_ID])[USER_ID].cast(pa.string()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, KeyError) as error:
        raise DataError(f"{path}: expected a column {USER_ID} of ids, found something else ({error}).") from None


def _accepted(column: pa.Array) -> tuple[list[str], pa.Table]:
    """Return each user once, in order, and the rows that were set aside."""
    ids = pd.Series(column.to_pandas(), dtype=object)
    is_blank = (ids.isna() | (ids == "")).to_numpy()
    is_long = (~is_blank) & (ids.str.len() > _LONGEST).to_numpy(dtype=bool, na_value=False)
    is_repeated = ids.duplicated().to_numpy() & ~is_blank & ~is_long
    rows = np.flatnonzero(is_blank | is_long | is_repeated)
    reasons = np.where(
        is_blank[rows], f"{USER_ID} is empty",
        np.where(is_long[rows], f"{USER_ID} is longer than {_LONGEST} characters", "the user stands in an earlier row"),
    )  # fmt: skip
    kept = np.ones(len(ids), bool)
    kept[rows] = False
    contents = [None if is_blank[row] else ids[row] for row in rows.tolist()]
    return ids[kept].tolist(), _rejects((rows + 1).tolist(), reasons.tolist(), contents)


def _rejects(rows: Sequence[int], reasons: Sequence[str], contents: Sequence[str | None]) -> pa.Table:
    """Return rejects as the project writes them everywhere; rows count from 1."""
    return pa.table(
        {
            "row": pa.array(rows, pa.int64()),
            "reason": pa.array(reasons, pa.string()),
            "content": pa.array([json.dumps({USER_ID: one}, ensure_ascii=False) for one in contents], pa.string()),
        }
    )
