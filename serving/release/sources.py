"""What is followed: the store's current release, the registry's alias, or one release."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from features.errors import FootfallError, ReleaseError
from features.files import read_json, write_json
from features.release import ReleaseStore
from features.release.digests import KnownDigests, Signature, signature_of
from serving.release.board import Content, Plan, Refusal
from serving.release.hold import HoldFile

_log = logging.getLogger(__name__)
SERVED_FILE = "served.json"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What should be served.

    Args:
        name: a release's id.
        digest: of its manifest, which changes when one of its parts is replaced.
        followed: what is promoted, whether or not an operator asked for another.
        asked: number of the operator's request that wants it, 0 where nobody asked.
        compare: whether it has to answer as well as what serves.
        overtaken: number of an operator's request that gave way to what was promoted, 0 where none did just now.
    """

    name: str
    digest: str
    followed: str = ""
    asked: int = 0
    compare: bool = True
    overtaken: int = 0


class Source(Protocol):
    """Says what a topic should serve."""

    def wanted(self) -> Wanted:
        """Return what should be served now; raises ``FootfallError`` where it cannot be told."""

    def also(self, names: Iterable[str]) -> tuple[Wanted, ...]:
        """Return what should be held beside it, given what the workers ask for."""

    def is_stale(self, content: Content) -> bool:
        """Return whether a content that is held is no longer what its name says."""

    def verify(self, wanted: Wanted) -> None:
        """Raise ``FootfallError`` where it cannot be served."""

    def swapped(self, plan: Plan) -> None:
        """Note what serves from now on."""

    def refused(self, refusal: Refusal) -> None:
        """Note that something will not be served."""


class ReleaseSource:
    """Releases of a store.

    Args:
        store: where they are.
        pointer: returns the id that is followed; raises ``ReleaseError``.
        hold: what an operator asked for in its place.
        digests: file where workers read what was checked.
        also: ids to hold beside, whatever the workers ask for.
        max_also: how many are held beside at most.
    """

    def __init__(
        self,
        store: ReleaseStore,
        *,
        pointer: Callable[[], str],
        hold: HoldFile,
        digests: Path,
        also: Sequence[str] = (),
        max_also: int = 2,
    ) -> None:
        self._store, self._pointer, self._hold = store, pointer, hold
        self._digests, self._digests_file = KnownDigests(), Path(digests)
        self._also, self._max_also = tuple(also), max_also
        self._contents: dict[str, tuple[Signature, str]] = {}

    def wanted(self) -> Wanted:
        """Return the release that is held, else the one that is followed.

        Raises:
            ReleaseError: what names it is missing or damaged.
        """
        followed, hold, overtaken = self._pointer(), self._hold.read(), 0
        if hold is not None and hold.release_id and hold.instead_of != followed:
            _log.info("release %s is followed now: %s is held no longer", followed, hold.release_id)
            self._hold.clear()
            overtaken, hold = hold.asked, None
        chosen, asked = ("", 0) if hold is None else (hold.release_id, hold.asked)
        name = chosen or followed
        return Wanted(
            name=name,
            digest=self._content_of(name),
            followed=followed,
            asked=asked,
            compare=not chosen,
            overtaken=overtaken,
        )

    def first_wanted(self) -> Wanted:
        """Return what to start with: what is followed where what is held cannot be read.

        Raises:
            ReleaseError: what names it is missing or damaged.
        """
        try:
            self._hold.read()
        except ReleaseError as error:
            _log.error("%s", error)
            followed = self._pointer()
            return Wanted(name=followed, digest=self._content_of(followed), followed=followed)
        return self.wanted()

    def also(self, names: Iterable[str]) -> tuple[Wanted, ...]:
        """Return the releases to hold beside, the first of ``names`` among them; those that the store lacks are left out."""
        found: list[Wanted] = []
        for name in list(dict.fromkeys([*self._also, *names]))[: self._max_also]:
            with contextlib.suppress(ReleaseError):
                found.append(Wanted(name=name, digest=self._content_of(name)))
        return tuple(found)

    def is_stale(self, content: Content) -> bool:
        """Return whether a part of a release was rewritten since, as it is to forget somebody."""
        try:
            return self._content_of(content.name) != content.digest
        except ReleaseError:
            return True

    def verify(self, wanted: Wanted) -> None:
        """Read every file of a release and check it.

        Raises:
            ReleaseError: one is missing or damaged, or there is no retrieval part; the message names it.
        """
        release = ReleaseStore(root=self._store.root, digest_of=self._digests.fresh).open(wanted.name)
        if release.part("retrieval") is None:
            raise ReleaseError(
                f"Release {release.release_id}: expected a retrieval part, found {sorted(release.parts)}; "
                "train one and promote again."
            )
        self._digests.save(self._digests_file)

    def swapped(self, plan: Plan) -> None:
        """Write down what serves and what did before, for a start after this one."""
        with contextlib.suppress(OSError):  # the store may be read-only
            write_json(self._served_path, {"release_id": plan.serving.name, "back_to": plan.back_to})

    def refused(self, refusal: Refusal) -> None:
        """Forget the operator's request where that was refused."""
        with contextlib.suppress(ReleaseError):
            hold = self._hold.read()
            if hold is not None and hold.asked == refusal.asked:
                self._hold.clear()

    def last_good(self) -> Wanted | None:
        """Return what served last, or before that, as an earlier start wrote it down; ``None`` where neither is sound."""
        try:
            row = read_json(self._served_path)
            names = [str(row["release_id"]), str(row["back_to"])]
        except (FootfallError, OSError, KeyError, TypeError):
            return None
        for name in filter(None, names):
            with contextlib.suppress(ReleaseError):
                wanted = Wanted(name=name, digest=self._content_of(name), followed=name)
                self.verify(wanted)
                return wanted
        return None

    def served_before(self, now: str) -> str:
        """Return what to go back to from a release, as an earlier start wrote it down; empty where unknown."""
        try:
            row = read_json(self._served_path)
            found = str(row["back_to"] if row["release_id"] == now else row["release_id"])
        except (FootfallError, OSError, KeyError, TypeError):
            return ""
        return found if found in self._store.release_ids() else ""

    @property
    def _served_path(self) -> Path:
        return Path(self._store.root) / SERVED_FILE

    def _content_of(self, release_id: str) -> str:
        """Return the digest of a release's manifest, read again where the file has changed."""
        path = self._store.manifest_path(release_id)
        try:
            signature = signature_of(path)
        except OSError:
            return self._store.content_of(release_id)  # says what is missing
        if self._contents.get(release_id, (None, ""))[0] != signature:
            self._contents[release_id] = signature, self._store.content_of(release_id)
        return self._contents[release_id][1]


def current_of(store: ReleaseStore) -> str:
    """Return the id of the store's current release.

    Raises:
        ReleaseError: there is none, or the file that names it is damaged.
    """
    found = store.current_id
    if found is None:
        raise ReleaseError(
            f"{Path(store.root)}: expected a release to serve, found none; run `footfall promote` first."
        )
    return found


class AliasFile:
    """What the child process that asks the registry wrote last.

    Args:
        path: JSON with ``release_id`` or ``error``.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)

    def __call__(self) -> str:
        """Return the release that the alias marks.

        Raises:
            ReleaseError: the registry does not answer, or knows no such alias.
        """
        row = _read(self._path)
        if "release_id" not in row:
            raise ReleaseError(row.get("error", f"{self._path}: expected what the alias marks, found nothing yet."))
        return row["release_id"]

    def wait(self, seconds: float) -> str:
        """Return what ``__call__`` returns, waiting for the first answer.

        Raises:
            ReleaseError: as ``__call__``.
        """
        deadline = time.monotonic() + seconds
        while not self._path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self()


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}
