"""All features of a hundred million events on two cores within 8 GB, beside one plain sort of the same file.

python benchmarks/scale.py --json OUT --work DIR                        10 and 100 million events
python benchmarks/scale.py --json OUT --work DIR --events 1000000       a quick look

The shop is simulated (``benchmarks/many_events.py``): copies of one shop of 3,000 customers and 12,000 items, each copy with
customers and a catalogue of its own, so that customers and items grow with the events: a million customers and some four
million items at 100 million events. The sort is what anyone would write: one DuckDB ``COPY`` of all columns, ordered by customer
and instant, into Parquet, with the same threads and memory. Each side runs in a process of its own that the system holds to
the limit, where it lets us; the sort runs before and after, and its mean counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow.parquet as pq

from benchmarks.many_events import SEED, Shop, cpu_s, data_directory, peak_mb
from benchmarks.memory_cage import memory_cage
from benchmarks.result import write_result
from features.engine import private_connection
from features.settings import EngineSettings

SHOP: Final = Shop(num_users=3_000, num_items=12_000, num_days=90, own_items=True)
SIDES: Final = ("plain sort", "footfall", "plain sort")
PLOT: Final = Path(__file__).resolve().parents[1] / "docs" / "images" / "scale.svg"
_GB: Final = 1_000_000_000
_SEEN: Final = 0.005  # a stage of less than this share of the time is too thin to be drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000_000, 100_000_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-gb", type=float, default=8, help="of a whole process")
    parser.add_argument("--work", type=Path, required=True, help="keep the events here and use them again")
    parser.add_argument("--side", choices=SIDES, help="internal: run one side and print its measures")
    arguments = parser.parse_args()
    if arguments.side:
        engine = EngineSettings(memory_limit=f"{arguments.memory_gb:g}GB", threads=arguments.threads)
        print(json.dumps(_run(arguments.side, arguments.work, engine)))
        return 0
    rows = [row for num_events in arguments.events for row in _rows(num_events, arguments)]
    for row in rows:
        print(row["surface"], row["model"], row["metrics"], file=sys.stderr)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="scale",
            data="simulated shop, copied: customers and items grow with the events",
            protocol=f"from Parquet to Parquet, {arguments.threads} threads, {arguments.memory_gb:g} GB a process, one process "
            "a side; the sort is DuckDB's of all columns by customer and instant, mean of one before and one after; ratio "
            "is wall time over the sort's; growth is time an event over that of the fewest events",
            seeds=[SEED],
            results=rows,
        )
        _draw(rows, PLOT)
    return 0


def _rows(num_events: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row a side for about so many events."""
    data = arguments.work / f"events-{num_events}"
    if not (data / "shop.yaml").exists():
        data.mkdir(parents=True, exist_ok=True)
        data_directory(data, num_events, EngineSettings(memory_limit="4GB", threads=arguments.threads), SHOP)
    num_events = pq.read_metadata(data / "events.parquet").num_rows
    turns: list[tuple[str, dict[str, Any]]] = [(side, _measure(side, data, arguments)) for side in SIDES]
    sorts = [found for side, found in turns if side == SIDES[0]]
    ours = next(found for side, found in turns if side == "footfall")
    sort = {name: sum(one[name] for one in sorts) / len(sorts) for name in ("wall_s", "cpu_s", "peak_mb")}
    return [_row(side, num_events, found, sort["wall_s"]) for side, found in (("footfall", ours), (SIDES[0], sort))]


def _row(side: str, num_events: int, found: dict[str, Any], sort_s: float) -> dict[str, Any]:
    measured = {name: round(found[name], 1) for name in ("wall_s", "cpu_s", "peak_mb")}
    per_event = {
        "us_per_event": round(found["wall_s"] / num_events * 1e6, 3),
        "ratio": round(found["wall_s"] / sort_s, 3),
    }
    return {
        "model": side,
        "surface": f"{num_events:,} events",
        "metrics": measured | per_event,
        "fit_cpu_s": measured["cpu_s"],
        "fit_wall_s": measured["wall_s"],
        "peak_mb": measured["peak_mb"],
        "config": {name: found[name] for name in ("stages", "counts", "bytes", "held") if name in found}
        | {"events": num_events},
        "note": "",
    }


def _measure(side: str, data: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--work", str(data)]
    command += ["--threads", str(arguments.threads), "--memory-gb", str(arguments.memory_gb)]
    with memory_cage(int(arguments.memory_gb * _GB)) as enter:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=enter)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        side,
        data.name,
        {name: value for name, value in found.items() if name not in ("counts", "bytes")},
        file=sys.stderr,
    )
    return found | {"held": enter is not None}


def _run(side: str, data: Path, engine: EngineSettings) -> dict[str, Any]:
    started, cpu = time.perf_counter(), cpu_s()
    about: dict[str, Any] = {}
    out = data / f"made-{side.replace(' ', '-')}"
    if side == "footfall":
        from features.build import build_features  # noqa: PLC0415 - the sort's memory must not hold it

        manifest = build_features(data, out, engine=engine, rebuild=True)
        about = {"stages": manifest["seconds"], "counts": manifest["counts"], "bytes": _sizes(out)}
        about["bytes"]["events.parquet"] = (data / "events.parquet").stat().st_size
    else:
        out.mkdir()
        _sort(data / "events.parquet", out / "events.parquet", engine)
    wall = time.perf_counter() - started
    shutil.rmtree(out)
    return {"wall_s": wall, "cpu_s": cpu_s() - cpu, "peak_mb": peak_mb()} | about


def _sizes(directory: Path) -> dict[str, int]:
    """Return the bytes of each file or directory in a directory."""
    return {
        one.name: sum(path.stat().st_size for path in (one, *one.rglob("*")) if path.is_file())
        for one in sorted(directory.iterdir())
    }


def _sort(events: Path, out: Path, engine: EngineSettings) -> None:
    with private_connection(engine, beside=out.parent) as connection:
        connection.execute(f"""
            COPY (FROM read_parquet('{events}') ORDER BY user_id, ts) TO '{out}' (FORMAT parquet)""")


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time an event by number of events, both sides, and where ours goes."""
    import matplotlib as mpl  # noqa: PLC0415 - only the last step needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    ours = [row for row in rows if row["model"] == "footfall"]
    sorts = [row for row in rows if row["model"] != "footfall"]
    at = [f"{row['config']['events'] / 1e6:.0f} million" for row in ours]
    colors = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8A6F5A", "#7A8288")
    kept = {
        "svg.fonttype": "none",
        "svg.hashsalt": "footfall",
        "font.size": 10,
        "axes.grid": True,
        "axes.axisbelow": True,
    }
    with mpl.rc_context(kept | {"axes.spines.top": False, "axes.spines.right": False, "grid.color": "#dddddd"}):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        below = [0.0] * len(ours)
        seen = [
            name for name, seconds in ours[-1]["config"]["stages"].items() if seconds > _SEEN * ours[-1]["fit_wall_s"]
        ]
        for color, stage in zip(colors, seen, strict=False):
            parts = [row["config"]["stages"].get(stage, 0) / row["config"]["events"] * 1e6 for row in ours]
            axes.bar(at, parts, 0.4, bottom=below, color=color, label=stage.replace("_", " "))
            below = [low + part for low, part in zip(below, parts, strict=True)]
        axes.plot(at, [row["metrics"]["us_per_event"] for row in sorts], "ks-", label="plain sort")
        axes.plot(at, [row["metrics"]["us_per_event"] for row in ours], "k_", markersize=60)
        axes.set(ylabel="microseconds an event", xlabel="events")
        axes.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
