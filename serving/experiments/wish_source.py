"""The files of wishes as a topic that all workers follow, so that a change takes effect in all of them at one instant.

The supervisor looks at the files, copies what they hold beside the board when one has changed, checks the copy, and has
the workers read that copy: what was found sound once serves on, whatever becomes of the files.

    board/wishes/3fa9c1d2/shop/merchandising.yaml      a copy of /shop/merchandising.yaml
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from features.errors import ConfigError
from features.files import write_bytes
from features.release.digests import Signature, signature_of
from serving.experiments.wishes import WishList
from serving.release.board import Content, Plan, Refusal
from serving.release.sources import Wanted

TOPIC: Final = "wishes"


class WishFiles:
    """The files, and their copies.

    Args:
        rules: file of rules, ``None`` where there is none.
        experiments: file of experiments, ``None`` where there is none.
        copies: directory of copies.
    """

    def __init__(self, *, rules: Path | None, experiments: Path | None, copies: Path) -> None:
        self.rules, self.experiments, self.copies = rules, experiments, copies

    def digest(self) -> str:
        """Return 12 hex digits over all files, after their copy was made.

        Raises:
            ConfigError: a file cannot be read.
        """
        content = {path: _content(path) for path in self.paths()}
        digest = hashlib.sha256(b"".join(bytes(path) + b"\0" + text + b"\0" for path, text in content.items()))
        found = digest.hexdigest()[:12]
        for path, text in content.items():
            copy = self._copy_of(path, found)
            if not copy.exists():  # a worker may be reading it
                write_bytes(copy, text)
        return found

    def paths(self) -> list[Path]:
        """Return the files, and those of rules that experiments name."""
        found = [path for path in (self.rules, self.experiments) if path is not None]
        if self.experiments is not None:
            beside = self.experiments.parent
            found += [path for name in _named(self.experiments) if (path := beside / name) not in found]
        return found

    def read(self, digest: str) -> WishList:
        """Read a copy; errors name the file that it was made of.

        Raises:
            ConfigError: something in it is not as it should be.
        """
        rules, experiments = (
            None if path is None else self._copy_of(path, digest) for path in (self.rules, self.experiments)
        )
        try:
            return WishList.read(rules, experiments)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(self.copies / digest), "")) from None

    def _copy_of(self, path: Path, digest: str) -> Path:
        return self.copies / digest / path.resolve().relative_to(path.resolve().anchor)


class WishSource:
    """Says which version of the wishes should be served.

    Args:
        files: where they are written.
    """

    def __init__(self, files: WishFiles) -> None:
        self._files = files
        self._seen: tuple[tuple[Path, Signature], ...] = ()
        self._digest = ""

    def wanted(self) -> Wanted:
        """Return the version that the files hold; they are read again only where one has changed.

        Raises:
            ConfigError: one cannot be read.
        """
        seen = _signatures(self._files.paths() if not self._seen else [path for path, _ in self._seen])
        if not self._digest or seen != self._seen:
            paths = self._files.paths()
            before = _signatures(paths)  # first: what is written while the files are read is read the next time
            self._digest = self._files.digest()
            self._seen = before if self._files.paths() == paths else ()
        return Wanted(name=self._digest, digest=self._digest, followed=self._digest)

    def also(self, names: Iterable[str]) -> tuple[Wanted, ...]:  # noqa: ARG002 - as the protocol has it
        """Return nothing: one version is held."""
        return ()

    def is_stale(self, _: Content) -> bool:
        """Return whether what is held is another by now: copies stay as they are."""
        return False

    def verify(self, wanted: Wanted) -> None:
        """Read a version.

        Raises:
            ConfigError: something in it is not as it should be.
        """
        self._files.read(wanted.digest)

    def swapped(self, plan: Plan) -> None:
        """Remove copies that nobody needs any more."""
        kept = {one.digest for one in plan.contents} | {self._digest}
        for copy in self._files.copies.iterdir():
            if copy.name not in kept:
                shutil.rmtree(copy, ignore_errors=True)

    def refused(self, refusal: Refusal) -> None:
        """Do nothing: the plan tells of it."""


def _signatures(paths: Iterable[Path]) -> tuple[tuple[Path, Signature], ...]:
    found = []
    for path in paths:
        try:
            found.append((path, signature_of(path)))
        except OSError:
            raise ConfigError(
                f"{path}: expected a file here, found none; put it back, or take it out of the settings."
            ) from None
    return tuple(found)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None


def _named(path: Path) -> list[str]:
    """Return the files of rules that a file of experiments names, as far as it can be read."""
    with contextlib.suppress(OSError, yaml.YAMLError, AttributeError, UnicodeDecodeError):
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        tests = (content.get("experiments") or {}).values()
        variants = [one or {} for test in tests for one in (test.get("variants") or {}).values()]
        return list(dict.fromkeys(one["rules"] for one in variants if isinstance(one.get("rules"), str)))
    return []
