"""The identity map on a cluster: customers for the users of events, by the rule of ``features.identity.resolve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features import columns as c
from features.engine import sql_text
from features.identity.build import MAP_FILE, VISITS_FILE
from features.identity.graph import CUSTOMER_ID
from features.identity.map import type_order
from features.identity.settings import DEVICE, IdentitySettings
from features.spark.scratch import read_parts
from features.tables.sql import run


def by_customer(events: Any, identity: Path, *, settings: IdentitySettings) -> Any:
    """Return events with user_id the customer, and source_user_id as it was.

    Args:
        events: frame with user_id, device_id, ts and others.
        identity: directory of the identity stage.
        settings: ranks the types of ids.
    """
    identities = read_parts(events.sparkSession, identity / MAP_FILE)
    ids = _customers(identities, settings)
    devices = run(f"SELECT id, {CUSTOMER_ID} AS of_device FROM {{map}} WHERE id_type = '{DEVICE}'", map=identities)
    visits = run(
        f"""SELECT v.{c.DEVICE_ID}, v.{c.TS}, coalesce(i.{CUSTOMER_ID}, v.account) AS of_visit
            FROM {{visits}} v LEFT JOIN {{ids}} i ON i.id = v.account""",
        visits=read_parts(events.sparkSession, identity / VISITS_FILE),
        ids=ids,
    )
    others = ", ".join(f"e.{name}" for name in events.columns if name != c.USER_ID)
    customer = f"""CASE WHEN e.{c.USER_ID} <=> e.{c.DEVICE_ID} THEN coalesce(v.of_visit, d.of_device)
                        ELSE i.{CUSTOMER_ID} END"""
    return run(
        f"""SELECT {others}, coalesce({customer}, e.{c.USER_ID}) AS {c.USER_ID}, e.{c.USER_ID} AS {c.SOURCE_USER_ID}
            FROM {{events}} e
            LEFT JOIN {{ids}} i ON i.id = e.{c.USER_ID}
            LEFT JOIN {{devices}} d ON d.id = e.{c.DEVICE_ID}
            LEFT JOIN {{visits}} v ON v.{c.DEVICE_ID} = e.{c.DEVICE_ID} AND v.{c.TS} = e.{c.TS}""",
        events=events,
        ids=ids,
        devices=devices,
        visits=visits,
    )


def _customers(identities: Any, settings: IdentitySettings) -> Any:
    """One row an id: as the account first, then as the rest."""
    order = type_order(settings)
    types = sorted(
        (row.id_type for row in identities.select("id_type").distinct().collect()), key=lambda name: (order(name), name)
    )
    rank = " ".join(f"WHEN {sql_text(name)} THEN {place}" for place, name in enumerate(types))
    return run(
        f"SELECT id, min_by({CUSTOMER_ID}, CASE id_type {rank} END) AS {CUSTOMER_ID} FROM {{map}} GROUP BY id",
        map=identities,
    )
