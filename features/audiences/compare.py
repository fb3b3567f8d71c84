"""What sets two audiences apart: tags, segments, categories and brands that one has more of, by lift.

    bought tea    42% of a, 14% of b    lift 3.0 (2.4 .. 3.8)

Customers in both are left out. Many attributes are compared at once, so each comes with its false discovery rate.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.engine import sql_name, sql_text
from features.errors import DataError
from features.rules.conditions import DAY_US
from features.rules.session import RuleSession
from features.tags.lifts import false_discovery_rates, ratio_of_rates

_MOST_VALUES: Final = 100  # a column with more is no segment
logger = logging.getLogger(__name__)


def attributes(session: RuleSession, *, tags: pd.DataFrame | None = None, within_days: float = 90.0) -> pd.DataFrame:
    """Return what is said of customers: one row a customer and attribute.

    Args:
        session: the log and customer table.
        tags: from ``build_tags``, if they are to be compared.
        within_days: how far back categories and brands are looked at.

    Returns:
        user_id, kind (``tag``, a column's name, ``category viewed``, ``category bought``, ``brand bought``), value.
    """
    since = session.as_of_us - round(within_days * DAY_US)
    top = "regexp_replace(category, '/.*', '')"
    parts = [
        f"SELECT DISTINCT user_id, {sql_text(kind)} AS kind, {value} AS value FROM rule_rows "
        f"WHERE event_type = '{event_type}' AND at_us > {since} AND {value} IS NOT NULL"
        for kind, value, event_type in (
            ("category viewed", top, c.VIEW),
            ("category bought", top, c.PURCHASE),
            ("brand bought", c.BRAND, c.PURCHASE),
        )
    ]
    for name in _segments(session):
        column = sql_name(name)
        parts.append(
            f"SELECT user_id, {sql_text(name)} AS kind, {column} AS value FROM rule_customers WHERE {column} IS NOT NULL"
        )
    found = session.connection.sql(" UNION ALL ".join(parts)).df()
    if tags is None:
        return found
    tagged = pd.DataFrame({c.USER_ID: tags[c.USER_ID], "kind": "tag", "value": tags["tag"]})
    return pd.concat([found, tagged], ignore_index=True)


def compare(
    a: Sequence[str] | pd.Series, b: Sequence[str] | pd.Series, said: pd.DataFrame, *, minimum_group: int
) -> pd.DataFrame:
    """Return what one audience has more of than the other.

    Args:
        a, b: the members' ids; those in both are left out.
        said: from ``attributes``.
        minimum_group: attributes that fewer customers of both together have are left out.

    Returns:
        kind, value, count_a, count_b, share_a, share_b, lift (share_a over share_b), low, high (95%), p, q; the surest
        first.

    Raises:
        DataError: nobody is left in one of the two.
    """
    only_a, only_b = pd.Index(a).difference(pd.Index(b)), pd.Index(b).difference(pd.Index(a))
    if not len(only_a) or not len(only_b):
        raise DataError(
            f"compare: expected customers in each audience that are not in the other, found {len(only_a)} and "
            f"{len(only_b)}; choose others."
        )
    counts = pd.DataFrame(
        {
            side: said[said[c.USER_ID].isin(ids)].groupby(["kind", "value"])[c.USER_ID].nunique()
            for side, ids in (("count_a", only_a), ("count_b", only_b))
        }
    )
    counts = counts.fillna(0).astype("int64").reset_index()
    counts = counts[counts["count_a"] + counts["count_b"] >= minimum_group]
    rows = [_row(row, len(only_a), len(only_b)) for row in counts.to_dict("records")]
    table = pd.DataFrame(rows, columns=list(_row({"kind": "", "value": "", "count_a": 0, "count_b": 0}, 1, 1)))
    table["q"] = false_discovery_rates(table["p"].to_numpy(float)) if len(table) else []
    logger.info("compared %d and %d customers by %d attributes", len(only_a), len(only_b), len(table))
    return table.sort_values(["p", "kind", "value"], ignore_index=True)


def _row(row: Mapping[Any, Any], num_a: int, num_b: int) -> dict[str, Any]:
    lift = ratio_of_rates(row["count_a"], num_a, row["count_b"], num_b)
    shares = {"share_a": row["count_a"] / num_a, "share_b": row["count_b"] / num_b}
    return {**row, **shares, "lift": lift.value, "low": lift.low, "high": lift.high, "p": lift.p}


def _segments(session: RuleSession) -> list[str]:
    """Text columns of the customer table with few enough values to be segments."""
    natures = session.compiler.natures or {}
    texts = [name for name, nature in natures.items() if nature == "text"]
    if not texts:
        return []
    counts = ", ".join(f"count(DISTINCT {sql_name(name)})" for name in texts)
    found = session.connection.sql(f"SELECT {counts} FROM rule_customers").fetchall()[0]
    return [name for name, count in zip(texts, found, strict=True) if 1 < count <= _MOST_VALUES]
