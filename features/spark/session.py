"""A Spark session for a cluster, or for this machine's cores."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from features.errors import ConfigError
from features.settings import EngineSettings

_LOCAL_MASTER: Final = re.compile(r"local\b.*|spark://(127\.0\.0\.1|localhost)(:\d+)?")
# Parquet of events to one task: a few times as much in memory, which a gigabyte an executor sorts.
_TASK_BYTES: Final = 32 << 20
_ANSWER_S: Final = 10.0  # for a connection
_OPTIONS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.skewJoin.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # as DuckDB writes instants
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",  # no checksum file beside each file
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}


def num_tasks(num_bytes: int) -> int:
    """Return into how many parts to cut a table of so many bytes of Parquet; at least two.

    >>> num_tasks(1_000), num_tasks(1 << 30)
    (2, 32)
    """
    return max(2, -(-num_bytes // _TASK_BYTES))


@contextlib.contextmanager
def spark_session(engine: EngineSettings, *, num_bytes: int) -> Iterator[Any]:
    """Yield a session on ``engine.master`` that runs in UTC, and stop it.

    What it does not set, ``spark-defaults.conf`` and ``PYSPARK_SUBMIT_ARGS`` do, such as memory and cores an executor.

    Args:
        engine: names the master.
        num_bytes: of the largest table, as Parquet; says into how many parts tables are cut.

    Raises:
        ConfigError: pyspark is not installed, no Java is found, no master answers, or another session runs in this process.
    """
    session = _started(engine.master, _options(engine.master, num_bytes))
    try:
        yield session
    finally:
        session.stop()


def file_url(path: Path) -> str:
    """Return a path as Spark takes it, whatever file system the cluster has as its own.

    >>> file_url(Path("/data/events.parquet"))
    'file:///data/events.parquet'
    """
    return f"file://{Path(path).resolve()}"


def _expect_answer(master: str) -> None:
    """Refuse a standalone master that nobody is at: Spark would ask for a minute, and then say that it was stopped."""
    if not master.startswith("spark://"):
        return
    places = [place.rpartition(":") for place in master.removeprefix("spark://").split(",")]
    for host, _, port in places:
        with contextlib.suppress(OSError, ValueError), socket.create_connection((host, int(port)), _ANSWER_S):
            return
    raise ConfigError(f"engine.master: expected a Spark master at {master}, found nobody that answers; is it started?")


def _options(master: str, num_bytes: int) -> dict[str, str]:
    here = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return {
        **_OPTIONS,
        "spark.sql.shuffle.partitions": str(2 * num_tasks(num_bytes)),
        **(here if _LOCAL_MASTER.fullmatch(master) else {}),
    }


def _started(master: str, options: dict[str, str]) -> Any:
    try:
        from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415 (an extra that most shops do not install)
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "engine.name: expected pyspark to be installed, found none; pip install 'footfall[spark]', and Java 17."
        ) from None
    _expect_answer(master)
    running = SparkSession.getActiveSession()
    if running is not None:
        raise ConfigError(
            f"engine.master: expected no other Spark session in this process, found one on {running.sparkContext.master}; "
            "stop it first."
        )
    if _LOCAL_MASTER.fullmatch(master):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # what workers run functions with
    try:
        return SparkSession.builder.master(master).appName("footfall features").config(map=options).getOrCreate()
    except PySparkRuntimeError as error:
        raise ConfigError(f"engine.master: expected Spark to start, found {error}; is Java 17 installed?") from None
