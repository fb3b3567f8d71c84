"""A table is the same as one file and as a directory of files."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features.contract.tables import EVENTS
from features.errors import ConfigError, DataError
from features.event_log import METADATA_KEY, EventLog
from features.files import write_json
from features.insight.sql.tables import ReadOnlyTables
from features.live_log.archive import LiveLog
from features.live_log.merge import merge_served
from features.manifest import EVENT_LOG_FILE
from features.parquet import SUMMARY_FILE, files_of, is_table, scan
from features.privacy.erase_files import erase_from_data
from features.privacy.person import Person
from features.refresh.sources import Sources
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import arrow_table, event, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
CLUSTER = EngineSettings(name="pyspark", master="spark://127.0.0.1:7077")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[EventLog]:
    """One log as a file, and as a directory of two files with the same rows."""
    root = tmp_path_factory.mktemp("logs")
    rows = [event(f"u{n % 5}", "view", f"2024-05-0{1 + n % 3} 10:00", f"i{n % 4}", event_id=f"e{n}") for n in range(20)]
    data = write_shop(root / "data", events=rows)
    one = EventLog.build(data, root / "one" / EVENT_LOG_FILE, shop=ShopSettings(), engine=ENGINE)
    table, parts = pq.read_table(one.path), root / "parts" / EVENT_LOG_FILE
    parts.mkdir(parents=True)
    for number, half in enumerate((table.slice(0, 8), table.slice(8))):
        pq.write_table(half.replace_schema_metadata(None), parts / f"{number:05d}.parquet")
    write_json(parts / SUMMARY_FILE, {METADATA_KEY: json.loads(table.schema.metadata[METADATA_KEY.encode()])})
    return [one, EventLog.open(parts)]


def test_log_when_it_is_a_directory_then_reads_as_the_file_does(logs: list[EventLog]) -> None:
    one, parts = logs
    assert (parts.fingerprint, parts.num_events, parts.last_at) == (one.fingerprint, one.num_events, one.last_at)
    pd.testing.assert_frame_equal(parts.to_pandas(), one.to_pandas())
    with duckdb.connect() as connection:
        [rows, others] = [log.relation(connection, purpose=c.ANALYTICS).to_arrow_table() for log in logs]
    assert rows.equals(others)


def test_sql_when_the_log_is_a_directory_then_answers_as_of_the_file(logs: list[EventLog]) -> None:
    answers = []
    for log in logs:
        with ReadOnlyTables.open(log.path.parent, engine=ENGINE) as tables:
            answers.append(tables.query("SELECT item_id, count(*) AS n FROM events GROUP BY 1 ORDER BY 1").to_pylist())
    assert answers[0] == answers[1]
    assert len(answers[0]) == 4


def test_log_when_a_directory_has_no_summary_then_says_that_it_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "log" / "00000.parquet")
    with pytest.raises(DataError, match="expected an event log, found another or a damaged file"):
        EventLog.open(tmp_path / "log")


def test_files_when_a_writer_is_still_at_work_then_its_files_do_not_count(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "_temporary/c.parquet", ".d.parquet", "day=1/e.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path)] == [
        "a.parquet",
        "b.parquet",
        "day=1/e.parquet",
    ]
    assert scan(tmp_path / "a.parquet") == f"read_parquet(['{tmp_path}/a.parquet'])"
    assert [is_table(tmp_path), is_table(tmp_path / "_temporary"), is_table(tmp_path / "gone")] == [True, True, False]


def test_sources_when_a_cluster_asks_then_files_are_told_by_size_and_time(tmp_path: Path) -> None:
    rows = [event("u", "view", "2024-05-01 10:00", "i")]
    data = write_shop(tmp_path / "data", events=rows)
    before = Sources.read(data, engine=CLUSTER, spill=tmp_path)
    assert before == Sources.read(data, engine=CLUSTER, spill=tmp_path)
    pq.write_table(arrow_table(EVENTS, rows * 2), data / "events.parquet")
    after = Sources.read(data, engine=CLUSTER, spill=tmp_path)
    assert [name for name in after.files if after.files[name] != before.files[name]] == ["events.parquet"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "spark"}, "engine.name: expected one of duckdb, pyspark, found 'spark'"),
        ({"master": "local"}, "engine.master: expected none with engine.name 'duckdb', found 'local'"),
        ({"name": "pyspark"}, "engine.master: expected a Spark master such as .* found ''"),
        (
            {"name": "pyspark", "master": "host:7077"},
            "engine.master: expected a Spark master such as .* found 'host:7077'",
        ),
    ],
)
def test_engine_when_settings_make_no_sense_then_says_so(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        EngineSettings(**settings)  # type: ignore[arg-type]


def test_erasure_when_events_are_a_directory_then_each_of_its_files_loses_the_rows(tmp_path: Path) -> None:
    rows = [event(f"u{n % 2}", "view", "2024-05-01 10:00", "i", event_id=f"e{n}") for n in range(6)]
    data = write_shop(tmp_path / "data", events=rows)
    (data / "events.parquet").rename(tmp_path / "all.parquet")
    (data / "events.parquet").mkdir()
    for number in range(2):
        pq.write_table(
            pq.read_table(tmp_path / "all.parquet").slice(3 * number, 3), data / f"events.parquet/{number}.parquet"
        )
    removed = erase_from_data(data, Person(user_id="u0", ids=("u0",)), engine=ENGINE)["removed"]
    assert removed == {"events.parquet/0.parquet": 2, "events.parquet/1.parquet": 1}
    left = pq.read_table([str(file) for file in files_of(data / "events.parquet")])
    assert left["user_id"].to_pylist() == ["u1"] * 3


def test_served_events_when_events_are_a_directory_then_a_file_is_added(tmp_path: Path) -> None:
    rows = [event("u", "view", f"2024-05-0{1 + n} 10:00", "i", event_id=f"e{n}") for n in range(3)]
    data = write_shop(tmp_path / "data", events=rows[:2])
    (data / "events.parquet").rename(tmp_path / "part.parquet")
    (data / "events.parquet").mkdir()
    (tmp_path / "part.parquet").rename(data / "events.parquet" / "part.parquet")
    (tmp_path / "served").mkdir()
    pq.write_table(arrow_table(EVENTS, rows[1:]), tmp_path / "served" / "2024-05-03.parquet")
    log = LiveLog(directory=tmp_path / "served")
    assert [merge_served(log, data, engine=ENGINE)["events"] for _ in range(2)] == [1, 0]
    files = files_of(data / "events.parquet")
    assert [file.name for file in files] == ["part.parquet", "served-00001.parquet"]
    assert pq.read_table(files[1])["event_id"].to_pylist() == ["e2"]
