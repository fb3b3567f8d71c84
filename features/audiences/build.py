"""Every audience of a shop at an instant: who is in it, since when, until when.

audience     user_id  since       until
newcomers    ann      2024-05-02  2024-06-01
carts_left   ann      2024-05-30  2024-06-12
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.audiences.members import LIBRARY
from features.rules.conditions import Rule
from features.rules.library import read_rules
from features.rules.parse import Columns
from features.rules.place import Place, mapping, read_yaml
from features.rules.session import RuleSession, instants
from features.settings import ShopSettings

AUDIENCE_COLUMNS: Final = ("audience", c.USER_ID, "since", "until")
_SECTION: Final = "audiences"
_PARAMETER: Final = re.compile(r"\$(\w+)")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AudienceRules:
    """The audiences of a shop.

    Args:
        rules: those that say whom they mean.
        open: title and description of those that ask for a parameter first, with the parameters' names.
    """

    rules: tuple[Rule, ...]
    open: Mapping[str, Mapping[str, Any]]


def audience_rules(shop: ShopSettings, columns: Columns | None, *, own: Path | None = None) -> AudienceRules:
    """Return a shop's audiences, or the ready ones where it has no file of its own.

    Args:
        shop: its currency.
        columns: of the customer table at hand; a ready audience that names another is left out.
        own: a YAML file with ``audiences``; one there that names another column is an error.

    Raises:
        ConfigError: the file is not as it should be.
    """
    path = LIBRARY if own is None else own
    listed = mapping(mapping(read_yaml(path), Place(file=str(path))).get(_SECTION, {}), Place(file=str(path)))
    asks = {str(name): sorted(set(_parameters(rule))) for name, rule in listed.items()}
    names = [name for name, parameters in asks.items() if not parameters]
    rules: tuple[Rule, ...] = ()
    if names:
        rules = read_rules(
            path, _SECTION, minor_units=shop.minor_units, columns=columns, names=names, optional_columns=own is None
        )
    texts = {
        name: {"title": listed[name].get("title", ""), "description": listed[name].get("description", "")}
        | {"parameters": parameters}
        for name, parameters in asks.items()
        if parameters
    }
    return AudienceRules(rules=rules, open=texts)


def build_audiences(session: RuleSession, rules: Sequence[Rule]) -> pd.DataFrame:
    """Return all members of all audiences as of the session's instant.

    Args:
        session: of the purpose ``personalisation``, where members are written to.
        rules: from ``audience_rules``.

    Returns:
        AUDIENCE_COLUMNS, sorted by audience and user. since and until are UTC; until is missing where nothing tells.
    """
    parts = []
    for rule in rules:
        held = session.compiler.holding(rule.when).to_native().df()
        parts.append(
            pd.DataFrame(
                {
                    "audience": rule.name,
                    c.USER_ID: held[c.USER_ID],
                    "since": instants(held["start_us"]),
                    "until": instants(held["end_us"]),
                }
            )
        )
        logger.info("audiences: %s has %d members", rule.name, len(held))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({name: [] for name in AUDIENCE_COLUMNS})
    return frame.sort_values(["audience", c.USER_ID], ignore_index=True)


def _parameters(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        if found := _PARAMETER.fullmatch(values):
            yield found[1]
        return
    parts = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    for part in parts:
        yield from _parameters(part)
