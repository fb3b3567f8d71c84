"""The recommend call's work in a loop, without HTTP: prints one JSON object of metrics by model.

python benchmarks/serving_in_process.py STORE K
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import numpy as np

from benchmarks.serving_bodies import Bodies
from benchmarks.serving_peers import Ranking
from serving.api.schemas import RecommendRequest

_SECONDS: Final = 1.0
_BATCH: Final = 32


def main() -> None:
    store, k = Path(sys.argv[1]), int(sys.argv[2])
    ranking, bodies = Ranking(store), Bodies(store).with_events(k=k)
    requests = [msgspec.json.decode(body, type=RecommendRequest) for body in bodies]
    singles = [ranking.sequences([request]) for request in requests]
    batches = [requests[at : at + _BATCH] for at in range(0, len(requests) - _BATCH + 1, _BATCH)]
    together = [ranking.sequences(batch) for batch in batches]
    body_batches = [bodies[at : at + _BATCH] for at in range(0, len(bodies) - _BATCH + 1, _BATCH)]
    found = {
        "in_process of 1": _timed(ranking.answer, bodies, each=1),
        "in_process of 32": _timed(ranking.answer_all, body_batches, each=_BATCH),
        "in_process_ranking of 1": _timed(lambda one: ranking.rank(one, [k]), singles, each=1),
        "in_process_ranking of 32": _timed(lambda one: ranking.rank(one, [k] * _BATCH), together, each=_BATCH),
    }
    print(json.dumps(found))


def _timed(call: Callable[[Any], object], arguments: Sequence[Any], *, each: int) -> dict[str, float]:
    for argument in arguments[:3]:
        call(argument)
    took: list[float] = []
    started, cpu = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - started < _SECONDS:
        call(arguments[len(took) % len(arguments)])
        took.append(time.perf_counter() - now)
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    return {
        "requests_per_s": len(took) * each / sum(took),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "errors": 0,
        "server_cpu_us": 1e6 * (time.process_time() - cpu) / (len(took) * each),
    }


if __name__ == "__main__":
    main()
