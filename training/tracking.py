"""MLflow runs: one run a training, in one database, whatever directory the command runs in.

The tracking URI is always absolute: ``MLFLOW_TRACKING_URI`` where it is set, else SQLite in the
store. A relative SQLite path would make a second database under ``mlflow run``, which changes the
working directory; and under ``mlflow run`` the run that it opened is continued (``MLFLOW_RUN_ID``),
so that one launch leaves one run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
from lightning.pytorch.loggers import MLFlowLogger
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from features.errors import ConfigError
from features.release.part import git_revision
from features.release.registry import tracking_uri

ARTIFACTS_DIRECTORY: Final = "mlartifacts"
# MLflow refuses longer parameter values.
_MAX_PARAM_CHARACTERS: Final = 6000


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """An open MLflow run of a release store."""

    run_id: str
    store: Path
    client: MlflowClient
    logger: MLFlowLogger

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; nested mappings and dataclasses become dotted names."""
        for name, value in flattened(values):
            self.client.log_param(self.run_id, name, str(value)[:_MAX_PARAM_CHARACTERS])

    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics; MLflow allows letters, digits and ``_-./ :`` in names, so ``@`` becomes ``_at_``."""
        for name, value in values.items():
            self.client.log_metric(self.run_id, name.replace("@", "_at_"), float(value), step=step or 0)

    def log_tags(self, values: Mapping[str, str]) -> None:
        """Record tags."""
        for name, value in values.items():
            self.client.set_tag(self.run_id, name, value)

    def log_artifacts(self, directory: Path, to: str) -> None:
        """Upload a directory's files under ``to``.

        Raises:
            ConfigError: the directory stands in, is or holds something called ``customers``: that is personal data.
        """
        if _holds_customers(Path(directory).resolve(), self.store.resolve()):
            raise ConfigError(f"{directory}: customer tables are personal data and are never uploaded.")
        self.client.log_artifacts(self.run_id, str(directory), to)


def open_client(store: Path) -> MlflowClient:
    """Return a client of the store's tracking server and registry; the database is made where missing.

    Raises:
        ConfigError: ``store`` is a file.
    """
    try:
        Path(store).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{store}: expected the directory of a release store, found a file.") from None
    # Migrations of a new database are logged line by line; that is not news to anyone.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri(store))


@contextlib.contextmanager
def tracked_run(store: Path, experiment: str, *, name: str, run_id: str | None = None) -> Iterator[TrackedRun]:
    """Yield an MLflow run that ends FINISHED, FAILED or KILLED, as the block ends.

    A run that was FINISHED before stays so whatever happens now: an evaluation that fails undoes no training.

    Args:
        store: release store; holds the database where no tracking server is set.
        experiment: made where it does not exist.
        name: run name.
        run_id: continue this run (a resumed training); else the run that ``mlflow run`` opened; else a new one.
    """
    client = open_client(store)
    continued = run_id or os.environ.get("MLFLOW_RUN_ID")
    found = _existing(client, continued) if continued else _new_run(client, experiment, name, store)
    before = client.get_run(found).info
    finished = before.status == "FINISHED"
    if not finished:
        client.update_run(found, status="RUNNING")
    client.set_tag(found, "footfall.git_revision", git_revision())
    # MLFlowLogger(run_id=...) reopens a run by id; its own tracking store defaults are not used.
    logger = MLFlowLogger(tracking_uri=tracking_uri(store), run_id=found, experiment_name=experiment)
    outside = os.environ.get("MLFLOW_TRACKING_URI")
    status = "FAILED"
    try:
        yield TrackedRun(run_id=found, store=Path(store), client=client, logger=logger)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        if finished:  # Lightning's logger may have marked it
            client.set_terminated(found, status="FINISHED", end_time=before.end_time)
        else:
            client.set_terminated(found, status=status)
        # Lightning's logger sets the variable for the whole process; a second store would go into the first's database.
        mlflow.set_tracking_uri(outside)  # type: ignore[arg-type]


def _holds_customers(directory: Path, store: Path) -> bool:
    """Where the store itself stands does not count: a disk may be called customers."""
    where = directory.relative_to(store) if directory.is_relative_to(store) else directory
    inside = (path.relative_to(directory) for path in directory.rglob("*"))
    return any(part.split(".")[0] == "customers" for path in (where, *inside) for part in path.parts)


def _existing(client: MlflowClient, run_id: str) -> str:
    try:
        return str(client.get_run(run_id).info.run_id)
    except MlflowException:
        raise ConfigError(
            f"MLflow run {run_id!r}: expected it at {client.tracking_uri}, found none; "
            "set MLFLOW_TRACKING_URI to the server or database that holds it."
        ) from None


def _new_run(client: MlflowClient, experiment: str, name: str, store: Path) -> str:
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else _new_experiment(client, experiment, store)
    return str(client.create_run(experiment_id, run_name=name).info.run_id)


def _new_experiment(client: MlflowClient, name: str, store: Path) -> str:
    """A local database gets a local, absolute artifact directory; a server decides for itself."""
    local = "MLFLOW_TRACKING_URI" not in os.environ
    location = (Path(store).resolve() / ARTIFACTS_DIRECTORY / name).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings and dataclasses under dotted names."""
    for name, value in values.items():
        nested = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        if isinstance(nested, Mapping):
            yield from flattened(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", nested
