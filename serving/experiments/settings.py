"""Where the experiments are, and what is kept of what was shown."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from features.errors import ConfigError
from features.release.layout import EXPOSURES_DIRECTORY


class ExperimentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Experiments and the log of exposures.

    Args:
        path: YAML file of experiments, read again when it changes; none run where empty.
        exposures: directory of the log of what was shown in experiments; inside the store where empty.
        flush_seconds: what a killed process may lose of that log.
        keep_days: days of it that are kept; the service deletes older ones within the hour. 0 keeps all.
    """

    path: str = ""
    exposures: str = ""
    flush_seconds: float = 1.0
    keep_days: int = 365

    def __post_init__(self) -> None:
        if not 0 < self.flush_seconds < math.inf:
            raise ConfigError(f"experiments.flush_seconds: expected a number above 0, found {self.flush_seconds}.")
        if self.keep_days < 0:
            raise ConfigError(f"experiments.keep_days: expected 0 or more, found {self.keep_days}.")

    def resolved(self, store: Path) -> ExperimentSettings:
        """Return the settings with files and directories named outright, for workers that start elsewhere."""
        path = str(Path(self.path).resolve()) if self.path else ""
        log = Path(self.exposures) if self.exposures else store / EXPOSURES_DIRECTORY
        return msgspec.structs.replace(self, path=path, exposures=str(log.resolve()))
