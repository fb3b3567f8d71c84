"""How a feature directory is brought up to date: nothing to do, the days that changed, or everything anew, and why.

nothing changed in data, settings or code           unchanged: the directory stays
rows of some days changed, all else of the log not  by day: the event log keeps the other days
anything else                                       anew, with the reason
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from features.errors import DataError
from features.files import read_json, sha256_of_file
from features.identity.build import KnownLinks
from features.identity.denials import DENIALS_PARQUET, DENIALS_YAML
from features.manifest import MANIFEST_FILE
from features.refresh.sources import SOURCES_FILE, STAMPS, Sources
from features.settings import EngineSettings

Mode = Literal["anew", "by day", "unchanged"]
_PACKAGE: Final = Path(__file__).parents[1]
_EVENTS: Final = "events"
_IDENTITIES: Final = "identities"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """What to do about an earlier feature directory.

    Args:
        mode: see the module.
        why: in words.
        previous: the earlier directory; ``None`` when everything is built anew.
        changed_days: of the events, UTC days counted from 1970-01-01.
        new_identity_days: of the identities table, whose rows are new.
        links_added: whether the evidence of identity only grew, so that the earlier links hold.
    """

    mode: Mode
    why: str
    previous: Path | None = None
    changed_days: frozenset[int] = frozenset()
    new_identity_days: frozenset[int] = frozenset()
    links_added: bool = False

    @classmethod
    def anew(cls, why: str) -> Refresh:
        """Return the plan to build everything."""
        return cls(mode="anew", why=why)

    def known_links(self, directory: str) -> KnownLinks | None:
        """Return what the earlier build linked, where that holds."""
        if self.previous is None or not self.links_added or not (self.previous / directory).is_dir():
            return None
        return KnownLinks(
            directory=self.previous / directory, event_days=self.changed_days, identity_days=self.new_identity_days
        )

    def described(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {"mode": self.mode, "why": self.why, "changed_days": len(self.changed_days)}


def plan_refresh(
    data: Path, out: Path, *, settings: dict[str, Any], engine: EngineSettings, staged: Path, rebuild: bool = False
) -> tuple[Sources, Refresh]:
    """Return the state of the data, and how to bring ``out`` up to it.

    Args:
        data: a data directory.
        out: the feature directory; it may be missing.
        settings: of the shop and of the panel, as a manifest has them.
        engine: memory limit, threads.
        staged: where features are about to be made: an unfinished build there may know the data by day already. Spilled
            into where the engine's settings name no other directory.
        rebuild: whether everything is to be built anew, whatever changed.
    """
    then = Sources.load(out / SOURCES_FILE)
    known = Sources.load(staged / SOURCES_FILE) or then
    sources = Sources.read(data, engine=engine, spill=staged, known=known)
    manifest = _read_manifest(out / MANIFEST_FILE)
    refresh = Refresh.anew("asked for") if rebuild else _plan(out, manifest, sources, then, settings)
    logger.info("features: %s: %s", refresh.mode, refresh.why)
    return sources, refresh


def _plan(
    out: Path, manifest: dict[str, Any] | None, sources: Sources, then: Sources | None, settings: dict[str, Any]
) -> Refresh:
    if manifest is None or then is None:
        return Refresh.anew("there is no earlier build to go by")
    if reason := _lost(out, manifest, sources, then, settings):
        return Refresh.anew(reason)
    if sources.files == then.files:
        return Refresh(mode="unchanged", why="neither data nor settings changed", previous=out)
    changed = sources.changed_days(_EVENTS, then)
    denials = sources.same_files(then, DENIALS_YAML, DENIALS_PARQUET)
    return Refresh(
        mode="by day",
        why=f"events changed on {len(changed)} of {len(sources.days[_EVENTS])} days",
        previous=out,
        changed_days=changed,
        new_identity_days=sources.changed_days(_IDENTITIES, then),
        links_added=denials and all(sources.only_added(table, then) for table in (_EVENTS, _IDENTITIES)),
    )


def _lost(out: Path, manifest: dict[str, Any], sources: Sources, then: Sources, settings: dict[str, Any]) -> str:
    """Why nothing of the earlier build holds; empty where something does."""
    if STAMPS in (then.hashed_by, sources.hashed_by) and then.files != sources.files:
        return "data changed, or another engine reads them, and a cluster reads all of them"
    if then.hashed_by != sources.hashed_by or manifest["code"] != code_digest():
        return "another version of the code made the earlier build"
    if _json({name: manifest["settings"].get(name) for name in settings}) != _json(settings):
        return "settings changed"
    if sources.undated() or then.undated():
        return "a row has no instant"
    damaged = _damaged(out, manifest)
    return f"{damaged} is not what its manifest says" if damaged else ""


@cache
def code_digest() -> str:
    """Return 64 hex digits over the source of ``features``: other code may make another log of the same data."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """Return an earlier manifest; nothing where there is none that can be gone by."""
    try:
        found = read_json(path)
    except (DataError, OSError):
        return None
    return found if isinstance(found, dict) and {"files", "settings", "code"} <= found.keys() else None


def _damaged(out: Path, manifest: dict[str, Any]) -> str:
    for name, digest in manifest["files"].items():
        path = out / name
        if not path.is_file() or sha256_of_file(path) != digest:
            return str(name)
    return ""


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list)
