"""What a study searches, and how: settings by their dotted names, each with a range or with choices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from features.errors import ConfigError, did_you_mean
from training.retrieval.config import RetrievalConfig

Value = float | int | str | bool
Setting = int | float | str

# What these hold decides what is asked in the validation window; trials are only comparable if it stays.
_SEARCHED: Final = ("tower", "loss", "schedule")
_FIXED: Final = frozenset({"schedule.validation_users", "schedule.max_tokens"})


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values that one setting may take: a range, or choices.

    Args:
        low: least value of the range.
        high: greatest value of the range; whole numbers for a setting that counts.
        log: draw the range evenly on a logarithmic scale.
        choices: the values, where they are no range.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Setting, ...] = ()

    def __post_init__(self) -> None:
        ranged = self.low is not None and self.high is not None
        if ranged == bool(self.choices):
            raise ConfigError(
                f"space: expected either low and high or choices, found low {self.low}, high {self.high}, "
                f"choices {list(self.choices)}."
            )
        if self.low is None or self.high is None:
            return
        if self.low >= self.high or (self.log and self.low <= 0) or not math.isfinite(self.high):
            raise ConfigError(
                f"space: expected low < high, and low > 0 on a logarithmic scale, found {self.low} and {self.high}."
            )


def default_space() -> dict[str, Dimension]:
    """Return what matters most, within the limits that published and our own ablations leave open."""
    return {
        "schedule.learning_rate": Dimension(low=1e-3, high=1e-2, log=True),
        "loss.temperature": Dimension(low=0.05, high=0.3, log=True),
        "loss.horizon": Dimension(choices=(1, 10, 100, 500)),
        "loss.half_life_days": Dimension(choices=(0.0, 30.0, 60.0, 120.0)),
        "tower.dropout": Dimension(low=0.0, high=0.5),
        "tower.dim": Dimension(choices=(32, 64, 128)),
        "tower.num_layers": Dimension(choices=(1, 2)),
    }


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """How a study searches.

    Args:
        space: dotted names of settings under ``tower``, ``loss`` and ``schedule``, and the values of each.
        trial_tokens: real positions that a trial learns from at most; 0 for the model's own limit.
        pruner: ends a trial early that is below the ``median`` of the others at the same validation, or by
            ``hyperband``; ``none`` lets each run to its end.
        startup_trials: drawn at random before the sampler (TPE) learns from what it has seen.
        seed: of the draws; a trial's settings follow from it and from the trials before.
    """

    space: dict[str, Dimension] = field(default_factory=default_space)
    trial_tokens: int = 500_000
    pruner: Literal["median", "hyperband", "none"] = "median"
    startup_trials: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.space:
            raise ConfigError("tuning.space: expected at least one setting to search, found none.")
        if self.trial_tokens < 0 or self.startup_trials < 1:
            raise ConfigError(
                "tuning: expected trial_tokens of at least 0 and startup_trials of at least 1, "
                f"found {self.trial_tokens} and {self.startup_trials}."
            )
        if self.pruner not in ("median", "hyperband", "none"):
            raise ConfigError(f"tuning.pruner: expected 'median', 'hyperband' or 'none', found {self.pruner!r}.")
        for name in self.space:
            value_of(RetrievalConfig(), name)


def value_of(config: RetrievalConfig, name: str) -> Value:
    """Return a searchable setting by its dotted name.

    Raises:
        ConfigError: there is no such setting, or it decides what is asked.
    """
    known = [
        f"{group}.{setting.name}"
        for group in _SEARCHED
        for setting in dataclasses.fields(getattr(config, group))
        if isinstance(getattr(getattr(config, group), setting.name), (int, float, str))
    ]
    if name not in known or name in _FIXED:
        open_ = [setting for setting in known if setting not in _FIXED]
        raise ConfigError(
            f"tuning.space: expected a setting of {', '.join(_SEARCHED)} that does not change what is asked, found {name!r}."
            f"{did_you_mean(name, open_)}"
        )
    group, setting_name = name.split(".")
    value: Value = getattr(getattr(config, group), setting_name)
    return value


def with_settings(config: RetrievalConfig, values: Mapping[str, Value]) -> RetrievalConfig:
    """Return the settings with some of them replaced, by dotted names.

    >>> with_settings(RetrievalConfig(), {"tower.dim": 32, "tower.dropout": 0.1}).tower.dim
    32

    Raises:
        ConfigError: the values do not go together.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, setting = name.split(".")
        groups.setdefault(group, {})[setting] = value
    replaced: dict[str, Any] = {
        group: dataclasses.replace(getattr(config, group), **settings) for group, settings in groups.items()
    }
    return dataclasses.replace(config, **replaced)
