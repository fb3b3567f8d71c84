"""One SQL text on three engines."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import pytest

from features.errors import ConfigError
from features.tables.sql import run
from tests.features.engines import assert_equal_tables, canonical

pytestmark = pytest.mark.xdist_group("spark")
EVENTS = pd.DataFrame(
    {
        "user_id": ["a", "a", "b"],
        "ts": pd.to_datetime(["2026-01-01T20:00Z", "2026-01-02T01:00Z", "2026-01-03T00:00Z"]).astype(
            "datetime64[us, UTC]"
        ),
        "n": [1, 2, 3],
    }
)
KNOWN = pd.DataFrame({"user_id": ["a"]})
TEXT = """
    SELECT user_id, CAST(sum(n) AS BIGINT) AS n, max_by(n, ts) AS last_n, max(unix_micros(ts)) AS last_us,
           CAST(min(from_utc_timestamp(ts, 'Asia/Tokyo')) AS DATE) AS local_day
    FROM {events} JOIN {known} USING (user_id) GROUP BY user_id
"""
EXPECTED = pd.DataFrame(
    {
        "user_id": ["a"],
        "n": [3],
        "last_n": [2],
        "last_us": [1_767_315_600_000_000],
        "local_day": pd.to_datetime(["2026-01-02"]).astype("datetime64[us]"),
    }
)


@pytest.fixture(params=["pandas", "duckdb", "spark"])
def frames(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "pandas":
        return {"events": EVENTS, "known": KNOWN}
    if request.param == "duckdb":
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        return {"events": connection.from_df(EVENTS), "known": connection.from_df(KNOWN)}
    spark = request.getfixturevalue("spark")
    import pyarrow as pa  # noqa: PLC0415 (of Spark alone)

    return {
        name: spark.createDataFrame(pa.Table.from_pandas(frame))
        for name, frame in (("events", EVENTS), ("known", KNOWN))
    }


def test_run_when_any_engine_is_asked_then_the_table_is_the_same(frames: dict[str, Any]) -> None:
    found = run(TEXT, **frames)
    assert type(found) is type(next(iter(frames.values())))
    assert_equal_tables(canonical(found, ["user_id"]), EXPECTED)


def test_run_when_a_lazy_result_is_asked_again_then_other_queries_in_between_change_nothing() -> None:
    connection = duckdb.connect()
    doubled = run("SELECT n * 2 AS n FROM {rows}", rows=connection.sql("SELECT 1 AS n"))
    run("SELECT n FROM {rows}", rows=connection.sql("SELECT 7 AS n"))
    assert run("SELECT n + 1 AS n FROM {rows}", rows=doubled).fetchall() == [(3,)]


def test_run_when_frames_are_of_two_engines_then_says_which() -> None:
    with pytest.raises(ConfigError, match=r"frames of one engine, .* found one: DataFrame, other: DuckDBPyRelation"):
        run("SELECT 1 FROM {one}, {other}", one=KNOWN, other=duckdb.connect().from_df(KNOWN))
