"""Who carries which tag, since when, until when, and why.

user_id  tag        since       until       evidence                                   version  source
ann      cart_left  2024-05-02  2024-05-15  [{"what": "cart not followed by ...", ..}]  3fa0...  rule
ann      vip        2024-05-31              [{"value": "gold"}]                                  users.tag_vip
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.customers.table import CustomerTable
from features.rules.conditions import Rule, columns_of
from features.rules.library import LIBRARY_FILE, read_rules
from features.rules.parse import Columns
from features.rules.session import RuleSession, instants
from features.rules.spells import FOREVER
from features.settings import ShopSettings

TAG_COLUMNS: Final = (c.USER_ID, "tag", "since", "until", "evidence", "version", "source")
OUTSIDE_PREFIX: Final = "tag_"
LIBRARY: Final = Path(__file__).parent / LIBRARY_FILE
logger = logging.getLogger(__name__)


def tag_rules(shop: ShopSettings, columns: Columns | None, *, own: Path | None = None) -> tuple[Rule, ...]:
    """Return the ready tags and a shop's own, which replace ready ones of the same name.

    Args:
        shop: its currency.
        columns: of the customer table at hand; a ready tag that names another is left out.
        own: a YAML file with ``tags``; a tag there that names another column is an error.

    Raises:
        ConfigError: a file is not as it should be.
    """
    ready = read_rules(LIBRARY, "tags", minor_units=shop.minor_units, columns=columns, optional_columns=True)
    theirs = () if own is None else read_rules(own, "tags", minor_units=shop.minor_units, columns=columns)
    names = {rule.name for rule in theirs}
    return (*(rule for rule in ready if rule.name not in names), *theirs)


def build_tags(
    session: RuleSession, rules: Sequence[Rule], customers: CustomerTable, *, previous: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return every tag of every customer as of the session's instant.

    What rests on the customer table alone is known to hold as of that instant only. With the tags of the day before,
    a tag that was held then, by the same rule, keeps its earlier ``since``.

    Args:
        session: the log and the customer table.
        rules: from ``tag_rules``.
        customers: of the session; its ``tag_*`` columns are tags from outside.
        previous: what this function returned for an earlier instant.

    Returns:
        TAG_COLUMNS, sorted by user and tag. since and until are UTC; until is missing where nothing tells when the
        tag lapses without further events. evidence is JSON.
    """
    parts = [_of_rule(session, rule) for rule in rules]
    parts += [
        _outside(customers, name, session.as_of_us) for name in customers.frame if str(name).startswith(OUTSIDE_PREFIX)
    ]
    tags = pd.concat([part for part in parts if len(part)] or [_frame({})], ignore_index=True)
    tags = tags.sort_values([c.USER_ID, "tag", "source"], ignore_index=True)
    tags = tags if previous is None else _carried(tags, previous, rules)
    logger.info(
        "tags: %d of %d customers carry %d tags by %d rules",
        *(tags[c.USER_ID].nunique(), len(customers), len(tags), len(rules)),
    )
    return tags


def _of_rule(session: RuleSession, rule: Rule) -> pd.DataFrame:
    held = session.holders(rule)
    return _frame(
        {
            c.USER_ID: held[c.USER_ID],
            "tag": rule.name,
            "since": instants(held["start_us"]),
            "until": instants(held["end_us"]),
            "evidence": held["evidence"],
            "version": rule.version,
            "source": "rule",
        }
    )


def _outside(customers: CustomerTable, name: Any, as_of_us: int) -> pd.DataFrame:
    """A tag of the users table: its value is its evidence, and its name says where it came from."""
    said = customers.frame.loc[customers.frame[name].notna(), [c.USER_ID, name]]
    since = pd.Series(as_of_us, index=said.index, dtype="int64")
    return _frame(
        {
            c.USER_ID: said[c.USER_ID],
            "tag": str(name).removeprefix(OUTSIDE_PREFIX),
            "since": instants(since),
            "until": instants(since * 0 + FOREVER),
            "evidence": [json.dumps([{"value": str(value)}], ensure_ascii=False) for value in said[name]],
            "version": "",
            "source": f"users.{name}",
        }
    )


def _carried(tags: pd.DataFrame, previous: pd.DataFrame, rules: Sequence[Rule]) -> pd.DataFrame:
    """Keep the earlier ``since`` of what rests on columns and was held before, by the same version."""
    on = [c.USER_ID, "tag", "version", "source"]
    by_column = {rule.name for rule in rules if columns_of(rule.when)}
    before = previous[[*on, "since"]].rename(columns={"since": "held_since"})
    joined = tags.merge(before, on=on, how="left")
    carried = joined["tag"].isin(by_column) | (joined["source"] != "rule")
    since = joined["since"].where(~(carried & (joined["held_since"] < joined["since"])), joined["held_since"])
    return tags.assign(since=since.to_numpy())


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: columns.get(name, []) for name in TAG_COLUMNS})
