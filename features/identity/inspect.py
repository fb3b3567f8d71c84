"""One customer's ids, the evidence behind them and what the merge log says: for an answer to "why are these one?"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import DataError, UnknownId
from features.identity.build import LINKS_FILE, MAP_FILE, MERGES_FILE
from features.identity.graph import CUSTOMER_ID
from features.identity.map import IdentityMap


def links_of_customer(identity: Path, user_id: str) -> dict[str, Any]:
    """Return all that is known of the customer that an id belongs to. Personal data.

    Args:
        identity: directory that ``build_identity`` wrote.
        user_id: any id of the customer.

    Returns:
        ``customer_id``; ``ids`` (id, type, first and last seen); ``links`` that one of them is an end of, with what
        became of each; ``merge_log``, oldest first.

    Raises:
        DataError: there is no such directory.
        UnknownId: nothing links this id with another.
    """
    if not (Path(identity) / MAP_FILE).is_file():
        raise DataError(
            f"{identity}: expected the links of a feature directory, found none; nothing links two ids here."
        )
    ids = IdentityMap.load(Path(identity) / MAP_FILE).ids_of(user_id)
    if ids.empty:
        raise UnknownId("links: expected an id that another is linked with, found none of this text.")
    return {
        "customer_id": str(ids[CUSTOMER_ID].iloc[0]),
        "ids": _records(ids[["id", "id_type", "first_seen", "last_seen"]]),
        "links": _records(_touching(pd.read_parquet(Path(identity) / LINKS_FILE), ids)),
        "merge_log": _records(_touching(pd.read_parquet(Path(identity) / MERGES_FILE), ids)),
    }


def _touching(rows: pd.DataFrame, ids: pd.DataFrame) -> pd.DataFrame:
    known = pd.MultiIndex.from_frame(ids[["id", "id_type"]])
    ends = [pd.MultiIndex.from_frame(rows[[f"id_{x}", f"type_{x}"]]).isin(known) for x in "ab"]
    return rows[ends[0] | ends[1]]


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; instants as ISO 8601 text."""
    texts = {
        name: rows[name].map(lambda at: at.isoformat()) for name in rows if name in ("at", "first_seen", "last_seen")
    }
    return [{str(key): value for key, value in row.items()} for row in rows.assign(**texts).to_dict("records")]
