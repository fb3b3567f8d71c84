import stat
from pathlib import Path

import pytest

from features.engine import connect, private_connection, sql_name, sql_text
from features.errors import ConfigError
from features.settings import EngineSettings


def test_connect_when_settings_given_then_session_has_them(tmp_path: Path) -> None:
    with connect(EngineSettings(memory_limit="512MB", threads=1), spill=tmp_path) as connection:
        query = "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('TimeZone')"
        limit, threads, zone = connection.execute(query).fetchall()[0]
    assert limit == "366.2 MiB"  # 3/4 x 512 x 10^6 / 2^20: the rest is Python's
    assert (threads, zone) == (1, "UTC")


def test_connect_when_sort_exceeds_memory_then_it_spills_where_told_and_leaves_nothing(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    with connect(EngineSettings(memory_limit="40MB", threads=1), spill=spill) as connection:
        connection.execute(
            "CREATE TABLE wide AS SELECT hash(range) AS x, repeat('a', 100) || range AS y FROM range(400_000)"
        )
        connection.execute("CREATE TABLE ordered AS SELECT * FROM wide ORDER BY x")  # about 50 MB twice over
        assert any(spill.iterdir())
    assert not spill.exists() or not any(spill.iterdir())


@pytest.mark.parametrize("elsewhere", [False, True])
def test_private_connection_when_it_spills_then_into_a_directory_of_its_own_that_goes(
    tmp_path: Path, *, elsewhere: bool
) -> None:
    told = tmp_path / "elsewhere" if elsewhere else tmp_path / "out"
    settings = EngineSettings(memory_limit="40MB", threads=1, temp_directory=str(told) if elsewhere else "")
    with private_connection(settings, beside=tmp_path / "out") as connection:
        connection.execute(
            "CREATE TABLE wide AS SELECT hash(range) AS x, repeat('a', 100) || range AS y FROM range(400_000)"
        )
        connection.execute("CREATE TABLE ordered AS SELECT * FROM wide ORDER BY x")
        (spill,) = told.iterdir()
        assert stat.S_IMODE(spill.stat().st_mode) == 0o700
        assert any(spill.iterdir())
    assert list(told.iterdir()) == []


@pytest.mark.parametrize("limit", ["much", "-1GB", "10"])
def test_connect_when_memory_limit_makes_no_sense_then_error_says_what_does(limit: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"memory_limit: expected a size such as '4GB'.*found '{limit}'"):
        connect(EngineSettings(memory_limit=limit), spill=tmp_path)


def test_connect_when_threads_negative_then_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threads: expected 0"):
        connect(EngineSettings(threads=-2), spill=tmp_path)


def test_quoting_when_names_and_texts_hold_quotes_then_sql_reads_them_back(tmp_path: Path) -> None:
    with connect(EngineSettings(threads=1), spill=tmp_path) as connection:
        relation = connection.sql("SELECT " + sql_text("it's") + " AS " + sql_name('a"b'))
        assert relation.columns == ['a"b']
        assert relation.fetchall() == [("it's",)]
