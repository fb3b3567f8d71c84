"""Queries that can only read, and only the contract's tables."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from features.build import build_features
from features.errors import ConfigError, DataError
from features.insight.sql.shell import run_shell, statements
from features.insight.sql.tables import ReadOnlyTables
from features.settings import EngineSettings
from tests.features.tiny_shop import event, utc, write_shop


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    ts = pd.to_datetime(["2026-01-01T10:00Z", "2026-01-02T10:00Z", "2026-01-03T10:00Z"])
    rows = {"user_id": ["a", "b", "b"], "event_type": ["view", "purchase", "purchase"], "ts": ts, "price": [5, 7, 8]}
    pd.DataFrame(rows).to_parquet(directory / "events.parquet")
    pd.DataFrame({"coupon_id": ["k"], "user_id": ["a"], "value": [100]}).to_parquet(directory / "coupons.parquet")
    (directory / "secret.txt").write_text("nobody's business")
    return directory


@pytest.fixture
def tables(data: Path, tmp_path: Path) -> Iterator[ReadOnlyTables]:
    with ReadOnlyTables.open(data, beside=tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT sum(price) AS s FROM events WHERE event_type = 'purchase'", [15]),
        ("FROM coupons SELECT value", [100]),
        ("WITH x AS (SELECT 1 AS n) SELECT n + 1 FROM x", [2]),
        ("SHOW TABLES", ["coupons", "events"]),
    ],
)
def test_query_when_it_reads_then_rows_come_back(tables: ReadOnlyTables, query: str, rows: list[object]) -> None:
    assert [next(iter(row.values())) for row in tables.query(query).to_pylist()] == rows


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("COPY events TO 'copy.csv'", "expected a statement that reads .* found COPY"),
        ("CREATE TABLE x AS SELECT 1", "found CREATE"),
        ("INSERT INTO coupons VALUES (1)", "found INSERT"),
        ("SET memory_limit = '1TB'", "found SET"),
        ("ATTACH 'other.db'", "found ATTACH"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2"),
        ("", "expected one statement, found 0"),
        ("SELEC 1", "expected SQL that DuckDB can run"),
        ("SELECT nope FROM events", 'Referenced column "nope"'),
        ("FROM event", r"Tables are coupons, events\. Did you mean 'events'\?"),
        ("SELECT CAST('x' AS INT)", "Conversion Error"),
    ],
)
def test_query_when_it_does_anything_else_then_it_is_refused_with_the_reason(
    tables: ReadOnlyTables, query: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        tables.query(query)


@pytest.mark.parametrize("function", ["read_text", "read_csv", "glob"])
def test_query_when_it_reads_another_file_then_it_is_refused_even_beside_the_tables(
    tables: ReadOnlyTables, data: Path, function: str
) -> None:
    with pytest.raises(ConfigError, match="disabled by configuration"):
        tables.query(f"SELECT * FROM {function}('{data / 'secret.txt'}')")


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_export_when_rows_are_written_then_all_of_them_and_nothing_if_the_query_fails(
    tables: ReadOnlyTables, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    with pytest.raises(ConfigError):
        tables.export("SELECT CAST(user_id AS INT) FROM events", out)
    assert list(tmp_path.glob("*rows*")) == []
    assert tables.export("SELECT user_id, price FROM events ORDER BY price", out) == 3
    found = pd.read_csv(out) if name.endswith("csv") else pd.read_parquet(out)
    assert found.to_numpy().tolist() == [["a", 5], ["b", 7], ["b", 8]]
    with pytest.raises(ConfigError, match=r"ends in \.parquet or \.csv, found \.txt"):
        tables.export("FROM events", tmp_path / "rows.txt")


def test_open_when_there_are_no_events_then_says_what_it_expected(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"expected a directory that `footfall features` or `footfall data` wrote"),
        ReadOnlyTables.open(tmp_path),
    ):
        pass


def test_shell_when_a_query_is_wrong_then_it_is_said_and_the_next_is_answered(tables: ReadOnlyTables) -> None:
    out = io.StringIO()
    found = run_shell(tables, typed=io.StringIO("FROM nowhere;\nSELECT 40 +\n  2 AS n;\n"), out=out)
    assert found == {"queries": 2, "refused": 1}
    assert "nowhere" in out.getvalue()
    assert "42" in out.getvalue()


def test_statements_when_one_takes_several_lines_then_it_is_one() -> None:
    assert list(statements(["SELECT 1", "+ 1;", "", "SELECT 2"])) == ["SELECT 1\n+ 1;", "SELECT 2"]


def test_command_when_asked_then_numbers_stay_numbers_and_consent_is_spoken_of(data: Path, tmp_path: Path) -> None:
    query = "SELECT sum(price) AS s, min(ts) AS t, NULL AS n, 'nan'::DOUBLE AS x FROM events"
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-m", "footfall", "sql", str(data), "--engine.memory_limit", "500MB", query],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(ran.stdout)
    assert found == {"columns": ["s", "t", "n", "x"], "rows": [[20, "2026-01-01 10:00:00+00:00", None, None]]}
    assert "consent is not looked at" in ran.stderr


def test_query_when_some_refuse_analytics_then_their_rows_can_be_read_by_no_path(tmp_path: Path) -> None:
    def row(user: str, at: str, **more: object) -> dict[str, object]:
        return event(user, "view", at, "i", **more)

    data = write_shop(
        tmp_path / "data",
        events=[row("a", "2026-01-01 10:00"), row("b", "2026-01-01 11:00"), row("b", "2026-01-02 11:00")],
        items=[{"item_id": "i"}],
        consents=[{"user_id": "a", "purpose": "analytics", "granted": True, "at": utc("2025-01-01 00:00")}],
    )
    build_features(data, tmp_path / "features", engine=EngineSettings(threads=1))
    log = tmp_path / "features" / "event_log.parquet"
    with ReadOnlyTables.open(tmp_path / "features", beside=tmp_path) as tables:
        assert tables.query("SELECT user_id FROM events").to_pylist() == [{"user_id": "a"}]
        [[path]] = [row.values() for row in tables.query(
            "SELECT regexp_extract(sql, '''(/[^'']+)''', 1) AS path FROM duckdb_views() WHERE view_name = 'events'"
        ).to_pylist()]  # fmt: skip
        assert tables.query(f"SELECT user_id FROM read_parquet('{path}')").to_pylist() == [{"user_id": "a"}]
        with pytest.raises(ConfigError, match="disabled by configuration"):
            tables.query(f"SELECT user_id FROM read_parquet('{log}')")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "features"]


@pytest.mark.parametrize("explain", ["EXPLAIN", "EXPLAIN ANALYZE", "explain  analyze"])
def test_query_when_it_explains_then_only_what_reads(tables: ReadOnlyTables, explain: str) -> None:
    assert tables.query(f"{explain} SELECT 1").num_rows
    with pytest.raises(ConfigError, match="found CREATE"):
        tables.query(f"{explain} CREATE OR REPLACE VIEW events AS SELECT 1 AS x")
    assert tables.query("SELECT count(*) AS n FROM events").to_pylist() == [{"n": 3}]


def test_files_when_they_cannot_hold_or_be_read_then_it_is_said(tables: ReadOnlyTables, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected columns that such a file can hold"):
        tables.export("SELECT [1, 2] AS l", tmp_path / "x.csv")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "events.parquet").write_text("junk")
    with pytest.raises(DataError, match="expected Parquet files of tables"), ReadOnlyTables.open(tmp_path / "bad"):
        pass
