"""The stretch of time that models are scored on, and which attempts on it have been made.

Whoever scores twenty configurations on one window and takes the best has picked some luck as well.
So each configuration that is scored on a window leaves a small file in the store, and an interval
that a decision rests on widens with their number.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from features.build import FeatureSet
from features.files import read_json, write_json
from features.release import Part, PartKind
from features.splits import Split
from training.demand.config import DemandConfig
from training.retrieval.config import RetrievalConfig

ATTEMPTS_DIRECTORY: Final = "attempts"
# Settings of a training that change how fast it runs, or how often it can be taken up, and nothing it learns.
_MECHANICAL: Final = frozenset({"threads", "checkpoint_steps", "num_threads", "checkpoint_every_steps", "compute"})
# Settings of a demand training that decide what follows from its forecasts, and change none of them.
_AFTER_FORECASTS: Final = frozenset({"decisions", "service_levels", "lead_time_days"})
# Settings with settings of their own; event weights are a value.
_GROUPS: Final = frozenset({"tower", "loss", "schedule", "split"})


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a model is scored on.

    Args:
        data_fingerprint: of the features.
        protocol: how the log was cut; ``rolling_origin`` for forecasts, from the first origin to the panel's end.
        from_us: first instant, UTC microseconds; 0 where each user's last event is asked for.
        until_us: first instant after it; 0 as above.
    """

    data_fingerprint: str
    protocol: Literal["leave_one_out", "global_temporal", "rolling_origin"]
    from_us: int
    until_us: int

    @classmethod
    def of(cls, features: FeatureSet, split: Split) -> Window:
        """Return the test window of a split of these features."""
        last_us = int(features.sequences.ts.max(initial=0))
        return cls(
            data_fingerprint=features.fingerprint,
            protocol=split.protocol,
            from_us=split.cutoffs_us[1] if split.cutoffs_us else 0,
            until_us=last_us + 1 if split.cutoffs_us else 0,
        )

    @property
    def label(self) -> str:
        """In words, in UTC."""
        if not self.until_us:
            return f"each customer's last event in data {self.data_fingerprint[:12]}"
        return f"{instant(self.from_us)} to {instant(self.until_us - 1)}"

    def overlaps(self, other: Window) -> bool:
        """Whether some answers may be the same: a common stretch of time, or the same data."""
        in_time = self.until_us and other.until_us and self.from_us < other.until_us and other.from_us < self.until_us
        return bool(in_time) or self.data_fingerprint == other.data_fingerprint


def configuration_of(part: Part) -> dict[str, Any]:
    """Return all that decides, beside the data, what a part has learned; the seed too, or luck could be picked.

    A setting that did not exist when the part was trained stands at its default, or an upgrade would make every refresh
    another configuration.
    """
    about = part.about
    if part.kind == "demand":
        settings = {**dataclasses.asdict(DemandConfig()), **about.get("settings", {})}
        return {
            "config": _plain(_without(settings, _MECHANICAL | _AFTER_FORECASTS)),
            "frequency": about.get("frequency"),
        }
    return {
        "config": _without(_filled(about.get("config", {}), dataclasses.asdict(RetrievalConfig())), _MECHANICAL),
        "event_types": about.get("event_types"),
        "num_price_bands": about.get("num_price_bands"),
    }


def configuration_digest(part: Part) -> str:
    """Return 16 hex digits that two parts share if they differ in their data alone."""
    text = json.dumps(configuration_of(part), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class AttemptLedger:
    """Which configurations a store has scored on which windows, a file each; the same attempt again changes nothing.

    Args:
        root: of the release store.
        kind: of the parts; attempts of one kind say nothing of the luck of another.
    """

    root: Path
    kind: PartKind = "retrieval"

    def record(self, window: Window, part: Part) -> None:
        """Note that a part's configuration is scored on the window."""
        digest = configuration_digest(part)
        values = {
            "kind": self.kind,
            "configuration": digest,
            "window": dataclasses.asdict(window),
            "first": {"run_id": part.run_id, "version": part.version, "at": dt.datetime.now(dt.UTC).isoformat()},
        }
        name = hashlib.sha256(f"{digest} {json.dumps(values['window'], sort_keys=True)}".encode()).hexdigest()[:24]
        path = self.root / ATTEMPTS_DIRECTORY / f"{name}.json"
        if not path.exists():
            write_json(path, values)

    def configurations(self, window: Window) -> frozenset[str]:
        """Return the digests of all configurations scored on a window that overlaps this one."""
        found = (read_json(path) for path in sorted((self.root / ATTEMPTS_DIRECTORY).glob("*.json")))
        own = (row for row in found if row.get("kind", "retrieval") == self.kind)
        return frozenset(row["configuration"] for row in own if Window(**row["window"]).overlaps(window))


def instant(us: int) -> str:
    """Return UTC microseconds to the minute."""
    return f"{dt.datetime.fromtimestamp(us / 1e6, dt.UTC):%Y-%m-%d %H:%M}"


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings with what they lack taken from the defaults; what is free to name its keys stays."""
    filled = {
        key: _filled(values[key], default)
        if key in values and isinstance(default, Mapping) and key in _GROUPS
        else default
        for key, default in defaults.items()
    }
    return filled | {key: value for key, value in values.items() if key not in _GROUPS}


def _without(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Return nested mappings without the keys named."""
    return {
        key: _without(value, names) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in names
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back: a part that was just made, and one that was read, are alike."""
    return json.loads(json.dumps(value))
