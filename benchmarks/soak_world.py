"""What the clients of benchmarks/soak.py share, and what they see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from features.release import Part, PartKind, ReleaseStore
from serving.process.fork_parent import WORKER_NAME


@dataclass(kw_only=True)
class Seen:
    """What the clients saw.

    Args:
        statuses: answers by call and status.
        broken: connections that broke though their worker lived, in words.
        broken_by_kill: connections that broke with their worker.
        went_back: answers by a release older than one that was seen when the request was sent.
        flipped: answers by another variant than the customer had, or by none, once the experiment ran.
        rollback_s: seconds until every worker had gone back, of each rollback.
        acknowledged: events that the server said it keeps, by id.
        latencies: of recommendations: when it was sent, and seconds until the answer.
        swaps: of each: when it was promoted, and when every worker had turned.
        memory: seconds since the start, and MB of supervisor and workers together.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    broken_by_kill: int = 0
    went_back: int = 0
    flipped: int = 0
    in_experiment: Counter[str] = field(default_factory=Counter)
    rollback_s: list[float] = field(default_factory=list)
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost: int = 0
    latencies: list[tuple[float, float]] = field(default_factory=list)
    swaps: list[tuple[float, float]] = field(default_factory=list)
    kills: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def num_5xx(self) -> int:
        """Answers that blame the server."""
        return sum(number for name, number in self.statuses.items() if name.rsplit(" ", 1)[1].startswith("5"))

    def problems(self, *, slope: float) -> list[str]:
        """Return what should not have been, in words.

        Args:
            slope: limit of the growth of memory, MB a minute.
        """
        counts = {
            "answers blame the server": self.num_5xx,
            "connections broke though their worker lived": len(self.broken),
            "answers went back to an older release": self.went_back,
            "answers went back and forth between variants": self.flipped,
            "acknowledged events were lost": self.lost,
        }
        found = [f"{number} {what}" for what, number in counts.items() if number]
        grown = slope_of(self.memory)
        return found + ([f"memory grew by {grown:.2f} MB a minute, {slope:g} allowed"] if grown > slope else [])

    def metrics(self) -> dict[str, Any]:
        """Return what is counted, and quantiles of recommendations while a release is loaded and otherwise."""
        loading = [s for at, s in self.latencies if any(a <= at <= b for a, b in self.swaps)]
        otherwise = [s for at, s in self.latencies if not any(a <= at <= b for a, b in self.swaps)]
        return {
            "requests": sum(self.statuses.values()),
            "statuses": dict(sorted(self.statuses.items())),
            "num_5xx": self.num_5xx,
            "broken": len(self.broken),
            "broken_by_kill": self.broken_by_kill,
            "went_back": self.went_back,
            "flipped": self.flipped,
            "answers_by_variant": dict(self.in_experiment),
            "rollback_s": [round(one, 2) for one in self.rollback_s],
            "events_acknowledged": len(self.acknowledged),
            "events_lost": self.lost,
            "swaps": len(self.swaps),
            "swap_s": _quantiles([b - a for a, b in self.swaps], scale=1.0),
            "kills": self.kills,
            "recommend_ms": _quantiles(otherwise),
            "recommend_while_loading_ms": _quantiles(loading),
            "memory_mb": {"first": self.memory[0][1], "last": self.memory[-1][1]} if self.memory else {},
            "memory_by_quarter_mb": by_quarter(self.memory),
            "memory_slope_mb_per_min": round(slope_of(self.memory), 3),
        }


@dataclass(kw_only=True)
class World:
    """What the clients draw from, and what they share.

    Args:
        port: of the server.
        pid: of its supervisor.
        store: whose current release is changed.
        parts: versions of each part to make releases of.
        num_users: customers are ``user-0`` and on.
        num_items: items are ``item-0`` and on.
        rate: requests a second, all clients together.
        num_clients: connections.
        beside: release that half of the customers get of surface trending, by an experiment; none where empty.
    """

    port: int
    pid: int
    store: ReleaseStore
    parts: dict[PartKind, list[Part]]
    num_users: int
    num_items: int
    rate: float
    num_clients: int = 16
    beside: str = ""
    seen: Seen = field(default_factory=Seen)
    order: dict[str, float] = field(default_factory=dict)  # place of release ids, in the order in which they serve
    newest: float = 0.0  # place of the newest release that an answer has named
    doomed: set[int] = field(default_factory=set)  # client ports whose worker was killed
    variants: dict[str, str] = field(default_factory=dict)  # by customer
    is_tried: bool = False  # somebody has been answered by the experiment
    is_over: bool = False


def parts_of(store: ReleaseStore) -> dict[PartKind, list[Part]]:
    """Return all parts of a store, by kind."""
    kinds: tuple[PartKind, ...] = ("retrieval", "customers", "demand")
    return {kind: store.parts(kind) for kind in kinds}


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the living workers of a supervisor."""
    children = psutil.Process(pid).children()
    return [one for one in children if one.status() != psutil.STATUS_ZOMBIE and one.name() == WORKER_NAME]


def pss_mb(pid: int) -> float:
    """Return the proportional memory of a supervisor and its workers."""
    total = 0
    for one in [pid, *(child.pid for child in psutil.Process(pid).children())]:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(total / 1024, 1)


def _quantiles(values: Sequence[float], *, scale: float = 1e3) -> dict[str, float]:
    if not values:
        return {}
    p50, p99, worst = np.quantile(values, [0.5, 0.99, 1.0]) * scale
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(worst), 2), "n": len(values)}


def slope_of(series: Sequence[tuple[float, float]]) -> float:
    """Return the growth of the second half, MB a minute; the first holds what is loaded once.

    The median slope of all pairs (Theil 1950): a worker that is killed takes 300 MB with it for seconds, which a line of
    least squares follows.
    """
    half = np.array(series[len(series) // 2 :])
    if len(half) < 3:
        return 0.0
    first, second = np.triu_indices(len(half), k=1)
    risen = half[second] - half[first]
    return float(np.median(risen[:, 1] / (risen[:, 0] / 60)))


def by_quarter(series: Sequence[tuple[float, float]]) -> list[float]:
    """Return the median of each quarter, MB: whether what grows levels off."""
    return [round(float(np.median(part)), 1) for part in np.array_split([mb for _, mb in series], 4) if len(part)]
