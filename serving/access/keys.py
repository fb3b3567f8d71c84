"""Keys: made and shown once, kept as digests, revoked by name.

A key is ``footfall_ID_SECRET``. The secret is 256 random bits, so its SHA-256 gives nothing away and cannot be
searched: what makes passwords need a slow digest is that people choose them.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from features.errors import ConfigError, did_you_mean
from features.files import write_bytes
from serving.access.rates import MAX_KEYS
from serving.access.settings import Rate
from serving.api.roles import Role

_PREFIX: Final = "footfall"
_OWNER_ONLY: Final = 0o600
_FORMAT: Final = 1


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key as it is kept.

    Args:
        id: public half, which finds the row.
        number: of its bucket; never given again.
        name: for people and for the log.
        role: what it may do.
        sha256: hex digest of the whole key.
        created_at: when it was made.
        revoked_at: from when on it opens nothing.
        rate: of its own; its role's where ``None``.
        origins: sites whose pages may use it; any where empty.
    """

    id: str
    number: Annotated[int, Meta(ge=1)]
    name: str
    role: Role
    sha256: str
    created_at: dt.datetime
    revoked_at: dt.datetime | None = None
    rate: Rate | None = None
    origins: tuple[str, ...] = ()

    def opens(self, key: str) -> bool:
        """Return whether this is the key, in a time that says nothing about how much of it fits."""
        return self.revoked_at is None and hmac.compare_digest(self.sha256, digest_of(key))


class _Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    keys: tuple[ApiKey, ...]


class AddedKey(NamedTuple):
    """A new key: ``secret`` is what callers send, and is kept nowhere."""

    key: ApiKey
    secret: str


class KeyFile:
    """The file of keys, readable by its owner alone.

    Args:
        path: JSON; made by the first ``add``.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def load(self) -> tuple[ApiKey, ...]:
        """Read all keys, revoked ones too; none where there is no file.

        Raises:
            ConfigError: the file does not hold keys.
        """
        try:
            content = msgspec.json.decode(self.path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return ()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self.path}: expected keys as `footfall keys add` writes them ({error}); restore the file, or "
                "remove it and make new keys."
            ) from None
        if content.format != _FORMAT:
            raise ConfigError(f"{self.path}: expected format {_FORMAT}, found {content.format}; update Footfall.")
        return content.keys

    def add(self, *, name: str, role: Role, rate: Rate | None = None, origins: tuple[str, ...] = ()) -> AddedKey:
        """Make a key; durable when this returns, and every worker knows it by its next request.

        Raises:
            ConfigError: a key of this name is in use.
        """
        with self._locked():
            held = self.load()
            if any(one.name == name and one.revoked_at is None for one in held):
                raise ConfigError(f"name: {name!r} is the name of a key in use; choose another, or revoke that first.")
            number = 1 + max((one.number for one in held), default=0)
            if number >= MAX_KEYS:
                raise ConfigError(f"{self.path}: expected fewer than {MAX_KEYS} keys ever made, found {number}.")
            key_id = secrets.token_hex(4)
            secret = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
            made = ApiKey(
                id=key_id,
                number=number,
                name=name,
                role=role,
                sha256=digest_of(secret),
                created_at=_now(),
                rate=rate,
                origins=origins,
            )
            self._write((*held, made))
        return AddedKey(made, secret)

    def revoke(self, name: str) -> int:
        """Let the keys of a name, or of an id, open nothing from now on; return how many there were.

        Raises:
            ConfigError: there is none.
        """
        with self._locked():
            held = self.load()
            gone = {one.id for one in held if name in (one.name, one.id) and one.revoked_at is None}
            if not gone:
                known = [one.name for one in held if one.revoked_at is None]
                raise ConfigError(f"name: no key in use is called {name!r}.{did_you_mean(name, known)}")
            now = _now()
            self._write(
                tuple(msgspec.structs.replace(one, revoked_at=now) if one.id in gone else one for one in held)
            )  # fmt: skip
        return len(gone)

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_Content(format=_FORMAT, keys=keys)), indent=2)
        write_bytes(self.path, content + b"\n", mode=_OWNER_ONLY)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            yield


def digest_of(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def id_of(key: str) -> str | None:
    """Return the public half of a key; ``None`` where it is none of ours."""
    prefix, _, rest = key.partition("_")
    key_id, found, _ = rest.partition("_")
    return key_id if prefix == _PREFIX and found else None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
