"""Funnel, retention, sessions and attribution over many events, beside hand-written DuckDB SQL for the same answer.

python benchmarks/insight.py --json OUT                        10 million events
python benchmarks/insight.py --json OUT --events 1000000       a quick look

The events are those of ``benchmarks/many_events.py``. The SQL stands in ``benchmarks/insight_NAME.sql``;
sessions are found by the pause between events, as if none had an id. Both sides
read the same event log from Parquet and write their answer as one Parquet file, each in a process of its own; sides
take turns, so that a busy machine troubles both, and the answers are compared row by row.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import numpy as np
import pandas as pd

from benchmarks.many_events import SEED, cpu_s, event_log, peak_mb
from benchmarks.result import write_result
from features import columns as c
from features.engine import private_connection, sql_text
from features.event_log import EventLog
from features.insight.attribution import JourneyCounts
from features.insight.attribution.rules import SHARES, rule_credits
from features.insight.funnels.attempts import funnel
from features.insight.funnels.definition import FunnelDefinition
from features.insight.retention import RetentionDefinition, retention
from features.settings import EngineSettings
from features.tables.sessions import session_events

Rows = duckdb.DuckDBPyRelation


def _funnel(rows: Rows, _: EventLog) -> Rows:
    return funnel(rows, FunnelDefinition.parse({"steps": ["view", "cart", "purchase"]}, where="funnel"))


def _retention(rows: Rows, log: EventLog) -> pd.DataFrame:
    """Return cohort, period, customers, returned where any did."""
    table = retention(rows, RetentionDefinition(), last_day=log.last_day)
    table = table.assign(returned=table["so_far"])
    return table[table["returned"] > 0][["cohort", "period", "customers", "returned"]]


def _sessions(rows: Rows, _: EventLog) -> Rows:
    return session_events(rows.select("* REPLACE (NULL::VARCHAR AS session_id)"), gap_minutes=30)


def _attribution(rows: Rows, _: EventLog) -> pd.DataFrame:
    """Return paths and every rule's credit: kind, name, converted, number, revenue."""
    counts = JourneyCounts.of_events(rows)
    steps = itertools.pairwise(counts.offsets)
    paths = pd.DataFrame(
        {
            "kind": "path",
            "name": [" > ".join(counts.touches[code] for code in counts.step[a:b]) for a, b in steps],
            "converted": counts.converted.astype(int),
            "number": counts.journeys,
            "revenue": counts.revenue,
        }
    )
    credit = {rule: rule_credits(counts, rule).sum(axis=0) for rule in (*SHARES, "time_decay")}
    rules = [
        pd.DataFrame({"kind": rule, "name": counts.touches, "converted": 1, "number": of[:, 0], "revenue": of[:, 1]})
        for rule, of in credit.items()
    ]
    return pd.concat([paths.groupby(["kind", "name", "converted"], as_index=False).sum(), *rules])


QUESTIONS: Final[dict[str, Callable[[Rows, EventLog], Any]]] = {
    "funnel": _funnel,
    "retention": _retention,
    "sessions": _sessions,
    "attribution": _attribution,
}
SIDES: Final = ("footfall", "duckdb query")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="keep the events here and use them again")
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--side", choices=SIDES, help="internal: run one side and print its measures")
    arguments = parser.parse_args()
    engine = EngineSettings(memory_limit=arguments.memory, threads=arguments.threads)
    if arguments.side:
        print(json.dumps(_run(arguments.questions[0], arguments.side, arguments.work, engine)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        log = event_log(work, arguments.events, engine)
        rows = [row for question in arguments.questions for row in _rows(question, work, arguments)]
    for row in rows:
        print(row["surface"], row["model"], row["metrics"], file=sys.stderr)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="insight",
            data=f"simulated shop, {log.num_events:,} events of {log.num_users:,} users",
            protocol=f"one process a side, {arguments.threads} threads, memory limit {arguments.memory}, median of "
            f"{arguments.repeats} turns, from Parquet to Parquet; answers compared row by row; ratio is wall time over "
            "that of the query in the same turn, median",
            seeds=[SEED],
            results=rows,
        )
    return 0 if all(row["metrics"]["equal"] for row in rows) else 1


def _rows(question: str, work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run both sides by turns and return their rows."""
    turns = [{side: _measure(question, side, work, arguments) for side in SIDES} for _ in range(arguments.repeats)]
    equal = _equal(*(pd.read_parquet(_answer(work, question, side)) for side in SIDES))
    return [_row(question, side, turns, equal) for side in SIDES]


def _measure(question: str, side: str, work: Path, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--questions", question, "--work", str(work)]
    command += ["--threads", str(arguments.threads), "--memory", arguments.memory]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run(question: str, side: str, work: Path, engine: EngineSettings) -> dict[str, float]:
    base_mb, started, cpu = peak_mb(), time.perf_counter(), cpu_s()
    log, out = EventLog.open(work / "event_log.parquet"), _answer(work, question, side)
    with private_connection(engine, beside=work) as connection:
        if side == "footfall":
            answer = QUESTIONS[question](log.relation(connection, purpose=c.ANALYTICS), log)
        else:
            query = Path(__file__).with_name(f"insight_{question}.sql").read_text(encoding="utf-8")
            events = f"(FROM read_parquet({sql_text(log.path)}) WHERE {c.FOR_ANALYTICS})"
            answer = connection.sql(query.replace("{log}", sql_text(log.path)).replace("{events}", events))
        if isinstance(answer, pd.DataFrame):
            answer.to_parquet(out, index=False)
        else:
            connection.sql("FROM answer").write_parquet(str(out))
    return {"wall_s": time.perf_counter() - started, "cpu_s": cpu_s() - cpu, "peak_mb": peak_mb(), "base_mb": base_mb}


def _answer(work: Path, question: str, side: str) -> Path:
    return work / f"{question}-{side.split(maxsplit=1)[0]}.parquet"


def _equal(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Whether all columns of the query hold the same in both, whatever the order of rows."""
    names = list(theirs.columns)
    ours, theirs = (_sorted(frame[names]) for frame in (ours, theirs))
    if len(ours) != len(theirs):
        return False
    return all(_same(ours[name], theirs[name]) for name in names)


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    floats = [name for name in frame if pd.api.types.is_float_dtype(frame[name])]
    keys = [name for name in frame if name not in floats] or list(frame.columns)
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def _same(one: pd.Series, other: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(one) or pd.api.types.is_datetime64_any_dtype(other):
        return bool((pd.to_datetime(one) == pd.to_datetime(other)).all())
    if pd.api.types.is_numeric_dtype(one):
        return bool(np.allclose(one.astype(float), other.astype(float), rtol=1e-9, atol=1e-9, equal_nan=True))
    return bool((one.astype(str) == other.astype(str)).all())


def _row(question: str, side: str, turns: list[dict[str, dict[str, float]]], equal: bool) -> dict[str, Any]:
    runs = [turn[side] for turn in turns]
    ratios = [turn[side]["wall_s"] / turn[SIDES[1]]["wall_s"] for turn in turns]
    cpu_ratios = [turn[side]["cpu_s"] / turn[SIDES[1]]["cpu_s"] for turn in turns]
    metrics = {name: round(statistics.median(run[name] for run in runs), 3) for name in ("wall_s", "cpu_s", "peak_mb")}
    metrics |= {"ratio": round(statistics.median(ratios), 3), "cpu_ratio": round(statistics.median(cpu_ratios), 3)}
    return {
        "surface": question,
        "model": side,
        "metrics": {**metrics, "equal": equal},
        "interval": {"ratio": [round(min(ratios), 3), round(max(ratios), 3)]},
        "fit_cpu_s": metrics["cpu_s"],
        "fit_wall_s": metrics["wall_s"],
        "peak_mb": round(metrics["peak_mb"]),
        "config": {"base_mb": round(statistics.median(run["base_mb"] for run in runs))},
        "note": "interval: least and largest of the turns",
    }


if __name__ == "__main__":
    sys.exit(main())
