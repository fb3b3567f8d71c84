"""The release manifest: one version of each part, named by the digest of its manifest.

store/
parts/retrieval/<version>/   parts/demand/<version>/   parts/customers/<version>/
releases/<release id>.json   which version of each
current.json                 the release that is served from this directory
erasures.jsonl, .key         users to forget, whatever release is loaded
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from features.errors import ReleaseError
from features.files import read_json, sha256_of_file, write_json
from features.release.erasure import ErasureList
from features.release.part import MANIFEST_FILE, PART_KINDS, DigestOf, Part, PartKind, version_name, written_by

RELEASE_FORMAT: Final = 1
CURRENT_FILE: Final = "current.json"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A checked release: its id and its parts, every file of which matches its digest."""

    release_id: str
    created_at: str
    parts: Mapping[PartKind, Part]

    def part(self, kind: PartKind) -> Part | None:
        """Return one part, or ``None`` where the release has none of that kind."""
        return self.parts.get(kind)


@dataclass(frozen=True, kw_only=True)
class ReleaseStore:
    """A directory of parts, releases and the erasure list.

    Args:
        root: the directory.
        digest_of: how a file's SHA-256 is found; see ``features.release.digests`` for one that remembers.
    """

    root: Path
    digest_of: DigestOf = field(default=sha256_of_file, repr=False, compare=False)

    @property
    def erasures(self) -> ErasureList:
        """Users to forget, whatever release is loaded."""
        return ErasureList(path=Path(self.root) / "erasures.jsonl")

    def create(self, parts: Mapping[PartKind, Part]) -> Release:
        """Write a release manifest over parts of this store; it is not served until made current.

        Raises:
            ReleaseError: no part is given, or a part lies outside this store.
        """
        if not parts:
            raise ReleaseError("A release needs at least one part; train one first.")
        now = dt.datetime.now(dt.UTC)
        release = Release(
            release_id=version_name(now),
            created_at=now.isoformat(timespec="microseconds"),
            parts=dict(parts),
        )
        rows = {kind: {"version": part.version, "sha256": part.sha256} for kind, part in parts.items()}
        for kind, part in parts.items():
            if part.directory.resolve() != self._part_directory(kind, part.version).resolve():
                raise ReleaseError(f"{part.directory}: expected a part of the store {self.root}; copy it there first.")
        manifest = {"format": RELEASE_FORMAT, "release_id": release.release_id, "created_at": release.created_at}
        manifest |= {"parts": rows}
        write_json(self.manifest_path(release.release_id), manifest | {"sha256": _digest(manifest)})
        return release

    def open(self, release_id: str) -> Release:
        """Read a release and check every file of every part.

        Raises:
            ReleaseError: something is missing or damaged; the message names the file.
        """
        path = self.manifest_path(release_id)
        manifest = self._manifest(path)
        parts: dict[PartKind, Part] = {}
        for kind in PART_KINDS:
            row = manifest["parts"].get(kind)
            if row is None:
                continue
            parts[kind] = self._open_part(kind, row["version"], sha256=row["sha256"], named_by=path)
        return Release(release_id=manifest["release_id"], created_at=manifest["created_at"], parts=parts)

    def release_ids(self) -> list[str]:
        """Return all release ids, oldest first."""
        return sorted(p.stem for p in (Path(self.root) / "releases").glob("*.json"))

    def latest_part(self, kind: PartKind) -> Part | None:
        """Return the newest part of a kind, checked, or ``None``."""
        versions = sorted(p.name for p in (Path(self.root) / "parts" / kind).glob("[!.]*") if p.is_dir())
        return Part.open(self._part_directory(kind, versions[-1]), digest_of=self.digest_of) if versions else None

    def parts(self, kind: PartKind) -> list[Part]:
        """Return all parts of a kind, checked, oldest first, whether a release names them or none does.

        Raises:
            ReleaseError: a file of one is damaged.
        """
        return [Part.open(path) for path in sorted((Path(self.root) / "parts" / kind).glob("[!.]*")) if path.is_dir()]

    def replace_part(self, old: Part, *, by: Part) -> list[str]:
        """Let every release that names one part name another in its place; return their ids, which stay the same.

        Raises:
            ReleaseError: a release manifest is damaged.
        """
        named = []
        for release_id in self.release_ids():
            manifest = self._manifest(self.manifest_path(release_id))
            if manifest["parts"].get(old.kind, {}).get("version") == old.version:
                manifest["parts"][old.kind] = {"version": by.version, "sha256": by.sha256}
                write_json(self.manifest_path(release_id), manifest | {"sha256": _digest(manifest)})
                named.append(release_id)
        return named

    def part_of_run(self, kind: PartKind, run_id: str) -> Part | None:
        """Return the newest part that a run has written, checked, or ``None``; other runs' parts may be damaged.

        Raises:
            ReleaseError: a file of it is damaged.
        """
        for path in sorted((Path(self.root) / "parts" / kind).glob("[!.]*"), reverse=True):
            if written_by(path) == run_id:
                return Part.open(path)
        return None

    def open_part(self, kind: PartKind, version: str) -> Part:
        """Return one version of a part, checked.

        Raises:
            ReleaseError: there is no such version, or a file of it is damaged.
        """
        directory = self._part_directory(kind, version)
        if not directory.is_dir():
            known = sorted(p.name for p in directory.parent.glob("[!.]*"))[-3:]
            raise ReleaseError(
                f"{directory}: expected a {kind} part here, found none; newest: {', '.join(known) or 'none'}."
            )
        return Part.open(directory, digest_of=self.digest_of)

    @property
    def current_id(self) -> str | None:
        """Id of the release that is served from this directory, or ``None`` before the first promotion.

        Raises:
            ReleaseError: the file that names it is damaged.
        """
        path = Path(self.root) / CURRENT_FILE
        if not path.exists():
            return None
        try:
            current = str(read_json(path)["release_id"])
        except Exception as error:
            raise ReleaseError(f"{path}: damaged ({error}); promote again.") from None
        if not self.manifest_path(current).is_file():
            raise ReleaseError(f"{path}: names release {current!r}, which this store does not hold; promote again.")
        return current

    def set_current(self, release_id: str) -> None:
        """Serve this release from now on; it must open cleanly.

        Raises:
            ReleaseError: the release does not open.
        """
        self.open(release_id)
        write_json(Path(self.root) / CURRENT_FILE, {"release_id": release_id})

    def _open_part(self, kind: PartKind, version: str, *, sha256: str, named_by: Path) -> Part:
        """Check a part's manifest before the files, so that a damaged manifest does not blame a sound file."""
        manifest = self._part_directory(kind, version) / MANIFEST_FILE
        if manifest.is_file() and self.digest_of(manifest) != sha256:
            raise ReleaseError(f"{manifest}: damaged; its sha256 is not the one {named_by} names.")
        return Part.open(manifest.parent, digest_of=self.digest_of)

    def _part_directory(self, kind: PartKind, version: str) -> Path:
        return Path(self.root) / "parts" / kind / version

    def content_of(self, release_id: str) -> str:
        """Return the SHA-256 of a release's manifest: it changes when a part of the release is replaced.

        Raises:
            ReleaseError: the manifest is missing or damaged; the parts are not looked at.
        """
        return _digest(self._manifest(self.manifest_path(release_id)))

    def manifest_path(self, release_id: str) -> Path:
        """Return where a release's manifest stands."""
        return Path(self.root) / "releases" / f"{release_id}.json"

    def _manifest(self, path: Path) -> dict[str, Any]:
        if not path.is_file():
            known = ", ".join(self.release_ids()[-3:]) or "none"
            raise ReleaseError(
                f"{path}: expected a release manifest here, found none; releases of this store: {known}."
            )
        try:
            manifest: dict[str, Any] = read_json(path)
            found, sha256 = manifest["format"], manifest.pop("sha256")
            manifest["parts"], manifest["release_id"], manifest["created_at"]
        except Exception as error:
            raise ReleaseError(f"{path}: damaged release manifest ({error}); promote again.") from None
        if found != RELEASE_FORMAT:
            raise ReleaseError(f"{path}: expected release format {RELEASE_FORMAT}, found {found}; upgrade Footfall.")
        if _digest(manifest) != sha256:
            raise ReleaseError(
                f"{path}: damaged release manifest; its content does not match its sha256; promote again."
            )
        return manifest


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a release manifest's content, however it is laid out."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
