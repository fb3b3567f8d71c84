"""Evidence, graph, merge log and visits: one result on pandas, DuckDB and PySpark."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from features.contract.tables import EVENTS, IDENTITIES
from features.identity.evidence import combined_links, log_links, stated_links
from features.identity.graph import IdentityGraph
from features.identity.merge_log import merge_log
from features.identity.settings import IdentitySettings
from features.identity.visits import visits_of_accounts
from tests.features.engines import assert_equal_tables, canonical
from tests.features.identity.identity_worlds import denials_frame
from tests.features.tiny_shop import arrow_table, event, utc

pytestmark = pytest.mark.xdist_group("spark")
SETTINGS = IdentitySettings(max_ids=6, max_accounts_per_id=3, visit_gap_minutes=600)
PAIR = ["id_a", "type_a", "id_b", "type_b"]
KEYS = {
    "links": PAIR,
    "ids": ["id", "id_type"],
    "merges": ["action", *PAIR],
    "visits": ["device_id", "ts"],
}


def events() -> pa.Table:
    generator = random.Random(11)
    rows = []
    for _ in range(200):
        device = generator.choice([None, *(f"d{number}" for number in range(25))])
        account = f"u{generator.randrange(30)}"
        user = device if device and generator.random() < 0.4 else account
        at = utc("2024-05-01 00:00") + dt.timedelta(minutes=generator.randrange(2_000))
        rows.append(event(user, generator.choice(["login", "view_section", "message_sent"]), at, device_id=device))
    return arrow_table(EVENTS, rows)


def identities() -> pa.Table:
    generator = random.Random(12)
    rows = []
    for _ in range(60):
        kind = generator.choice(["email", "union_id", "cookie", "till_receipt", "device", None])
        at = utc("2024-05-01 00:00") + dt.timedelta(minutes=generator.randrange(2_000))
        letter = {"device": "d", None: "d"}.get(kind, "i")
        other = f"{letter}{generator.randrange(15)}"
        ends = {"id_a": f"u{generator.randrange(30)}", "id_type_a": generator.choice(["user", None]), "id_b": other}
        rows.append({**ends, "id_type_b": kind, "seen_at": at})
    rows.append({"id_a": "u1", "id_b": "Unknown", "id_type_b": "email", "seen_at": utc("2024-05-01 00:00")})
    return arrow_table(IDENTITIES, rows)


def results(events: Any, identities: Any, denials: Any, devices: Any) -> dict[str, Any]:
    links = combined_links(log_links(events, SETTINGS), stated_links(identities, SETTINGS))
    graph = IdentityGraph.build(links, denials, SETTINGS)
    visits = visits_of_accounts(events, devices, SETTINGS)
    return {"links": graph.links, "ids": graph.ids, "merges": merge_log(graph), "visits": visits}


def updated(events: Any, identities: Any, denials: Any) -> Any:
    first = IdentityGraph.build(log_links(events, SETTINGS), denials, SETTINGS)
    return first.updated(stated_links(identities, SETTINGS), denials, SETTINGS).ids


@pytest.fixture(scope="module")
def tables() -> list[pd.DataFrame | pa.Table]:
    denied = pa.Table.from_pandas(denials_frame([("u1", "u2"), ("u3", "d3"), ("u4", "d4")]), preserve_index=False)
    return [events(), identities(), denied, pa.table({"device_id": [f"d{number}" for number in range(12)]})]


@pytest.fixture(scope="module")
def expected(tables: list[pa.Table]) -> dict[str, pd.DataFrame]:
    found = results(*(table.to_pandas() for table in tables))
    return {name: canonical(frame, KEYS[name]) for name, frame in found.items()}


def test_identity_when_run_by_pandas_then_every_rule_is_met(expected: dict[str, pd.DataFrame]) -> None:
    assert set(expected["links"]["status"]) >= {"used", "shared", "oversized"}
    assert set(expected["links"]["reason"]) == {"stated", "login", "event"}
    assert len(expected["visits"]) > 5
    assert "Unknown" not in set(expected["ids"]["id"])


def test_identity_when_run_by_duckdb_then_equal_to_pandas(
    tables: list[pa.Table], expected: dict[str, pd.DataFrame], connection: duckdb.DuckDBPyConnection
) -> None:
    found = results(*(connection.from_arrow(table) for table in tables))
    for name, frame in found.items():
        assert isinstance(frame, duckdb.DuckDBPyRelation)
        assert_equal_tables(canonical(frame, KEYS[name]), expected[name])
    again = updated(*(connection.from_arrow(table) for table in tables[:3]))
    assert_equal_tables(canonical(again, KEYS["ids"]), expected["ids"])


def test_identity_when_run_by_pyspark_then_equal_to_pandas(
    tables: list[pa.Table], expected: dict[str, pd.DataFrame], spark: Any
) -> None:
    for name, frame in results(*(spark.createDataFrame(table) for table in tables)).items():
        assert_equal_tables(canonical(frame, KEYS[name]), expected[name])
