"""Which release the registry's alias marks. The one place in serving that asks MLflow, in a process of its own.

    python -m serving.commands.alias STORE ALIAS FILE SECONDS

asks every so many seconds, writes the answer into the file, and ends with the process that started it. MLflow is large: as a
child it costs the supervisor and its workers nothing.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from features.errors import FootfallError, ReleaseError
from features.files import write_json
from features.release.registry import RELEASE_ID_TAG, RELEASE_MODEL, tracking_uri


def release_of_alias(store: Path, alias: str) -> str:
    """Return the id of the release that an alias of ``footfall-release`` marks.

    Raises:
        ReleaseError: the registry does not answer or knows no such alias.
    """
    client = MlflowClient(tracking_uri(store))
    try:
        version = client.get_model_version_by_alias(RELEASE_MODEL, alias)
    except MlflowException as error:
        raise ReleaseError(
            f"alias {alias!r} of {RELEASE_MODEL}: not found at {client.tracking_uri} ({error.error_code}); "
            "run `footfall promote` first, or set MLFLOW_TRACKING_URI."
        ) from None
    return str(version.tags[RELEASE_ID_TAG])


def watch(store: Path, alias: str, file: Path, *, seconds: float) -> None:
    """Write what the alias marks to a file, again and again, until the parent process is gone."""
    parent, before = os.getppid(), {"": ""}
    while os.getppid() == parent:
        try:
            now = {"release_id": release_of_alias(store, alias)}
        except FootfallError as error:
            now = {"error": str(error)}
        except Exception as error:  # a registry that cannot be reached says so in many ways
            now = {"error": f"{type(error).__name__}: {error}"}
        if now != before:
            write_json(file, now)
            before = now
        file.touch()  # so that the parent sees that somebody asks
        time.sleep(seconds)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), seconds=float(sys.argv[4]))
