"""From parts to the release that is served: registered versions, and the alias that marks one of them.

Two pointers name what is served: the registry's alias, and ``current.json`` for those who serve from the
directory. They cannot move at once, so all that can be refused or fail comes first:

    0  ask the rule         a retrieval part that is not better moves nothing (training.promotion_rule)
    1  check every file     a damaged release moves nothing
    2  register versions    nobody serves them yet
    3  move the alias       the last step that a registry out of reach can stop
    4  write current.json   one rename on the store's own disk

A crash between 3 and 4 leaves two sound releases, one for each pointer. The same promotion run again takes up the
release that was cut off; any later one moves both pointers.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from features.build import FeatureSet
from features.errors import NotPromoted, ReleaseError
from features.files import write_json
from features.release import Part, PartKind, Release, ReleaseStore
from features.release.customers_part import write_customers_part
from features.release.part import version_name
from features.release.registry import PART_MODELS, RELEASE_ID_TAG, RELEASE_MODEL, SERVING_ALIAS
from training.evaluation.champion import served_part
from training.promotion_rule import Verdict, judge
from training.tracking import open_client

DECISIONS_DIRECTORY: Final = "decisions"

log = logging.getLogger(__name__)


def promote_release(
    store: Path, *, features: Path | None, versions: Mapping[PartKind, str], force: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Write a release over one version of each part, register it, and serve it from now on.

    Args:
        store: release store.
        features: make the customers part from these features first, and score champion and challenger on their newest
            window; where left out, on that of the features that the challenger was trained on.
        versions: version of each part; empty means the newest; a kind the store has none of is left out.
        force: promote a retrieval part that the rule keeps back.
        seed: of the rule's draws.

    Returns:
        ids of the release and of the one it replaces, each part's version, metrics and data fingerprint, the
        decision about the retrieval part with its figures and with what was overridden, and warnings: parts may come
        from different data, such as last night's customers beside last week's model.

    Raises:
        NotPromoted: the rule keeps the champion; nothing has moved.
        ReleaseError: there is no retrieval part, a version does not exist, or a file is damaged.
    """
    releases = ReleaseStore(root=Path(store))
    models = _chosen(releases, PART_MODELS, versions)
    if "retrieval" not in models:
        raise ReleaseError(f"{store}: expected a retrieval part, found none; run `footfall train retrieval` first.")
    champion = served_part(releases)
    verdict = judge(Path(store), models["retrieval"], champion, features=features, seed=seed)
    decision = Decision.on(verdict, force=force)
    client = open_client(store)
    if decision.outcome == "refused":
        _refuse(client, releases, models["retrieval"], decision)
    if features is not None:  # personal data is written only once there is something to serve it with
        _write_customers(features, releases)
    parts = models | _chosen(releases, ("customers",), versions)
    before = releases.current_id
    _tell_disagreement(client, before)
    release = _cut_off(releases, parts) or releases.create(parts)
    releases.open(release.release_id)
    decision.save(releases.root, release.release_id)
    register_release(client, releases, release, decision)
    releases.set_current(release.release_id)
    log.info("release %s is served from now on; before it: %s", release.release_id, before or "none")
    return {
        "release_id": release.release_id,
        "replaces": before,
        "parts": {kind: _row(part) for kind, part in parts.items()},
        "decision": decision.to_dict(),
        "warnings": [*_warnings(parts), *_decision_warnings(verdict, parts["retrieval"], champion)],
    }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What came of a verdict.

    Args:
        outcome: ``promoted``, ``refused``, ``forced`` against the verdict, or ``unchanged``.
        verdict: what the rule said.
        overridden: the reason that ``--force`` went over, empty where it went over none.
    """

    outcome: Literal["promoted", "refused", "forced", "unchanged"]
    verdict: Verdict
    overridden: str = ""

    @classmethod
    def on(cls, verdict: Verdict, *, force: bool) -> Decision:
        """Decide: the rule holds unless it is forced."""
        if verdict.earned:
            return cls(outcome="unchanged" if verdict.rule == "unchanged" else "promoted", verdict=verdict)
        if force:
            return cls(outcome="forced", verdict=verdict, overridden=verdict.reason)
        return cls(outcome="refused", verdict=verdict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"outcome": self.outcome, "overridden": self.overridden} | self.verdict.to_dict()

    @property
    def tags(self) -> dict[str, str]:
        """Return what the run and the registered versions are tagged with; nothing where nothing was decided."""
        if self.outcome == "unchanged":
            return {}
        tags = {"decision": self.outcome, "rule": self.verdict.rule, "reason": self.verdict.reason}
        tags |= {"champion": self.verdict.champion, "overridden": self.overridden}
        if figures := self.verdict.figures:
            low, high = figures.relative.low, figures.relative.high
            tags["relative_ndcg_at_20"] = f"{figures.relative.mean:.4f} [{low:.4f}, {high:.4f}]"
            tags |= {"window": figures.window.label, "attempts": str(figures.num_configurations)}
        return {f"footfall.promotion.{name}": value for name, value in tags.items() if value}

    def save(self, store: Path, release_id: str | None) -> Path:
        """Write the decision into the store and return its file; ``release_id`` names the release that it made."""
        now = dt.datetime.now(dt.UTC)
        path = Path(store) / DECISIONS_DIRECTORY / f"{version_name(now)}.json"
        if self.outcome != "unchanged":
            write_json(path, {"at": now.isoformat(), "release_id": release_id} | self.to_dict())
        return path


def _refuse(client: MlflowClient, releases: ReleaseStore, part: Part, decision: Decision) -> None:
    path = decision.save(releases.root, None)
    _tag_run(client, part, decision)
    verdict = decision.verdict
    raise NotPromoted(
        f"retrieval {verdict.challenger} is not promoted: {verdict.reason}. {verdict.champion} is served as before, nothing "
        f"has moved. `--force` promotes it and records that this was overridden; the decision is in {path}."
    )


def _tag_run(client: MlflowClient, part: Part, decision: Decision) -> None:
    if part.run_id and _run_exists(client, part.run_id):
        for name, value in decision.tags.items():
            client.set_tag(part.run_id, name, value)


def _decision_warnings(verdict: Verdict, part: Part, champion: Part | None) -> list[str]:
    texts = []
    if part.about.get("trained_on") == "fit":
        texts.append(
            f"retrieval {part.version} was not learned again from all data (refit: false): it knows nothing of the "
            "validation and test windows at the end of its log"
        )
    if verdict.rule == "better" and champion is not None and champion.data_fingerprint != part.data_fingerprint:
        texts.append(
            "configuration and data both differ from the champion's, and so the difference is of both; "
            "to tell them apart, train the champion's configuration on the same features"
        )
    for text in texts:
        log.warning("%s", text)
    return texts


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


def register_release(client: MlflowClient, releases: ReleaseStore, release: Release, decision: Decision) -> None:
    """Register a version of each uploadable part and of the release, tagged, and move the alias to the release."""
    for kind, model in PART_MODELS.items():
        part = release.part(kind)
        if part is not None:
            version = _register(client, model, part.directory, part.run_id, {"footfall.version": part.version})
            if kind == "retrieval":
                _tag_run(client, part, decision)
                _tag_version(client, model, version, decision)
    manifest = releases.manifest_path(release.release_id)
    tags = {RELEASE_ID_TAG: release.release_id, "footfall.manifest": json.dumps(json.loads(manifest.read_text()))}
    version = _register(client, RELEASE_MODEL, manifest, "", tags)
    _tag_version(client, RELEASE_MODEL, version, decision)
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


def _tag_version(client: MlflowClient, model: str, version: str, decision: Decision) -> None:
    for name, value in decision.tags.items():
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
