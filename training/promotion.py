"""From parts to the release that is served: registered versions, and the alias that marks one of them.

Two pointers name what is served: the registry's alias, and ``current.json`` for those who serve from the
directory. They cannot move at once, so all that can be refused or fail comes first:

    1  check every file     a damaged release moves nothing
    2  register versions    nobody serves them yet
    3  move the alias       the last step that a registry out of reach can stop
    4  write current.json   one rename on the store's own disk

A crash between 3 and 4 leaves two sound releases, one for each pointer. The same promotion run again takes up the
release that was cut off; any later one moves both pointers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from features.build import FeatureSet
from features.errors import ReleaseError
from features.release import Part, PartKind, Release, ReleaseStore
from features.release.customers_part import write_customers_part
from features.release.registry import PART_MODELS, RELEASE_ID_TAG, RELEASE_MODEL, SERVING_ALIAS
from training.tracking import open_client

log = logging.getLogger(__name__)


def promote_release(store: Path, *, features: Path | None, versions: Mapping[PartKind, str]) -> dict[str, Any]:
    """Write a release over one version of each part, register it, and serve it from now on.

    Args:
        store: release store.
        features: make the customers part from these features first.
        versions: version of each part; empty means the newest; a kind the store has none of is left out.

    Returns:
        ids of the release and of the one it replaces, each part's version, metrics and data fingerprint, and
        warnings: parts may come from different data, such as last night's customers beside last week's model.

    Raises:
        ReleaseError: there is no retrieval part, a version does not exist, or a file is damaged.
    """
    releases = ReleaseStore(root=Path(store))
    models = _chosen(releases, PART_MODELS, versions)
    if "retrieval" not in models:
        raise ReleaseError(f"{store}: expected a retrieval part, found none; run `footfall train retrieval` first.")
    if features is not None:  # personal data is written only once there is something to serve it with
        _write_customers(features, releases)
    parts = models | _chosen(releases, ("customers",), versions)
    before, client = releases.current_id, open_client(store)
    _tell_disagreement(client, before)
    release = _cut_off(releases, parts) or releases.create(parts)
    releases.open(release.release_id)
    register_release(client, releases, release)
    releases.set_current(release.release_id)
    log.info("release %s is served from now on; before it: %s", release.release_id, before or "none")
    return {
        "release_id": release.release_id,
        "replaces": before,
        "parts": {kind: _row(part) for kind, part in parts.items()},
        "warnings": _warnings(parts),
    }


def _row(part: Part) -> dict[str, Any]:
    return {"version": part.version, "metrics": dict(part.metrics), "data_fingerprint": part.data_fingerprint}


def _warnings(parts: Mapping[PartKind, Part]) -> list[str]:
    if len({part.data_fingerprint for part in parts.values()}) == 1:
        return []
    found = ", ".join(f"{kind} {part.data_fingerprint[:12]}" for kind, part in parts.items())
    text = f"the parts were made from different data ({found}); if that is not meant, train or promote from the same features"
    log.warning("%s", text)
    return [text]


def register_release(client: MlflowClient, releases: ReleaseStore, release: Release) -> None:
    """Register a version of each uploadable part and of the release, and move the alias to the release."""
    for kind, model in PART_MODELS.items():
        part = release.part(kind)
        if part is not None:
            _register(client, model, part.directory, part.run_id, {"footfall.version": part.version})
    manifest = releases.manifest_path(release.release_id)
    tags = {RELEASE_ID_TAG: release.release_id, "footfall.manifest": json.dumps(json.loads(manifest.read_text()))}
    version = _register(client, RELEASE_MODEL, manifest, "", tags)
    client.set_registered_model_alias(RELEASE_MODEL, SERVING_ALIAS, version)


def _register(client: MlflowClient, model: str, path: Path, run_id: str, tags: Mapping[str, str]) -> str:
    """Return the version of ``model`` whose source is ``path``, made where it does not exist.

    ``create_model_version`` takes plain files; ``mlflow.register_model`` insists on a model flavour.
    """
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    source = path.resolve().as_uri()
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.source == source:
            return str(version.version)
    known_run = run_id if run_id and _run_exists(client, run_id) else None
    return str(client.create_model_version(model, source, run_id=known_run, tags=dict(tags)).version)


def _cut_off(releases: ReleaseStore, parts: Mapping[PartKind, Part]) -> Release | None:
    """Return the newest release if it has these very parts and has not come to be current."""
    newest = releases.release_ids()[-1:]
    if not newest or newest[0] == releases.current_id:
        return None
    try:
        release = releases.open(newest[0])
    except ReleaseError:  # not one to go on with
        return None
    same = {kind: part.sha256 for kind, part in release.parts.items()} == {k: part.sha256 for k, part in parts.items()}
    return release if same else None


def _tell_disagreement(client: MlflowClient, current: str | None) -> None:
    try:
        served = client.get_model_version_by_alias(RELEASE_MODEL, SERVING_ALIAS).tags.get(RELEASE_ID_TAG)
    except MlflowException:  # no release has been registered yet
        return
    if served != current:
        log.warning(
            "the registry serves release %s, this directory %s: a promotion was cut off, or one of the two was moved "
            "by hand; the new release is for both",
            *(served, current or "none"),
        )


def _run_exists(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except MlflowException:
        return False
    return True


def _chosen(
    releases: ReleaseStore, kinds: Iterable[PartKind], versions: Mapping[PartKind, str]
) -> dict[PartKind, Part]:
    """Return the named or the newest part of each kind; kinds that the store has none of are left out."""
    found = {
        kind: releases.open_part(kind, version) if (version := versions.get(kind, "")) else releases.latest_part(kind)
        for kind in kinds
    }
    return {kind: part for kind, part in found.items() if part is not None}


def _write_customers(features: Path, releases: ReleaseStore) -> None:
    write_customers_part(FeatureSet.load(features), releases)
