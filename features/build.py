"""From a data directory to a feature directory: every table, sequence and panel that models read.

data/events.parquet ...   ->   out/identity/           which ids are one customer; absent where nothing links two
                               out/event_log.parquet   clean, sorted, flagged, by customer
                               out/consents.parquet    from when on each purpose may use a customer's rows
                               out/vocabulary.parquet  items by code
                               out/users.parquet       users by row of the sequences
                               out/catalog.parquet     attributes by item code
                               out/items.parquet       the contract's table
                               out/sequences/          personalisation only
                               out/customers.parquet   analytics only
                               out/panel/              analytics only
                               out/tags.yaml ...       the shop's own rules, where it has any
                               out/sources.json        digests of what was read, by file and by day
                               out/manifest.json       settings, counts, sha256 of each file

It is made beside ``out``, stage after stage (``features.stages``): a build that was killed goes on behind the last stage it
finished. An earlier build at ``out`` is brought up to date where it can be (``features.refresh``); their rows are the same as
if everything had been built anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from features.asides import sweep
from features.catalog import ItemCatalog
from features.engine import memory_explained
from features.event_log import EventLog
from features.files import read_json, sha256_of_file, write_json
from features.manifest import (
    CATALOG_FILE,
    CUSTOMERS_FILE,
    EVENT_LOG_FILE,
    FEATURES_FORMAT,
    IDENTITY_DIRECTORY,
    ITEMS_FILE,
    MANIFEST_FILE,
    PANEL_DIRECTORY,
    SEQUENCES_DIRECTORY,
    USERS_FILE,
    VOCABULARY_FILE,
    read_manifest,
    refuse_foreign_directory,
)
from features.panel.build import PanelSettings
from features.panel.demand_panel import DemandPanel
from features.refresh.plan import code_digest, plan_refresh
from features.refresh.sources import SOURCES_FILE, Sources
from features.release.part import git_revision
from features.rules.shop_files import RULE_FILES, copy_rule_files
from features.sequences import Sequences
from features.settings import EngineSettings, ShopSettings
from features.stages.area import BuildingArea, building_area
from features.stages.interface import Build, Stages
from features.stages.journal import Header, Journal
from features.stages.on_duckdb import DuckDBStages
from features.stages.run import begin, kept_if_useful, run_stages
from features.vocabulary import Vocabulary

__all__ = [
    "CATALOG_FILE",
    "CUSTOMERS_FILE",
    "EVENT_LOG_FILE",
    "IDENTITY_DIRECTORY",
    "ITEMS_FILE",
    "PANEL_DIRECTORY",
    "SEQUENCES_DIRECTORY",
    "USERS_FILE",
    "VOCABULARY_FILE",
    "FeatureSet",
    "build_features",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """What ``build_features`` wrote, opened; large arrays are mapped, not read.

    Args:
        directory: where it is.
        shop: the shop's settings.
        event_log: the clean log.
        vocabulary: items by code.
        users: users by row of ``sequences``: row ``u`` is code ``u + 2``.
        catalog: attributes by item code.
        sequences: item events that may serve personalisation.
        customers: path of the customer table (``CustomerTable.load``).
        panel: the demand panel.
        fingerprint: of the event log and of all that was made from it: codes mean the same items in two feature
            directories of one fingerprint. Stands in every result made from it.
        about: the manifest.
    """

    directory: Path
    shop: ShopSettings
    event_log: EventLog
    vocabulary: Vocabulary
    users: Vocabulary
    catalog: ItemCatalog
    sequences: Sequences
    customers: Path
    panel: DemandPanel
    fingerprint: str
    about: dict[str, Any]

    @classmethod
    def load(cls, out: Path) -> FeatureSet:
        """Open a feature directory.

        Raises:
            DataError: it is not one, or another version of Footfall wrote it.
        """
        out = Path(out)
        about = read_manifest(out)
        log = EventLog.open(out / EVENT_LOG_FILE)
        return cls(
            directory=out,
            shop=ShopSettings.load(out),
            event_log=log,
            vocabulary=Vocabulary.load(out / VOCABULARY_FILE),
            users=Vocabulary.load(out / USERS_FILE),
            catalog=ItemCatalog.load(out / CATALOG_FILE),
            sequences=Sequences.load(out / SEQUENCES_DIRECTORY),
            customers=out / CUSTOMERS_FILE,
            panel=DemandPanel.load(out / PANEL_DIRECTORY),
            fingerprint=about["fingerprint"],
            about=about,
        )


def build_features(
    data: Path,
    out: Path,
    *,
    engine: EngineSettings = EngineSettings(),
    panel: PanelSettings | None = None,
    rebuild: bool = False,
) -> dict[str, Any]:
    """Build all features of a data directory; ``out`` appears whole or not at all.

    An earlier feature directory at ``out`` is replaced; anything else there is left alone. Where the same code built it
    with the same settings, only days whose events changed are read; where nothing changed at all, it stays. The
    manifest's ``refresh`` says which, and why. What an earlier process left unfinished of the same data, settings and code
    is gone on with; ``resumed_from`` then names the first stage that it had not finished.

    Args:
        data: a data directory: contract tables and ``shop.yaml``.
        out: the feature directory to write.
        engine: memory limit, threads, where to spill.
        panel: which items and how many days ahead the demand panel holds.
        rebuild: whether to read everything, whatever stands at ``out``.

    Returns:
        The manifest, as in ``out/manifest.json``.

    Raises:
        DataError: the data directory breaks the contract, or ``out`` holds something else.
        ConfigError: a setting of the shop is wrong, the memory limit is too low, or another process builds ``out``.
    """
    data, out = Path(data), Path(out)
    refuse_foreign_directory(out)
    shop, panel = ShopSettings.load(data), panel or PanelSettings()
    with memory_explained(engine), building_area(out) as area, kept_if_useful(area):
        sweep(out.parent, out.name)
        area.made.mkdir(exist_ok=True)
        sources, refresh = plan_refresh(
            data, out, settings=_settings(shop, panel), engine=engine, staged=area.made, rebuild=rebuild
        )
        if refresh.mode == "unchanged":
            area.remove()
            return read_manifest(out) | {"refresh": refresh.described()}
        build = Build(data=data, out=area.made, shop=shop, panel=panel, engine=engine, refresh=refresh)
        manifest = _build(build, sources, area)
        sources.expect_unchanged(data)
        write_json(area.made / MANIFEST_FILE, manifest)
        area.publish()
    logger.info("features: written to %s in %.1f s", out, sum(manifest["seconds"].values()))
    return manifest


def _build(build: Build, sources: Sources, area: BuildingArea) -> dict[str, Any]:
    """Do the stages that an earlier process left, and return the manifest of all of them."""

    def base(made: Path) -> None:
        build.shop.save(made)
        copy_rule_files(build.data, made)
        write_json(made / SOURCES_FILE, sources.to_json())

    begun = begin(area, _header(build, sources), base)
    with stages_of(build, area) as stages:
        return _manifest(build, run_stages(stages, build, begun, area), begun.resumed_from)


@contextlib.contextmanager
def stages_of(build: Build, area: BuildingArea) -> Iterator[Stages]:
    """Yield who does the stages, as the engine's settings have it.

    Raises:
        ConfigError: no session of the cluster starts.
    """
    if build.engine.name == DuckDBStages.name:
        yield DuckDBStages()
        return
    from features.spark.stages import spark_stages  # noqa: PLC0415 (most shops need no cluster)

    with spark_stages(build.engine, build.data, beside=area.directory) as stages:
        yield stages


def _header(build: Build, sources: Sources) -> Header:
    """Return what must be the same for a rerun to go on with what an earlier process finished."""
    before, plan = build.refresh.previous, build.refresh
    kept = [sorted(plan.changed_days), sorted(plan.new_identity_days), plan.links_added]
    return {
        "the version of Footfall": _version(),
        "the code": code_digest(),
        "the engine": build.engine.name,
        "the data": _digest(sources.files),
        "settings": _digest(_settings(build.shop, build.panel)),
        "the features that are brought up to date": ""
        if before is None
        else _digest([kept, sha256_of_file(before / MANIFEST_FILE)]),
    }


def _manifest(build: Build, journal: Journal, resumed_from: str) -> dict[str, Any]:
    source = build.data / "about.json"
    finished = journal.files()
    paths = sorted(p for p in build.out.rglob("*") if p.is_file())
    names = [path.relative_to(build.out).as_posix() for path in paths]
    files = {name: finished.get(name) or sha256_of_file(build.out / name) for name in names}
    said = [stage.said for stage in journal.stages]
    refresh = next((one["refresh"] for one in said if "refresh" in one), build.refresh.described())
    return {
        "format": FEATURES_FORMAT,
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "fingerprint": _fingerprint(EventLog.open(build.out / EVENT_LOG_FILE), files),
        "counts": {name: count for one in said for name, count in one["counts"].items()},
        "settings": _settings(build.shop, build.panel) | {"engine": dataclasses.asdict(build.engine)},
        "code": code_digest(),
        "files": files,
        "seconds": {stage.stage: stage.seconds for stage in journal.stages},
        "data": read_json(source) if source.exists() else {},
        "refresh": refresh,
    } | ({"resumed_from": resumed_from} if resumed_from else {})


def _settings(shop: ShopSettings, panel: PanelSettings) -> dict[str, Any]:
    return {"shop": dataclasses.asdict(shop), "panel": dataclasses.asdict(panel)}


def _fingerprint(log: EventLog, files: Mapping[str, str]) -> str:
    """Return 64 hex digits over the log's content and the other files.

    The log's alone would not do: one log with other items or other ``event_types`` gives other codes. What the rules
    of tags, audiences and triggers say changes none of what models read.
    """
    unread = (EVENT_LOG_FILE, SOURCES_FILE, *RULE_FILES)
    others = [f"{name} {digest}" for name, digest in sorted(files.items()) if name.partition("/")[0] not in unread]
    return hashlib.sha256("\n".join([log.fingerprint, *others]).encode()).hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()


def _version() -> str:
    try:
        return version("footfall")
    except PackageNotFoundError:  # run from a checkout
        return ""
