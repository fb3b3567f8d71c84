"""Write ``docs/benchmarks.md`` and the tables of other pages from the result files: no figure is typed by hand.

python benchmarks/tables.py            # after new results
python benchmarks/tables.py --check    # exit 1 where the page is not what the files say
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import demand_tables, insight_tables, retrieval_tables, scale_plan, serving_tables

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
PAGE: Final = HERE.parent / "docs" / "benchmarks.md"
RETRIEVAL_PAGE: Final = HERE.parent / "docs" / "retrieval.md"
SCALE_PAGE: Final = HERE.parent / "docs" / "scale.md"
# The metric whose paired difference stands in the table.
COMPARED: Final = ("recall@20", "ndcg@10", "wql", "hit@10", "median_error")
# Whose difference it is, where it is not the project's own row.
OURS: Final = {"retrieval ablations": "reference", "event heads": "one vector, views at 0.5"}
_LARGE: Final = 1000  # counts and megabytes, shown whole
_INTRODUCTION: Final = """# Benchmarks

Written by `python benchmarks/tables.py` from `benchmarks/results/*.json`. Figures in brackets are 95% intervals.
Every script under `benchmarks/` writes one such file; each says what it measures, on what data, and how to run it again.
Times are those of the machine named below the table; compare models within a table, not across machines.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args()
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    pages = {PAGE: render(results)}
    for page, tables in ((RETRIEVAL_PAGE, retrieval_tables), (SCALE_PAGE, scale_plan)):
        pages[page] = tables.fill(page.read_text(encoding="utf-8"), results)
    if not arguments.check:
        for path, text in pages.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for name in stale:
        print(f"{name}: not what the result files say; run `python benchmarks/tables.py`.", file=sys.stderr)
    return 1 if stale else 0


def render(results: list[dict[str, Any]]) -> str:
    """Return the page: one section a result file.

    Args:
        results: objects as ``result.write_result`` writes them.
    """
    return "\n".join([_INTRODUCTION, *(_section(result) for result in results)])


def _section(result: dict[str, Any]) -> str:
    lines = [
        f"## {result['benchmark']}: {result['data']}",
        "",
        f"{result['protocol'].rstrip('.')}. Seeds: {', '.join(map(str, result['seeds'])) or 'none'}.",
        "",
    ]
    if result["benchmark"] in serving_tables.BENCHMARKS:
        lines += [*serving_tables.lines(result), ""]
        return "\n".join([*lines, *_measured_on(result)])
    if result["benchmark"] in insight_tables.BENCHMARKS:
        lines += [*insight_tables.lines(result), ""]
        return "\n".join([*lines, *_measured_on(result)])
    for _, rows in itertools.groupby(result["results"], key=lambda row: row.get("surface")):
        lines += [*_table(result, list(rows)), ""]
    lines += [
        *(demand_tables.lines(result) if result["benchmark"] == "demand" else []),
        *_picture(result["benchmark"]),
        *_measured_on(result),
    ]
    return "\n".join(lines)


def _measured_on(result: dict[str, Any]) -> list[str]:
    return [f"Code {result['git']}; {result['machine']['cores']} cores, {result['machine']['processor']}.", ""]


def _table(result: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one table; a benchmark of several surfaces has a table for each."""
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    compared = next((name for name in COMPARED if any(name in (row.get("difference") or {}) for row in rows)), None)
    header = [
        "model",
        *names,
        *([f"{OURS.get(result['benchmark'], 'footfall')} less this, {compared}"] if compared else []),
        "CPU s",
        "note",
    ]
    return [
        _line(header),
        _line(["---", *["---:"] * (len(header) - 2), "---"]),
        *(_line(_cells(row, names, compared)) for row in rows),
    ]


def _cells(row: dict[str, Any], names: list[str], compared: str | None) -> list[str]:
    metrics = [_metric(row, name) for name in names]
    return [
        row["model"],
        *metrics,
        *([_difference(row, compared)] if compared else []),
        _seconds(row),
        row.get("note", ""),
    ]


def _difference(row: dict[str, Any], name: str) -> str:
    value = (row.get("difference") or {}).get(name)
    return f"{value['mean']:+.4f} ({value['low']:+.4f}, {value['high']:+.4f})" if value else ""


def _picture(benchmark: str) -> list[str]:
    """The drawing of a benchmark that made one."""
    name = f"{benchmark.replace(' ', '-')}.svg"
    return [f"![{benchmark}](images/{name})", ""] if (PAGE.parent / "images" / name).exists() else []


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _metric(row: dict[str, Any], name: str) -> str:
    value = row["metrics"].get(name)
    if value is None:
        return ""
    interval = (row.get("interval") or {}).get(name)
    bounds = f" ({interval[0]:.4f}, {interval[1]:.4f})" if interval else ""
    shown = f"{value:.4f}" if abs(value) < _LARGE else f"{value:,.0f}"
    return f"{shown}{bounds}"


def _seconds(row: dict[str, Any]) -> str:
    value = row.get("fit_cpu_s")
    return "" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
