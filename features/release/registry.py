"""What training registers and serving looks up in the model registry: names, tags, and where it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from features.errors import ConfigError
from features.release.part import PartKind

DATABASE_FILE: Final = "mlflow.db"
RELEASE_MODEL: Final = "footfall-release"
SERVING_ALIAS: Final = "serving"
RELEASE_ID_TAG: Final = "footfall.release_id"
# customers/ is personal data and has no registered model.
PART_MODELS: Final[Mapping[PartKind, str]] = {"retrieval": "footfall-retrieval", "demand": "footfall-demand"}
_SQLITE: Final = "sqlite:///"


def tracking_uri(store: Path) -> str:
    """Return the absolute tracking URI: from ``MLFLOW_TRACKING_URI``, else SQLite in the store.

    Raises:
        ConfigError: the variable holds a relative SQLite path, which would name a different database in each directory.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return f"{_SQLITE}{Path(store).resolve() / DATABASE_FILE}"
    if uri.startswith(_SQLITE) and not uri.removeprefix(_SQLITE).startswith("/"):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: expected an absolute path, found {uri!r}; write sqlite:////full/path/{DATABASE_FILE}."
        )
    return uri
