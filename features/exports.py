"""Rows about customers as a file that leaves: Parquet or CSV, whole or not at all, under ids or pseudonyms."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import pandas as pd

from features import columns as c
from features.arrow import write_parquet
from features.errors import ConfigError
from features.files import staged_file
from features.privacy.pseudonyms import Pseudonyms

FileFormat = Literal["parquet", "csv"]
PSEUDONYM: Final = "pseudonym"
FORMATS: Final[tuple[FileFormat, ...]] = ("parquet", "csv")


def format_of(path: Path) -> FileFormat:
    """Return how a file is written, by its ending.

    Raises:
        ConfigError: it is neither .parquet nor .csv.
    """
    for file_format in FORMATS:
        if path.suffix == f".{file_format}":
            return file_format
    raise ConfigError(f"{path}: expected a file that ends in .parquet or .csv, found {path.suffix or 'no ending'!r}.")


def export_rows(
    frame: pd.DataFrame, path: Path, *, file_format: FileFormat, pseudonyms: Pseudonyms | None = None
) -> None:
    """Write a frame with ``user_id``.

    Args:
        frame: one or more rows a customer; left as it is.
        path: the file.
        file_format: Parquet or CSV.
        pseudonyms: names that stand for ids; rows are then in the order of the names, which tells nothing of the ids.
    """
    named = frame if pseudonyms is None else _renamed(frame, pseudonyms)
    with staged_file(path) as aside:
        if file_format == "csv":
            named.to_csv(aside, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
        else:
            write_parquet(named, aside)


def _renamed(frame: pd.DataFrame, pseudonyms: Pseudonyms) -> pd.DataFrame:
    users = frame[c.USER_ID]
    names = {user: pseudonyms.of(user) for user in users.unique()}
    rest = frame.drop(columns=c.USER_ID)
    rest.insert(0, PSEUDONYM, users.map(names).astype(object))
    return rest.sort_values(PSEUDONYM, kind="stable", ignore_index=True)
