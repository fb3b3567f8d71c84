"""The files of one run: parts that stand by themselves, and a manifest that says what all of them are.

OUT/part-00000.parquet ...   one row a user, in the order of the users; its metadata tells which run it is of
OUT/_manifest.json           release, settings, counts; ``finished`` once every part stands
OUT/_rejects.parquet         rows of the users' file that were set aside
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from features.asides import sweep
from features.errors import DataError
from features.files import read_json, staged_file, write_json

MANIFEST: Final = "_manifest.json"
REJECTS: Final = "_rejects.parquet"
FORMAT: Final = 1
_METADATA_KEY: Final = b"footfall_bulk"
_LOCK_PATIENCE_SECONDS: Final = 10.0
_STARTS: Final = ("part-", "_manifest", "_rejects")


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputDirectory:
    """Where the lists of one run are written.

    Args:
        path: the directory.
        run: what a run is made from, as JSON: two runs of equal value give equal lists.
    """

    path: Path
    run: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Digest of what the run is made from, and of its instant, which the manifest keeps."""
        return hashlib.sha256(json.dumps(self.run, sort_keys=True).encode()).hexdigest()

    def part(self, number: int) -> Path:
        """Return where a part stands."""
        return self.path / f"part-{number:05d}.parquet"

    def write_part(self, number: int, table: pa.Table, about: Mapping[str, Any]) -> None:
        """Write a part, whole or not at all."""
        metadata = {_METADATA_KEY: json.dumps({"run": self.fingerprint, **about}).encode()}
        with staged_file(self.part(number)) as aside:
            pq.write_table(
                table.replace_schema_metadata(metadata),
                aside,
                compression="zstd",
                use_dictionary=["items.list.element", "strategy"],
            )

    def finished_part(self, number: int) -> dict[str, Any] | None:
        """Return what is known of a part that this run finished, ``None`` where there is none."""
        try:
            about: dict[str, Any] = json.loads((pq.read_schema(self.part(number)).metadata or {})[_METADATA_KEY])
        except (OSError, KeyError, ValueError, pa.ArrowInvalid):
            return None
        return about if about.get("run") == self.fingerprint else None

    def begin(self, manifest: Mapping[str, Any], rejects: pa.Table) -> None:
        """Write down which run this is, and the rows that were set aside."""
        sweep(self.path)
        with staged_file(self.path / REJECTS) as aside:
            pq.write_table(rejects, aside)
        self.write_manifest({**manifest, "finished": False})

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest."""
        write_json(self.path / MANIFEST, {"format": FORMAT, **manifest})


def manifest_of(path: Path) -> dict[str, Any] | None:
    """Return the manifest of an output directory, ``None`` of a new one.

    Raises:
        DataError: the directory holds something else.
    """
    if not path.exists() or not any(path.iterdir()):
        return None
    if not path.joinpath(MANIFEST).exists():
        raise DataError(
            f"{path}: expected a new directory or lists of an earlier run, found other files; choose another."
        )
    found = read_json(path / MANIFEST)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path / MANIFEST}: expected lists of format {FORMAT}; choose another directory.")
    return found


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that what a directory holds is of the same run.

    Raises:
        DataError: it is not; the message says what differs.
    """
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        told = "; ".join(f"{name}: {_short(before.get(name))}, now {_short(now[name])}" for name in differing)
        raise DataError(
            f"{path} holds lists of another run ({told}). Choose another directory, or --replace to write them anew."
        )


def clear(path: Path) -> None:
    """Remove what an earlier run wrote, the manifest last."""
    for file in sorted(path.glob("*"), reverse=True):  # underscores sort before letters
        if file.name.startswith(_STARTS):
            file.unlink()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Make a directory, and keep other runs out of it; workers that outlive their parent keep it until they notice.

    Raises:
        DataError: another run is at work there, or it is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{path}: expected a directory, found a file; choose another place.") from None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                raise DataError(
                    f"{path}: another run is writing there; wait for it, or choose another directory."
                ) from None
            time.sleep(0.05)
        else:
            return


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
