"""The same shop under both protocols: the last weeks held out for all, and each customer's last event held out.

    python benchmarks/protocols.py synthetic --users 5000 --items 1000 --days 180 --work DIR --json OUT
    python benchmarks/protocols.py complete-journey --work DIR --json OUT

Each protocol has its own training. A model that was trained for one cannot be asked the other's questions: most
customers' last event lies before the global cut-off, where the global-temporal model has learned from it.

The two differ in what they ask. Global temporal: what a customer buys in the four weeks after the cut-off, by models
that know nothing from the eight weeks before the log's end. Leave-one-out: one event, whatever its kind, by models
that have learned from what others did after it. So leave-one-out figures stand beside published ones, and
global-temporal ones say what a shop can expect.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.shop import describe, parser_of, rows_of, write_data
from features.build import build_features
from features.settings import EngineSettings
from training.evaluation.retrieval import evaluate_retrieval
from training.retrieval.config import RetrievalConfig, ScheduleConfig, SplitConfig
from training.retrieval.fit import train_retrieval

PROTOCOLS: Final = ("global_temporal", "leave_one_out")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--epochs", type=int, default=ScheduleConfig().max_epochs)
    arguments = parser.parse_args()
    work: Path = arguments.work
    if not (work / "data").exists():
        write_data(arguments)
    if not (work / "features").exists():
        build_features(work / "data", work / "features", engine=EngineSettings(threads=1))
    write_result(
        arguments.json,
        benchmark="protocols",
        data=describe(arguments),
        protocol="Both, each with its own training: global temporal (the last 28 days) and leave-one-out, strict",
        seeds=[arguments.seed],
        results=[row for protocol in PROTOCOLS for row in measure(arguments, protocol)],
    )


def measure(arguments: argparse.Namespace, protocol: str) -> list[dict[str, Any]]:
    """Train and score under one protocol; return a row a model and table, marked with the protocol."""
    work: Path = arguments.work
    assert protocol in PROTOCOLS
    config = RetrievalConfig(
        seed=arguments.seed,
        refit=False,
        split=SplitConfig(protocol="leave_one_out" if protocol == "leave_one_out" else "global_temporal"),
        schedule=ScheduleConfig(max_epochs=arguments.epochs),
    )
    cpu, wall = time.process_time(), time.perf_counter()
    trained = train_retrieval(work / "features", work / "store", config)
    cost = {"fit_cpu_s": time.process_time() - cpu, "fit_wall_s": time.perf_counter() - wall}
    found = evaluate_retrieval(work / "features", work / "store", run_id=trained["run_id"])
    report = json.loads(Path(found["report"]).with_suffix(".json").read_text(encoding="utf-8"))
    rows = [row for table in report["tables"] for row in rows_of(table, report, config, cost)]
    label = report["protocol"]["label"]
    return [row | {"protocol": protocol, "note": f"{label}; {row['note']}"} for row in rows]


if __name__ == "__main__":
    main()
