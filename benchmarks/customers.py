"""The customer table from many events: time and memory beside one hand-written DuckDB query of the same columns.

Left to the third row are the columns that SQL cannot state, those of models fitted by likelihood (expected purchases,
chance to be alive, lifetime value with its tier, churn risk): ``beyond_sql_cpu_s``.

python benchmarks/customers.py --json OUT                        10 million events
python benchmarks/customers.py --json OUT --events 1000000       a quick look

The events are those of ``benchmarks/many_events.py``. Both sides read the same event log from Parquet and write one Parquet file, each in
a process of its own with ``--threads`` threads and ``--memory``; their columns are compared value by value.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from benchmarks.many_events import SEED, cpu_s, event_log, peak_mb
from benchmarks.result import write_result
from features.customers.registry import PARTS
from features.customers.table import CustomerTable
from features.engine import private_connection
from features.event_log import EventLog
from features.settings import EngineSettings, ShopSettings
from features.tables.visits import VISIT_EVENTS

QUERY: Final = Path(__file__).with_suffix(".sql")
SIDES: Final = ("footfall", "duckdb query", "footfall, all parts")
BEYOND_SQL: Final = ("estimates", "value_tier")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--work", type=Path, help="keep the events here and use them again")
    parser.add_argument("--side", choices=SIDES, help="internal: run one side and print its measures")
    arguments = parser.parse_args()
    engine = EngineSettings(memory_limit=arguments.memory, threads=arguments.threads)
    if arguments.side:
        print(json.dumps(_run(arguments.side, arguments.work, engine)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        log = event_log(work, arguments.events, engine)
        runs = {side: _measure(side, work, arguments) for side in SIDES}
        differences = _compare(work)
    rows = [_row(side, runs) for side in SIDES]
    rows[2]["metrics"]["beyond_sql_cpu_s"] = round(runs[SIDES[2]]["cpu_s"] - runs[SIDES[0]]["cpu_s"], 3)
    for row in rows:
        print(row["model"], row["metrics"], file=sys.stderr)
    print(f"columns that differ: {differences or 'none'}", file=sys.stderr)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="customers",
            data=f"simulated shop, {log.num_events:,} events of {log.num_users:,} users",
            protocol=f"one process a side, {arguments.threads} threads, memory limit {arguments.memory}, fastest of "
            f"{arguments.repeats}, from Parquet to Parquet; columns compared value by value",
            seeds=[SEED],
            results=rows,
        )
    return 1 if differences else 0


def _measure(side: str, work: Path, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--work", str(work)]
    command += ["--threads", str(arguments.threads), "--memory", arguments.memory]
    runs = []
    for _ in range(arguments.repeats):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return min(runs, key=lambda run: run["cpu_s"])


def _run(side: str, work: Path, engine: EngineSettings) -> dict[str, float]:
    base_mb, started, cpu = peak_mb(), time.perf_counter(), cpu_s()
    out = work / f"{side}.parquet"
    if side == "duckdb query":
        _query(work, out, engine)
    else:
        log, shop = EventLog.open(work / "event_log.parquet"), ShopSettings.load(work)
        parts = [part for part in PARTS if side != "footfall" or part.name not in BEYOND_SQL]
        table = CustomerTable.build(log, work / "items.parquet", data=work, shop=shop, engine=engine, parts=parts)
        table.save(out)
    wall = time.perf_counter() - started
    return {"wall_s": wall, "cpu_s": cpu_s() - cpu, "peak_mb": peak_mb(), "base_mb": base_mb}


def _query(work: Path, out: Path, engine: EngineSettings) -> None:
    log, shop = EventLog.open(work / "event_log.parquet"), ShopSettings.load(work)
    steps = ["newton_0 AS (SELECT 0.0 AS slope),"]
    steps += [
        f"""newton_{n} AS (SELECT any_value(slope) + sum(k * m - tx) / sum(k * greatest(v, 0)) AS slope FROM (
            SELECT any_value(slope) AS slope, sum(taken) AS k, sum(seen * exp(-slope * x) * x) / sum(seen * exp(-slope * x)) AS m,
                   sum(seen * exp(-slope * x) * x * x) / sum(seen * exp(-slope * x)) - m * m AS v, sum(taken * x) AS tx
            FROM cell CROSS JOIN newton_{n - 1} GROUP BY item_id)),"""
        for n in range(1, 5)
    ]
    tables = {name: work / f"{name}.parquet" for name in ("items", "users", "coupons", "plan")}
    query = QUERY.read_text(encoding="utf-8").format(
        as_of=log.last_day,
        log=log.path,
        zone=shop.time_zone,
        visit_events=VISIT_EVENTS,
        newton="\n".join(steps),
        **tables,
    )
    with private_connection(engine, beside=work) as connection:
        connection.execute(query)
        connection.execute(f"COPY reference TO '{out}' (FORMAT parquet)")


def _compare(work: Path) -> list[str]:
    """Return the columns in which the two sides differ."""
    ours, theirs = (pd.read_parquet(work / f"{side}.parquet").set_index("user_id") for side in SIDES[:2])
    stated = [name for name in ours if not name.startswith("loyalty_")]  # empty: the shop has no scheme of points
    return [*sorted(set(stated) ^ set(theirs)), *(n for n in stated if n in theirs and not _equal(ours[n], theirs[n]))]


def _equal(ours: pd.Series, theirs: pd.Series) -> bool:
    if not ours.index.equals(theirs.index) or ours.isna().tolist() != theirs.isna().tolist():
        return False
    ours, theirs = ours.dropna(), theirs.dropna()
    if len(ours) and isinstance(ours.iloc[0], np.ndarray):
        kinds = "f" if ours.iloc[0].dtype.kind == "f" else "O"
        left, right = (np.concatenate([list(x) for x in values]) for values in (ours, theirs))
        if kinds == "O":
            return [_text(x) for x in left] == [_text(x) for x in right]
        return bool(np.allclose(left, right, rtol=1e-9, atol=1e-12))
    if pd.api.types.is_numeric_dtype(ours):
        return bool(np.allclose(ours.astype(float), theirs.astype(float), rtol=1e-7, atol=1e-9))
    return list(map(str, ours)) == list(map(str, theirs))


def _text(value: Any) -> str:
    text = str(value)
    return str(int(text)) if text.isdigit() else text


def _row(side: str, runs: dict[str, dict[str, float]]) -> dict[str, Any]:
    run, reference = runs[side], runs["duckdb query"]
    metrics = {
        "wall_s": run["wall_s"],
        "cpu_s": run["cpu_s"],
        "peak_mb": run["peak_mb"],
        "ratio": run["cpu_s"] / reference["cpu_s"],
        "wall_ratio": run["wall_s"] / reference["wall_s"],
    }
    return {
        "model": side,
        "metrics": {name: round(value, 3) for name, value in metrics.items()},
        "fit_cpu_s": round(run["cpu_s"], 2),
        "fit_wall_s": round(run["wall_s"], 2),
        "peak_mb": round(run["peak_mb"]),
        "config": {"base_mb": round(run["base_mb"])},
        "note": "ratio is CPU time over that of the query",
    }


if __name__ == "__main__":
    sys.exit(main())
