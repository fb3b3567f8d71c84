"""All ids under which one customer left traces, and how their rows are found in a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from features import columns as c
from features.engine import sql_name
from features.identity.build import MAP_FILE, VISITS_FILE, build_identity
from features.identity.map import IdentityMap
from features.parquet import is_table
from features.settings import EngineSettings, ShopSettings

# Columns that say whose a row is, in the contract's tables and in those that are made from them.
PERSON_COLUMNS: Final = (c.USER_ID, c.SOURCE_USER_ID, "customer_id", "id_a", "id_b", "account")
_ANONYMOUS: Final = (c.USER_ID, c.DEVICE_ID, c.TS)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One customer.

    Args:
        user_id: as asked for.
        ids: all ids that were linked to it, itself among them, sorted.
        visits: files of instants at shared devices that belong to an account (``features.identity.visits``).
    """

    user_id: str
    ids: tuple[str, ...]
    visits: tuple[Path, ...] = ()

    @classmethod
    def find(cls, user_id: str, identities: Iterable[Path] = ()) -> Person:
        """Join what several identity maps know of an id; without one, or for an id that none holds, it stands alone.

        Args:
            user_id: any id of the customer.
            identities: directories that ``build_identity`` wrote; those that do not exist are passed over.
        """
        held = [Path(directory) for directory in identities if (Path(directory) / MAP_FILE).is_file()]
        ids = {user_id}
        for directory in held:
            ids |= linked_ids(IdentityMap.load(directory / MAP_FILE), user_id)
        visits = tuple(path for directory in held if (path := directory / VISITS_FILE).is_file())
        return cls(user_id=user_id, ids=tuple(sorted(ids)), visits=visits)

    @classmethod
    def find_in_data(cls, user_id: str, data: Path, scratch: Path, *, engine: EngineSettings) -> Person:
        """Link the ids of a data directory and return a customer's.

        Args:
            user_id: any id of the customer.
            data: a data directory.
            scratch: directory that the links are written into; it must outlive the answer.
            engine: memory limit, threads, where to spill.
        """
        if not is_table(Path(data) / "events.parquet"):
            return cls.find(user_id)
        build_identity(Path(data), scratch, shop=ShopSettings.load(Path(data)), engine=engine)
        return cls.find(user_id, [scratch])

    def define(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the tables ``person`` (id) and ``person_visits`` (device_id, ts) that ``rows_of`` reads."""
        connection.register("person_ids", pa.table({"id": pa.array(self.ids, pa.string())}))
        connection.execute("CREATE OR REPLACE TEMP TABLE person AS FROM person_ids")
        connection.unregister("person_ids")
        connection.execute("CREATE OR REPLACE TEMP TABLE person_visits (device_id VARCHAR, ts TIMESTAMPTZ)")
        for path in self.visits:
            connection.execute(
                "INSERT INTO person_visits SELECT device_id, ts FROM read_parquet(?) "
                "WHERE account IN (SELECT id FROM person)",
                [str(path)],
            )


def linked_ids(identities: IdentityMap, user_id: str) -> set[str]:
    """Return the customer that an id belongs to and all ids of that customer, none of them shared with others."""
    return {user_id, *identities.linked(user_id)}


def rows_of(columns: Iterable[str]) -> str:
    """Return an SQL condition on a table with these columns: whether a row is the person's; blank where none can be.

    Columns that name nobody, such as items, are not compared: an item may have a customer's number as its id.
    """
    found = list(columns)
    named = [
        f"coalesce({sql_name(name)} IN (SELECT id FROM person), false)" for name in PERSON_COLUMNS if name in found
    ]
    if set(_ANONYMOUS) <= set(found):
        named.append(
            "(user_id IS NOT DISTINCT FROM device_id AND "
            "coalesce((device_id, ts) IN (SELECT (device_id, ts) FROM person_visits), false))"
        )
    return f"({' OR '.join(named)})" if named else ""
