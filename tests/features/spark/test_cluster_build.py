"""What a cluster of two workers makes is what DuckDB makes, table by table; also when a worker dies meanwhile."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.feature_tables import compared
from features.errors import ConfigError
from features.event_log import EventLog
from features.manifest import EVENT_LOG_FILE
from features.parquet import files_of
from features.settings import EngineSettings, ShopSettings
from features.spark.cluster import loopback_cluster
from features.spark.session import spark_session
from features.stages.on_duckdb import DuckDBStages
from tests.features.spark.stages_of_a_tiny_shop import ENGINE, make
from tests.features.tiny_shop import Rows, event, utc, write_shop

pytestmark = pytest.mark.xdist_group("spark")
SHOP = ShopSettings(name="tiny", time_zone="Europe/Paris", country="FR")
# Tiny tables: compiling and planning would take longer than running; 512 MB is the least an executor takes.
SUBMIT = {
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.constraintPropagation.enabled": "false",
}


def _events() -> Rows:
    """Known and anonymous users; one user has most events; some rows without an id, some repeated, some alike."""
    generator, first = random.Random(7), utc("2024-05-01 00:00")
    for number in range(1200):
        user = "heavy" if number % 2 else f"u{generator.randrange(12)}"
        kind = generator.choice(["view", "view", "view", "cart", "purchase", "login", "message_sent"])
        at = first + dt.timedelta(seconds=generator.randrange(40 * 86_400))
        device = f"d{generator.randrange(6)}" if generator.random() < 0.5 else None
        item = None if kind in ("login", "message_sent") else f"i{generator.randrange(15)}"
        bought = {"quantity": generator.choice([None, 1, 2]), "price": generator.choice([None, 250])}
        row = event(
            device if device and kind == "view" and generator.random() < 0.5 else user,
            kind,
            at,
            item,
            event_id=None if number % 7 == 0 else f"e{number}",
            device_id=device,
            **(bought if kind == "purchase" else {}),
        )
        yield row
        if number % 40 == 0:
            yield row | {"ts": at + dt.timedelta(hours=generator.choice([0, 0, 5]))}


def _consents() -> Rows:
    """Who is not named has not consented; one withdrew, one said so late."""
    for user in ("heavy", *(f"u{n}" for n in range(11)), *(f"d{n}" for n in range(6))):
        for purpose in ("analytics", "personalisation"):
            at = utc("2024-05-12 00:00" if user == "u4" else "2024-04-01 00:00")
            yield {"user_id": user, "purpose": purpose, "granted": True, "at": at}
            if user == "u3":
                yield {"user_id": user, "purpose": purpose, "granted": False, "at": utc("2024-05-20 00:00")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its events are a directory of files, as another cluster would have left them."""
    days = [dt.date(2024, 5, 1) + dt.timedelta(days=number) for number in range(40)]
    data = write_shop(
        tmp_path_factory.mktemp("shop") / "data",
        shop=SHOP,
        events=_events(),
        items=[{"item_id": f"i{n}", "category": "a/b" if n < 8 else "c", "price": 100 + 10 * n} for n in range(18)],
        consents=_consents(),
        identities=[
            {"id_a": f"u{n}", "id_b": f"mail{n // 2}", "seen_at": utc("2024-05-03 00:00")}
            | {"id_type_a": "user_id", "id_type_b": "email"}
            for n in range(4)
        ],
        inventory=[{"item_id": f"i{n}", "day": day, "stock": n} for n in range(5) for day in days[::10]],
    )
    events = pq.read_table(data / "events.parquet")
    (data / "events.parquet").unlink()
    (data / "events.parquet").mkdir()
    for number, first in enumerate(range(0, len(events), 500)):
        pq.write_table(events.slice(first, 500), data / "events.parquet" / f"part-{number}.parquet")
    return data


@pytest.fixture(scope="module")
def by_duckdb(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("duckdb") / "features"
    make(DuckDBStages(), data, out)
    return out


@pytest.fixture(scope="module")
def on_cluster(java: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """Where the two builds lie, and the numbers of executors after the one and the other."""
    out = tmp_path_factory.mktemp("spark")
    submit = " ".join([*(f'--conf "{name}={value}"' for name, value in SUBMIT.items()), "pyspark-shell"])
    script = Path(__file__).with_name("stages_of_a_tiny_shop.py")
    root = str(Path(__file__).parents[3])
    with loopback_cluster(workers=2, cores=1, memory="512m") as cluster:
        done = subprocess.run(
            [sys.executable, str(script), str(data), str(out), cluster.url, str(cluster.workers[0])],
            env=os.environ | {"PYSPARK_SUBMIT_ARGS": submit, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)["executors"]


def _expect_equal(by_duckdb: Path, out: Path) -> None:
    tables = compared(by_duckdb, out, engine=ENGINE)
    wanted = {EVENT_LOG_FILE, "identity/map.parquet", "consents.parquet", "users.parquet", "sequences/item.npy"}
    assert wanted | {"vocabulary.parquet", "catalog.parquet", "panel/units.npy", "stock.parquet"} <= set(tables)
    logs = [EventLog.open(directory / EVENT_LOG_FILE) for directory in (by_duckdb, out)]
    assert logs[0].fingerprint == logs[1].fingerprint
    assert len(files_of(out / EVENT_LOG_FILE)) > 1


def test_features_when_made_on_a_cluster_then_equal_those_of_duckdb(
    by_duckdb: Path, on_cluster: tuple[Path, list[int]]
) -> None:
    _expect_equal(by_duckdb, on_cluster[0] / "undisturbed")


def test_features_when_a_worker_is_killed_midway_then_are_the_same(
    by_duckdb: Path, on_cluster: tuple[Path, list[int]]
) -> None:
    out, executors = on_cluster
    assert executors == [2, 1]
    _expect_equal(by_duckdb, out / "killed")


def test_log_when_one_customer_has_most_events_then_they_are_in_one_file(on_cluster: tuple[Path, list[int]]) -> None:
    log = EventLog.open(on_cluster[0] / "killed" / EVENT_LOG_FILE)
    counts = log.to_pandas(["user_id"])["user_id"].value_counts()
    assert counts.iloc[0] > log.num_events / 3
    held = [set(pq.read_table(file, columns=["user_id"])["user_id"].to_pylist()) for file in files_of(log.path)]
    assert sum(counts.index[0] in users for users in held) == 1


def test_session_when_nobody_is_at_the_master_then_says_so_at_once() -> None:
    engine = EngineSettings(name="pyspark", master="spark://127.0.0.1:1")
    expected = pytest.raises(ConfigError, match="found nobody that answers")
    with expected, spark_session(engine, num_bytes=1):
        pass
