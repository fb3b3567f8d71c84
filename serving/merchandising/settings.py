"""Where the rules are, and how deep surfaces rank for them."""

from __future__ import annotations

import math

import msgspec

from features.errors import ConfigError


class RulesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merchandising rules.

    Args:
        path: YAML file of rules, read again when it changes; none are in force where empty.
        pool: items that a surface ranks where a rule reorders them; at least twice the list asked for in any case.
        activation_seconds: a changed file takes effect so long after it was changed, in all workers at one instant;
            longer than it takes every worker to notice and read it.
    """

    path: str = ""
    pool: int = 200
    activation_seconds: float = 3.0

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ConfigError(f"rules.pool: expected 1 or more, found {self.pool}.")
        if not 0 <= self.activation_seconds < math.inf:
            raise ConfigError(
                f"rules.activation_seconds: expected 0 or more, found {self.activation_seconds}; 3 suits most shops."
            )
