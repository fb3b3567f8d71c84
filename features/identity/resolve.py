"""The identity map as SQL: customers for the ids of a table, on DuckDB.

An anonymous row, whose ``user_id`` is its ``device_id``, is looked up as a device and nothing else, so that an account
of the same text is never taken for it. Any other id is looked up as the account first, then as the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from features import columns as c
from features.engine import sql_text
from features.identity.build import MAP_FILE, VISITS_FILE
from features.identity.graph import CUSTOMER_ID
from features.identity.map import IdentityMap, type_order
from features.identity.settings import DEVICE

_IDS: Final = "customer_of_id"
_DEVICES: Final = "customer_of_device"
_VISITS: Final = "customer_of_visit"


def define_customers(connection: duckdb.DuckDBPyConnection, identity: Path) -> None:
    """Make the tables that the views below join: customers by id, by device, and by instant of a shared device."""
    identities = IdentityMap.load(Path(identity) / MAP_FILE)
    order = type_order(identities.settings)
    types = sorted(set(identities.frame["id_type"]), key=lambda name: (order(name), name))
    rank = " ".join(f"WHEN {sql_text(name)} THEN {place}" for place, name in enumerate(types))
    columns = identities.frame[["id", "id_type", CUSTOMER_ID]]
    connection.register("identity_map", pa.Table.from_pandas(columns, preserve_index=False))
    connection.execute(f"""
        CREATE TEMP TABLE {_IDS} AS
        SELECT id AS {c.USER_ID}, {CUSTOMER_ID} FROM identity_map
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY CASE id_type {rank} END) = 1""")
    connection.execute(f"""
        CREATE TEMP TABLE {_DEVICES} AS
        SELECT id AS {c.DEVICE_ID}, {CUSTOMER_ID} AS of_device FROM identity_map WHERE id_type = '{DEVICE}'""")
    connection.unregister("identity_map")
    connection.execute(f"""
        CREATE TEMP TABLE {_VISITS} AS
        SELECT {c.DEVICE_ID}, {c.TS}, coalesce({CUSTOMER_ID}, account) AS of_visit
        FROM read_parquet({sql_text(Path(identity) / VISITS_FILE)}) LEFT JOIN {_IDS} ON {c.USER_ID} = account""")


def resolved_events(source: str) -> str:
    """Return SQL over ``source`` (user_id, device_id, ts, ...) with user_id the customer and source_user_id as it was."""
    anonymous = f"e.{c.USER_ID} IS NOT DISTINCT FROM e.{c.DEVICE_ID}"
    customer = f"CASE WHEN {anonymous} THEN coalesce(v.of_visit, d.of_device) ELSE i.{CUSTOMER_ID} END"
    return f"""
        SELECT e.* REPLACE (coalesce({customer}, e.{c.USER_ID}) AS {c.USER_ID}), e.{c.USER_ID} AS {c.SOURCE_USER_ID}
        FROM {source} e
        LEFT JOIN {_IDS} i ON i.{c.USER_ID} = e.{c.USER_ID}
        LEFT JOIN {_DEVICES} d ON d.{c.DEVICE_ID} = e.{c.DEVICE_ID}
        LEFT JOIN {_VISITS} v ON v.{c.DEVICE_ID} = e.{c.DEVICE_ID} AND v.{c.TS} = e.{c.TS}"""


def resolved_table(source: str) -> str:
    """Return SQL over ``source`` with its user_id the customer: of a table that has no devices, such as consents."""
    return f"""
        SELECT t.* REPLACE (coalesce(i.{CUSTOMER_ID}, t.{c.USER_ID}) AS {c.USER_ID})
        FROM {source} t LEFT JOIN {_IDS} i ON i.{c.USER_ID} = t.{c.USER_ID}"""
