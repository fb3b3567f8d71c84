"""Features of many events on a Spark cluster beside the same on DuckDB: every table compared, and a worker killed midway.

python benchmarks/spark.py --json OUT --work DIR                        10 million events
python benchmarks/spark.py --json OUT --work DIR --events 1000000       a quick look

The cluster is a standalone master and two workers of one core on this machine, each a process of its own; the shop is
simulated (``benchmarks/many_events.py``), with one customer more whose events are a tenth of all. Wall time is of a whole
command, the start of its session included; memory is the most that a process and those it started held at once, summed
(proportional set size), sampled twice a second: workers and executors count for the cluster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow.parquet as pq

from benchmarks.feature_tables import compared
from benchmarks.many_events import SEED, data_directory
from benchmarks.result import write_result
from features.engine import private_connection
from features.event_log import EventLog
from features.files import read_json
from features.manifest import EVENT_LOG_FILE, MANIFEST_FILE
from features.settings import EngineSettings
from features.spark.cluster import LoopbackCluster, loopback_cluster

ENGINE: Final = EngineSettings(memory_limit="4GB", threads=2)
HEAVY: Final = "one-customer"  # a tenth of all events
_DRIVER: Final = {"spark.driver.memory": "2g"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--work", type=Path, required=True, help="keep the events here and use them again")
    parser.add_argument("--executor-memory", default="2g")
    arguments = parser.parse_args()
    data = _data(arguments.work / f"events-{arguments.events}", arguments.events)
    os.environ["PYSPARK_SUBMIT_ARGS"] = _submit(_DRIVER | {"spark.executor.memory": arguments.executor_memory})
    rows = _rows(data, arguments.executor_memory)
    for row in rows:
        print(row["model"], row["metrics"], row["note"], file=sys.stderr)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="spark",
            data="simulated shop, copied; one customer has a tenth of all events",
            protocol="`footfall features` of one data directory by DuckDB (2 threads) and by a standalone Spark cluster on "
            "loopback (2 workers of 1 core), twice: the second time one worker and its executor are killed (SIGKILL) while "
            "sequences are made; all tables compared: integers and texts exactly, floats to 1e-9 relative",
            seeds=[SEED],
            results=rows,
        )
    return 0


def _rows(data: Path, memory: str) -> list[dict[str, Any]]:
    duckdb = data / "by-duckdb"
    rows = [_measured("DuckDB", data, duckdb)]
    for model, kill in (("Spark", False), ("Spark, one worker killed", True)):
        out = data / "by-spark"
        with loopback_cluster(workers=2, cores=1, memory=memory) as cluster:
            pids = [cluster.master, *cluster.workers]
            meanwhile = _killer(cluster, out) if kill else None
            options = ("--engine", "pyspark", "--master", cluster.url)
            row = _measured(model, data, out, options, meanwhile=meanwhile, pids=pids)
        tables = compared(duckdb, out, engine=ENGINE)
        same = EventLog.open(duckdb / EVENT_LOG_FILE).fingerprint == EventLog.open(out / EVENT_LOG_FILE).fingerprint
        rows.append(row | {"note": f"{len(tables)} tables and arrays equal; fingerprint of the log equal: {same}"})
        shutil.rmtree(out)
    shutil.rmtree(duckdb)
    return rows


def _measured(
    model: str,
    data: Path,
    out: Path,
    options: Sequence[str] = (),
    *,
    meanwhile: Callable[[], None] | None = None,
    pids: Sequence[int] = (),
) -> dict[str, Any]:
    """Build features in a process of its own, with something done meanwhile."""
    limits = ["--engine.memory_limit", ENGINE.memory_limit, "--engine.threads", str(ENGINE.threads), "--rebuild"]
    command = [sys.executable, "-m", "footfall", "features", str(data), str(out), *options, *limits]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if meanwhile is not None:
        threading.Thread(target=meanwhile, daemon=True).start()
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(_held_mb(pid) for pid in _with_children([process.pid, *pids])))
        time.sleep(0.5)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{model}: {' '.join(command)} failed")
    manifest = read_json(out / MANIFEST_FILE)
    return {
        "model": model,
        "metrics": {"wall_s": round(wall, 1), "peak_mb": round(peak)},
        "fit_wall_s": round(wall, 1),
        "peak_mb": round(peak),
        "config": {"stages": manifest["seconds"], "counts": manifest["counts"], "options": list(options)},
        "note": "",
    }


def _killer(cluster: LoopbackCluster, out: Path) -> Callable[[], None]:
    """Return what kills a worker once users have codes and the sequences are being sorted."""

    def kill() -> None:
        journal = out.parent / f".{out.name}.building" / "journal.json"
        while not (journal.exists() and '"stage": "vocabulary"' in journal.read_text()):
            time.sleep(0.2)
        time.sleep(5)
        cluster.kill_worker(0)
        print("killed a worker", file=sys.stderr)

    return kill


def _submit(options: dict[str, str]) -> str:
    return " ".join([*(f"--conf {name}={value}" for name, value in options.items()), "pyspark-shell"])


def _data(data: Path, num_events: int) -> Path:
    """Make the data directory, and give a tenth of its events to one customer."""
    if not (data / "shop.yaml").exists():
        data.mkdir(parents=True, exist_ok=True)
        data_directory(data, num_events, ENGINE)
        given, kept = data / "given.parquet", data / "events.parquet"
        with private_connection(ENGINE, beside=data) as connection:
            connection.execute(f"""
                COPY (SELECT * REPLACE (CASE WHEN hash(user_id) % 10 = 0 THEN '{HEAVY}' ELSE user_id END AS user_id)
                      FROM read_parquet('{kept}')) TO '{given}' (FORMAT parquet)""")
        given.replace(kept)
    print(f"{pq.read_metadata(data / 'events.parquet').num_rows:,} events", file=sys.stderr)
    return data


def _with_children(pids: Sequence[int]) -> list[int]:
    """Return processes and all they started, and those these started."""
    found = list(pids)
    for pid in found:  # grows meanwhile
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:  # it has just ended
                continue
    return found


def _held_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return int(text.split("\nPss:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
