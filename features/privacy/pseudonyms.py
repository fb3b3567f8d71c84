"""Names that stand for ids in what leaves: keyed digests (HMAC-SHA-256) that only a holder of the key can lead back.

    k2:9f86d081884c7d659a2feaa0c55ad015     key 2, then 32 hex digits

Each recipient, or use, is a scope of its own: the same customer has another name in each, so that two recipients
cannot join what they were given. A new key renames everyone from then on; names under old keys lead back as long as
the ring keeps those keys.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from features.errors import ConfigError, UnknownId
from features.files import write_bytes

KEY_VARIABLE: Final = "FOOTFALL_PSEUDONYM_KEY"
_KEY_BYTES: Final = 32
_LEAST_KEY_BYTES: Final = 16
_OWNER_ONLY: Final = 0o600
_KEY: Final = re.compile(r"(?:k(?P<number>\d+)[:\s]\s*)?(?P<hex>(?:[0-9a-fA-F]{2})+)")
_PSEUDONYM: Final = re.compile(r"k(?P<number>\d+):[0-9a-f]{32}")
_NOT_KEPT: Final = 0  # the number of a key that nobody keeps


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Names under one key and scope.

    Args:
        key: secret of at least 16 bytes.
        number: of the key; 0 for one that is not kept.
        scope: recipient or use.
        digits: hex digits of a name; 32 make two customers of one name as good as impossible.
    """

    key: bytes = field(repr=False)
    number: int
    scope: str
    digits: int = 32

    def __post_init__(self) -> None:
        if len(self.key) < _LEAST_KEY_BYTES:
            raise ConfigError(
                f"pseudonyms: expected a key of {_LEAST_KEY_BYTES} bytes or more, found {len(self.key)}; "
                "`footfall data key FILE` makes one."
            )

    @classmethod
    def one_time(cls, *, scope: str, digits: int = 32) -> Pseudonyms:
        """Return names under a random key that is written nowhere: no name leads back to an id, for anyone."""
        return cls(key=secrets.token_bytes(_KEY_BYTES), number=_NOT_KEPT, scope=scope, digits=digits)

    def of(self, id_: str) -> str:
        """Return the name of an id."""
        own = hmac.new(self.key, f"footfall pseudonym\n{self.scope}".encode(), hashlib.sha256).digest()
        return f"k{self.number}:{hmac.new(own, id_.encode(), hashlib.sha256).hexdigest()[: self.digits]}"


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """A shop's keys by number; the highest names, the others only lead back.

    Args:
        keys: secrets by number, from 1.
    """

    keys: Mapping[int, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.keys or min(self.keys) < 1:
            raise ConfigError("pseudonyms: expected keys numbered from 1, found none or another number.")

    @property
    def newest(self) -> int:
        """Number of the key that names."""
        return max(self.keys)

    def pseudonyms(self, scope: str, *, number: int | None = None) -> Pseudonyms:
        """Return the names of a scope under the newest key, or under an older one.

        Raises:
            ConfigError: the scope is blank, or the ring does not hold the key.
        """
        chosen = self.newest if number is None else number
        if not scope:
            raise ConfigError("pseudonyms: expected the recipient or use that they are for, found none.")
        if chosen not in self.keys:
            raise ConfigError(f"pseudonyms: expected one of the keys {_listed(self.keys)}, found k{chosen}.")
        return Pseudonyms(key=self.keys[chosen], number=chosen, scope=scope)

    def holder(self, pseudonym: str, ids: Iterable[str], *, scope: str) -> str:
        """Return the id that a pseudonym stands for, out of ids that the holder of the keys knows.

        Raises:
            ConfigError: it is no pseudonym, or the ring does not hold its key.
            UnknownId: it stands for none of the ids in this scope.
        """
        found = _PSEUDONYM.fullmatch(pseudonym)
        if found is None:
            raise ConfigError(f"expected a pseudonym such as k2: and 32 hex digits, found {pseudonym!r}.")
        names = self.pseudonyms(scope, number=int(found["number"]))
        for id_ in ids:
            if names.of(id_) == pseudonym:
                return id_
        raise UnknownId(
            f"{pseudonym}: expected the name of a known id in scope {scope!r}, found none; check the scope."
        )

    @classmethod
    def load(cls, path: Path | None = None) -> KeyRing:
        """Read a key file, or without one the environment variable ``FOOTFALL_PSEUDONYM_KEY``.

        The file holds a line ``k1 HEX`` a key; the variable the same, separated by commas, or one key in hex alone.

        Raises:
            ConfigError: there is neither, one does not read, or others than the owner may read the file.
        """
        if path is not None:
            return cls._from_file(Path(path))
        text = os.environ.get(KEY_VARIABLE, "")
        if not text.strip():
            raise ConfigError(
                f"pseudonyms: expected a key file or the variable {KEY_VARIABLE}, found neither; "
                "`footfall data key FILE` makes a key."
            )
        return cls(keys=_parsed(text.split(","), where=KEY_VARIABLE))

    @classmethod
    def create(cls, path: Path) -> KeyRing:
        """Write a key file with a first key, readable by its owner alone.

        Raises:
            ConfigError: there is a file already.
        """
        if Path(path).exists():
            raise ConfigError(f"{path}: expected no file, found one; `--rotate true` adds a key to it.")
        return cls(keys={1: secrets.token_bytes(_KEY_BYTES)})._written(Path(path))

    @classmethod
    def rotate(cls, path: Path) -> KeyRing:
        """Add a key to a key file; what is named from now on is named by it.

        Raises:
            ConfigError: as for ``load``.
        """
        ring = cls._from_file(Path(path))
        return cls(keys={**ring.keys, ring.newest + 1: secrets.token_bytes(_KEY_BYTES)})._written(Path(path))

    def _written(self, path: Path) -> KeyRing:
        lines = [f"k{number} {key.hex()}\n" for number, key in sorted(self.keys.items())]
        write_bytes(path, "".join(lines).encode(), mode=_OWNER_ONLY)
        return self

    @classmethod
    def _from_file(cls, path: Path) -> KeyRing:
        if not path.is_file():
            raise ConfigError(f"{path}: expected a key file, found none; `footfall data key {path}` makes one.")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{path}: expected a file for its owner alone (0600), found {mode:04o}; chmod 600 it.")
        return cls(keys=_parsed(path.read_text(encoding="utf-8").splitlines(), where=str(path)))


def _parsed(rows: Iterable[str], *, where: str) -> dict[int, bytes]:
    keys: dict[int, bytes] = {}
    for row in filter(None, map(str.strip, rows)):
        found = _KEY.fullmatch(row)
        number = int(found["number"] or 1) if found else 0
        if found is None or number in keys or len(found["hex"]) < 2 * _LEAST_KEY_BYTES:
            raise ConfigError(
                f"{where}: expected keys such as `k1 ` and {2 * _LEAST_KEY_BYTES} hex digits or more, each number once; "
                f"found one that is not, after {_listed(keys) or 'none'}."
            )
        keys[number] = bytes.fromhex(found["hex"])
    return keys


def _listed(keys: Iterable[int]) -> str:
    return ", ".join(f"k{number}" for number in sorted(keys))
