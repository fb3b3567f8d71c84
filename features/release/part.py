"""A part: an immutable directory of files with a manifest that vouches for each of them.

parts/retrieval/20261122T101500123456-3fa9c1/
manifest.json      kind, version, git revision, run, data fingerprint, metrics, sha256 of every file
...                the files, none of them pickled
"""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from features.asides import sweep
from features.errors import DataError, ReleaseError
from features.files import read_json, sha256_of_file, staged_directory, write_json

PartKind = Literal["retrieval", "demand", "customers"]
DigestOf = Callable[[Path], str]
PART_KINDS: Final = get_args(PartKind)
MANIFEST_FILE: Final = "manifest.json"
PART_FORMAT: Final = 1
_PICKLE_SUFFIXES: Final = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"})


@dataclass(frozen=True, kw_only=True)
class Part:
    """One version of one part, as its manifest describes it.

    Args:
        directory: where its files are.
        kind: retrieval, demand or customers.
        version: sorts by time of creation.
        created_at: ISO 8601, UTC.
        files: SHA-256 of each file, by path relative to ``directory``.
        data_fingerprint: of the features that it was made from.
        git_revision: of the code that made it, ``unknown`` outside a checkout.
        run_id: MLflow run, empty for customers.
        metrics: headline figures, for people and for promotion.
        about: anything else a reader needs: settings, steps, vector size.
    """

    directory: Path
    kind: PartKind
    version: str
    created_at: str
    files: Mapping[str, str]
    data_fingerprint: str
    git_revision: str
    run_id: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Digest of the manifest, and through it of every file."""
        return sha256_of_file(self.directory / MANIFEST_FILE)

    def path(self, name: str) -> Path:
        """Return the path of one listed file.

        Raises:
            ReleaseError: the manifest does not list it.
        """
        if name not in self.files:
            raise ReleaseError(f"{self.directory}: expected the manifest to list {name!r}, found {sorted(self.files)}.")
        return self.directory / name

    @classmethod
    def open(cls, directory: Path, *, digest_of: DigestOf = sha256_of_file) -> Part:
        """Read a manifest and check every file against it.

        Args:
            directory: of the part.
            digest_of: how a file's SHA-256 is found; see ``features.release.digests`` for one that remembers.

        Raises:
            ReleaseError: the manifest is unreadable, or a file is missing, changed or unlisted.
        """
        part = cls._read_manifest(Path(directory))
        present = {str(p.relative_to(directory)) for p in Path(directory).rglob("*") if p.is_file()} - {MANIFEST_FILE}
        for name in sorted(present.symmetric_difference(part.files)):
            state = "unlisted file" if name in present else "missing file"
            raise ReleaseError(f"{part.directory / name}: {state}; restore the part or promote another version.")
        for name, expected in part.files.items():
            found = digest_of(part.directory / name)
            if found != expected:
                raise ReleaseError(
                    f"{part.directory / name}: damaged; expected sha256 {expected[:12]}…, found {found[:12]}…. "
                    "Restore the file or promote another version."
                )
        return part

    @classmethod
    def _read_manifest(cls, directory: Path) -> Part:
        path = directory / MANIFEST_FILE
        if not path.is_file():
            raise ReleaseError(f"{path}: expected a part manifest here, found none.")
        try:
            values = read_json(path)
            found = values.pop("format")
            if found != PART_FORMAT:
                raise ReleaseError(f"{path}: expected part format {PART_FORMAT}, found {found}; upgrade Footfall.")
            part = cls(directory=directory, **values)
        except ReleaseError:
            raise
        except Exception as error:
            raise ReleaseError(f"{path}: damaged manifest ({error}); restore it or promote another version.") from None
        if part.kind not in PART_KINDS:
            raise ReleaseError(f"{path}: expected a kind out of {PART_KINDS}, found {part.kind!r}.")
        return part


@dataclass(frozen=True, kw_only=True)
class PartDraft:
    """A part being written: put files into ``directory``, then fill in the rest."""

    directory: Path
    metrics: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def write_part(
    root: Path, kind: PartKind, *, data_fingerprint: str, run_id: str = "", version: str = ""
) -> Iterator[PartDraft]:
    """Yield a draft whose directory becomes ``root/parts/kind/version`` when the block ends well.

    Args:
        root: directory of the release store.
        kind: retrieval, demand or customers.
        data_fingerprint: of the features that the part is made from.
        run_id: MLflow run.
        version: name of the directory; made from the time where left out.

    Raises:
        ReleaseError: a file in the draft looks like a pickle.
    """
    created = dt.datetime.now(dt.UTC)
    name = version or version_name(created)
    sweep(Path(root) / "parts" / kind)  # no later part will have the name of one that was cut off
    with staged_directory(Path(root) / "parts" / kind / name) as staging:
        draft = PartDraft(directory=staging)
        yield draft
        paths = sorted(p for p in staging.rglob("*") if p.is_file())
        for path in paths:
            if path.suffix in _PICKLE_SUFFIXES:
                raise ReleaseError(
                    f"{path.name}: a release holds no pickles; write safetensors, ONNX, Parquet, npy or JSON."
                )
        manifest = Part(
            directory=staging,
            kind=kind,
            version=name,
            created_at=created.isoformat(timespec="microseconds"),
            files={str(path.relative_to(staging)): sha256_of_file(path) for path in paths},
            data_fingerprint=data_fingerprint,
            git_revision=git_revision(),
            run_id=run_id,
            metrics=draft.metrics,
            about=draft.about,
        )
        values = {"format": PART_FORMAT} | asdict(manifest)
        del values["directory"]
        write_json(staging / MANIFEST_FILE, values)


def written_by(directory: Path) -> str | None:
    """Return the MLflow run that a part's manifest names; ``None`` where it cannot be read. Files are not checked."""
    try:
        return str(read_json(Path(directory) / MANIFEST_FILE)["run_id"])
    except (DataError, OSError, KeyError, TypeError):
        return None


def version_name(created: dt.datetime) -> str:
    """Return a name that is unique and sorts by time, to the microsecond: two parts of one second keep their order.

    >>> version_name(dt.datetime(2026, 11, 22, 10, 15, 0, 123456))[:21]
    '20261122T101500123456'
    """
    return f"{created:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}"


def git_revision() -> str:
    """Return the revision of the code that runs, with ``-dirty`` where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
