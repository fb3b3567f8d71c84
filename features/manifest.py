"""A feature directory: the names of its files, and the manifest that says that it is one, and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from features.errors import DataError
from features.files import read_json

FEATURES_FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
IDENTITY_DIRECTORY: Final = "identity"
EVENT_LOG_FILE: Final = "event_log.parquet"
ITEMS_FILE: Final = "items.parquet"
VOCABULARY_FILE: Final = "vocabulary.parquet"
USERS_FILE: Final = "users.parquet"
CATALOG_FILE: Final = "catalog.parquet"
SEQUENCES_DIRECTORY: Final = "sequences"
CUSTOMERS_FILE: Final = "customers.parquet"
PANEL_DIRECTORY: Final = "panel"


def refuse_foreign_directory(out: Path) -> None:
    """Refuse to replace what is no feature directory.

    Other tools write a manifest.json too: only one that names our files says that a directory may go.

    Raises:
        DataError: something else is there.
    """
    if not out.exists():
        return
    try:
        ours = any(name.partition("/")[0] == EVENT_LOG_FILE for name in read_json(out / MANIFEST_FILE)["files"])
    except (DataError, OSError, KeyError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise DataError(
            f"{out}: expected nothing or an earlier feature directory, found something else; choose another."
        )


def read_manifest(out: Path) -> dict[str, Any]:
    """Return the manifest of a feature directory.

    Raises:
        DataError: there is none, another version wrote it, or one of its files is missing.
    """
    if not (out / MANIFEST_FILE).is_file():
        raise DataError(f"{out}: expected a feature directory, found none; run `footfall features` first.")
    about: dict[str, Any] = read_json(out / MANIFEST_FILE)
    found = about.get("format") if isinstance(about, dict) else None
    if found != FEATURES_FORMAT or "fingerprint" not in about:
        raise DataError(
            f"{out}: expected a feature directory of format {FEATURES_FORMAT}, found {found!r}; build the features again."
        )
    for name in about["files"]:
        if not (out / name).is_file():
            raise DataError(f"{out / name}: expected a file of these features here, found none; build them again.")
    return about
