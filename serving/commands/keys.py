"""``footfall keys``: make, list and revoke the keys that callers of the service show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.commands.parsing import Command, run_subcommand
from serving.api.roles import Role

if TYPE_CHECKING:
    from serving.access.keys import KeyFile


def add(
    store: Path,
    *,
    role: Role,
    name: str,
    per_second: float = 0.0,
    burst: int = 50,
    origins: tuple[str, ...] = (),
    keys: Path | None = None,
) -> dict[str, Any]:
    """Make a key and print it, once; running services know it at once.

    Args:
        store: release store; its first key makes the service ask every caller for one.
        role: app (recommend, events, consents, lookups), analyst (reads), admin (everything), or tracker (events from
            browsers, public).
        name: what the key is for, such as shop-app; it stands in the log.
        per_second: requests of this key, instead of its role's; 0 for its role's.
        burst: of these, how many may come at once.
        origins: sites whose pages may use it, such as [https://www.shop.example]; for role tracker.
        keys: file of keys; api_keys.json inside the store where left out.
    """
    from features.errors import ConfigError
    from serving.access.settings import CorsSettings, Rate

    if not name.strip() or len(name) > 64:
        raise ConfigError(f"name: expected 1 to 64 characters, found {len(name)}.")
    CorsSettings(origins=origins)
    rate = Rate(per_second=per_second, burst=burst) if per_second else None
    made = _file(store, keys).add(name=name, role=role, rate=rate, origins=origins)
    return {"name": made.key.name, "role": role, "id": made.key.id, "key": made.secret, "note": "shown this once"}


def list_keys(store: Path, *, keys: Path | None = None) -> dict[str, Any]:
    """List all keys ever made, without what opens anything.

    Args:
        store: release store.
        keys: file of keys; api_keys.json inside the store where left out.
    """
    rows = [
        {
            "name": one.name,
            "role": one.role,
            "id": one.id,
            "created_at": one.created_at.isoformat(),
            "revoked_at": None if one.revoked_at is None else one.revoked_at.isoformat(),
            "per_second": None if one.rate is None else one.rate.per_second,
            "origins": list(one.origins),
        }
        for one in _file(store, keys).load()
    ]
    return {"keys": rows}


def revoke(store: Path, *, name: str, keys: Path | None = None) -> dict[str, Any]:
    """Let a key open nothing from the next request on.

    Args:
        store: release store.
        name: name or id of the key.
        keys: file of keys; api_keys.json inside the store where left out.
    """
    return {"revoked": _file(store, keys).revoke(name), "name": name}


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall keys``."""
    subcommands: dict[str, Command] = {"add": add, "list": list_keys, "revoke": revoke}
    return run_subcommand(subcommands, argv, prog="footfall keys")


def _file(store: Path, keys: Path | None) -> KeyFile:
    from features.errors import ConfigError
    from serving.access.keys import KeyFile
    from serving.process.settings import KEYS_FILE

    if keys is None and not store.is_dir():
        raise ConfigError(f"{store}: expected a release store, found no directory; promote a release first.")
    return KeyFile(store / KEYS_FILE if keys is None else keys)
