from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from features.contract.data_directory import write_data_directory
from features.errors import ConfigError, DataError
from features.settings import EngineSettings, ShopSettings

ENGINE = EngineSettings(memory_limit="512MB", threads=1)
LOGIN = pd.DataFrame({"user_id": ["u"], "event_type": ["login"], "ts": ["2024-01-01"]})


def test_write_when_done_then_shop_about_and_extra_files_stand_beside_the_tables(tmp_path: Path) -> None:
    shop = ShopSettings(name="Bookshop", time_zone="Europe/Paris")
    about = write_data_directory(
        tmp_path / "data",
        {"events": LOGIN},
        shop=shop,
        source="a test",
        warning="synthetic",
        notes={"seed": 1},
        engine=ENGINE,
        extra=lambda directory: (directory / "truth.txt").write_text("42") and None,
    )
    assert json.loads((tmp_path / "data" / "about.json").read_text()) == about
    assert (about["source"], about["warning"], about["seed"]) == ("a test", "synthetic", 1)
    assert ShopSettings.load(tmp_path / "data") == shop
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names == ["about.json", "events.parquet", "rejects", "shop.yaml", "truth.txt"]


def test_write_when_rows_are_a_relation_then_they_keep_their_order(tmp_path: Path) -> None:
    connection = duckdb.connect()
    rows = connection.sql("""
        SELECT 'u' || (range * 7919) % 100_003 AS user_id, 'login' AS event_type, TIMESTAMP '2024-01-01' AS ts
        FROM range(300_000)
    """)
    about = write_data_directory(tmp_path / "data", {"events": rows}, shop=ShopSettings(), source="t", engine=ENGINE)
    assert about["tables"]["events"]["accepted"] == 300_000
    users = pd.read_parquet(tmp_path / "data" / "events.parquet", columns=["user_id"])["user_id"]
    assert users[:3].tolist() == ["u0", "u7919", "u15838"]
    assert users.iloc[-1] == f"u{299_999 * 7919 % 100_003}"


def test_write_when_memory_is_short_then_many_events_are_still_deduplicated(tmp_path: Path) -> None:
    connection = duckdb.connect()
    rows = connection.sql("""
        SELECT 'u' || range % 1000 AS user_id, 'login' AS event_type, TIMESTAMP '2024-01-01' AS ts,
            'a rather long event id, number ' || range % 150_000 AS event_id
        FROM range(200_000)
    """)
    engine = EngineSettings(memory_limit="140MB", threads=1)
    about = write_data_directory(tmp_path / "data", {"events": rows}, shop=ShopSettings(), source="t", engine=engine)
    counts = about["tables"]["events"]
    assert (counts["accepted"], counts["duplicates"]) == (150_000, 50_000)
    rejects = pd.read_parquet(tmp_path / "data" / "rejects" / "events.parquet")
    assert rejects["row"].iloc[0] == 150_001
    assert rejects["reason"].iloc[0] == "duplicate of row 1"


def test_write_when_memory_is_far_too_short_then_error_names_the_setting(tmp_path: Path) -> None:
    rows = duckdb.sql("SELECT 'u' AS user_id, 'login' AS event_type, DATE '2024-01-01' AS ts FROM range(300_000)")
    engine = EngineSettings(memory_limit="1MB", threads=1)
    with pytest.raises(ConfigError, match=r"memory_limit: expected enough for this table, found '1MB'"):
        write_data_directory(tmp_path / "data", {"events": rows}, shop=ShopSettings(), source="t", engine=engine)
    assert list(tmp_path.iterdir()) == []


def test_write_when_it_fails_halfway_then_nothing_is_left(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        assert (directory / "events.parquet").exists()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_data_directory(
            tmp_path / "data", {"events": LOGIN}, shop=ShopSettings(), source="t", engine=ENGINE, extra=fail
        )
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import pandas as pd
from features.contract.data_directory import write_data_directory
from features.settings import ShopSettings
rows = pd.DataFrame({"user_id": ["u"], "event_type": ["login"], "ts": ["2024-01-01"]})
write_data_directory(
    Path(sys.argv[1]), {"events": rows}, shop=ShopSettings(), source="t",
    extra=lambda directory: os.kill(os.getpid(), signal.SIGKILL),
)
"""


def test_write_when_killed_halfway_then_no_half_directory_has_the_name(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "data")], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "data").exists()


def test_write_when_directory_exists_then_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="exists already"):
        write_data_directory(tmp_path / "data", {"events": LOGIN}, shop=ShopSettings(), source="t", engine=ENGINE)
    assert list((tmp_path / "data").iterdir()) == []


def test_write_when_table_is_unknown_then_error_suggests_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found 'event'\. Did you mean 'events'"):
        write_data_directory(tmp_path / "data", {"event": LOGIN}, shop=ShopSettings(), source="t", engine=ENGINE)
