"""The one JSON object that every benchmark writes."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.release.part import git_revision


def write_result(
    path: Path,
    *,
    benchmark: str,
    data: str,
    protocol: str,
    seeds: Sequence[int],
    results: Sequence[dict[str, Any]],
) -> None:
    """Write ``{"benchmark", "data", "protocol", "seeds", "git", "machine", "results": [row, ...]}``.

    A row is ``{"model", "metrics", "interval", "per_seed", "fit_cpu_s", "fit_wall_s", "peak_mb", "config", "note"}``.
    """
    value = {
        "benchmark": benchmark,
        "data": data,
        "protocol": protocol,
        "seeds": list(seeds),
        "git": git_revision(),
        "machine": {
            "processor": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "results": list(results),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
