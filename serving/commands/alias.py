"""Which release the registry's alias marks. The one place in serving that asks MLflow, before any worker starts."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from features.errors import ReleaseError
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
