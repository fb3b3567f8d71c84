"""Where the rules are, and how deep surfaces rank for them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from features.errors import ConfigError


class RulesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merchandising rules.

    Args:
        path: YAML file of rules, read again when it changes; none are in force where empty.
        pool: items that a surface ranks where a rule reorders them; at least twice the list asked for in any case.
    """

    path: str = ""
    pool: int = 200

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ConfigError(f"rules.pool: expected 1 or more, found {self.pool}.")

    def resolved(self) -> RulesSettings:
        """Return the settings with the file named outright, for workers that start elsewhere."""
        return msgspec.structs.replace(self, path=str(Path(self.path).resolve())) if self.path else self
