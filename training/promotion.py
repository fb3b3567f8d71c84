"""From parts to the release that is served: registered versions, and the alias that marks one of them.

Two pointers name what is served: the registry's alias, and ``current.json`` for those who serve from the
directory. They cannot move at once, so all that can be refused or fail comes first:

    0  ask the rule         a part that is not better is kept back (training.promotion_rule)
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
from features.errors import NotPromoted, ReleaseError
from features.release import Part, PartKind, Release, ReleaseStore
from features.release.customers_part import write_customers_part
from features.release.registry import PART_MODELS, RELEASE_ID_TAG, RELEASE_MODEL, SERVING_ALIAS
from training.evaluation.champion import served_part
from training.promotion_decision import Decision, decision_warnings, refusal
from training.promotion_rule import judge
from training.tracking import open_client

log = logging.getLogger(__name__)


def promote_release(
    store: Path, *, features: Path | None, versions: Mapping[PartKind, str], force: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Write a release over one version of each part, register it, and serve it from now on.

    Args:
        store: release store.
        features: make the customers part from these features first, and score champion and challenger on their newest
            window; where left out, on that of the features that the challenger was trained on.
        versions: version of each part; empty means the newest; a kind the store has none of is left out. The newest
            demand part is left out too where the rule keeps it back; one that is named holds up the others.
        force: promote parts that the rule keeps back: those that are named, or all where none is.
        seed: of the rule's draws.

    Returns:
        ids of the release and of the one it replaces, each part's version, metrics and data fingerprint, the
        decisions about the retrieval part (``decision``) and the demand part (``demand_decision``) with their figures
        and with what was overridden, and warnings: parts may come from different data, such as last night's
        customers beside last week's model, and a demand part may have been kept back.

    Raises:
        NotPromoted: the rule keeps the champion of the retrieval part, or of a demand part that was named; nothing
            has moved.
        ReleaseError: there is no retrieval part, a version does not exist, or a file is damaged.
    """
    releases = ReleaseStore(root=Path(store))
    models = _chosen(releases, PART_MODELS, versions)
    if "retrieval" not in models:
        raise ReleaseError(f"{store}: expected a retrieval part, found none; run `footfall train retrieval` first.")
    champions = {kind: served_part(releases, kind) for kind in models}
    client = open_client(store)
    decisions = _decided(client, releases, models, champions, versions, features=features, force=force, seed=seed)
    warnings = [
        text for kind, one in decisions.items() for text in decision_warnings(one, models[kind], champions[kind])
    ]
    kept_back = {kind for kind, one in decisions.items() if one.outcome == "refused"}
    if features is not None:  # personal data is written only once there is something to serve it with
        _write_customers(features, releases)
    promoted = {kind: champions[kind] if kind in kept_back else part for kind, part in models.items()}
    parts = {kind: part for kind, part in promoted.items() if part is not None}
    parts |= _chosen(releases, ("customers",), versions)
    before = releases.current_id
    _tell_disagreement(client, before)
    release = _cut_off(releases, parts) or releases.create(parts)
    releases.open(release.release_id)
    for kind, decision in decisions.items():
        decision.save(releases.root, None if kind in kept_back else release.release_id)
        tag_run(client, models[kind], decision)
    register_release(client, releases, release, decisions)
    releases.set_current(release.release_id)
    log.info("release %s is served from now on; before it: %s", release.release_id, before or "none")
    return {
        "release_id": release.release_id,
        "replaces": before,
        "parts": {kind: _row(part) for kind, part in parts.items()},
        "decision": decisions["retrieval"].to_dict(),
        "demand_decision": decisions["demand"].to_dict() if "demand" in decisions else None,
        "warnings": [*_warnings(parts), *warnings],
    }


def _decided(
    client: MlflowClient,
    releases: ReleaseStore,
    models: Mapping[PartKind, Part],
    champions: Mapping[PartKind, Part | None],
    versions: Mapping[PartKind, str],
    *,
    features: Path | None,
    force: bool,
    seed: int,
) -> dict[PartKind, Decision]:
    """Ask the rule about each part, the retrieval part first.

    A retrieval part that is kept back keeps everything back, as does a demand part that was asked for by its version. The
    newest demand part, taken along because it is there, holds up nothing: the others go on with the one that is served.
    """
    decisions: dict[PartKind, Decision] = {}
    named = {kind for kind, version in versions.items() if version}
    for kind, part in models.items():
        verdict = judge(releases.root, part, champions[kind], features=features, seed=seed)
        decisions[kind] = Decision.on(kind, verdict, force=force and (kind in named or not named))
        if decisions[kind].outcome == "refused" and (kind == "retrieval" or kind in named):
            _refuse(client, releases, part, decisions[kind])
    return decisions


def _refuse(client: MlflowClient, releases: ReleaseStore, part: Part, decision: Decision) -> None:
    path = decision.save(releases.root, None)
    tag_run(client, part, decision)
    raise NotPromoted(
        f"{refusal(decision)}, nothing has moved. `--force` promotes it and records that this was overridden; the decision "
        f"is in {path}."
    )


def tag_run(client: MlflowClient, part: Part, decision: Decision) -> None:
    """Tag the run that made a part with the decision about it."""
    if part.run_id and _run_exists(client, part.run_id):
        for name, value in decision.tags.items():
            client.set_tag(part.run_id, name, value)


def _row(part: Part) -> dict[str, Any]:
    row = {"version": part.version, "metrics": dict(part.metrics), "data_fingerprint": part.data_fingerprint}
    learned = {name: part.about[name] for name in ("trained_on", "steps") if name in part.about}
    return row | learned


def _warnings(parts: Mapping[PartKind, Part]) -> list[str]:
    if len({part.data_fingerprint for part in parts.values()}) == 1:
        return []
    found = ", ".join(f"{kind} {part.data_fingerprint[:12]}" for kind, part in parts.items())
    text = f"the parts were made from different data ({found}); if that is not meant, train or promote from the same features"
    log.warning("%s", text)
    return [text]


def register_release(
    client: MlflowClient, releases: ReleaseStore, release: Release, decisions: Mapping[PartKind, Decision]
) -> None:
    """Register a version of each uploadable part and of the release, tagged, and move the alias to the release."""
    for kind, model in PART_MODELS.items():
        part, decision = release.part(kind), decisions.get(kind)
        if part is not None:
            version = _register(client, model, part.directory, part.run_id, {"footfall.version": part.version})
            if decision is not None and decision.outcome != "refused":  # refused: the part is not what was decided on
                _tag_version(client, model, version, decision.tags)
    manifest = releases.manifest_path(release.release_id)
    tags = {RELEASE_ID_TAG: release.release_id, "footfall.manifest": json.dumps(json.loads(manifest.read_text()))}
    version = _register(client, RELEASE_MODEL, manifest, "", tags)
    for decision in decisions.values():
        _tag_version(client, RELEASE_MODEL, version, decision.release_tags)
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


def _tag_version(client: MlflowClient, model: str, version: str, tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        client.set_model_version_tag(model, version, name, value)


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
