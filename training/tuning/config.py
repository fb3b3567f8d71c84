"""What a study searches, and how: settings by their dotted names, each with a range or with choices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from features.errors import ConfigError, did_you_mean
from training.demand.config import DemandConfig
from training.retrieval.config import RetrievalConfig

Value = float | int | str | bool
Setting = int | float | str
ModelConfig = RetrievalConfig | DemandConfig
AnyConfig = TypeVar("AnyConfig", bound=ModelConfig)

# Where the searchable settings stand: in groups, or at the top.
_GROUPS: Final[Mapping[type, tuple[str, ...]]] = {RetrievalConfig: ("tower", "loss", "schedule"), DemandConfig: ("",)}
# Trials are only comparable if all are asked the same, and only worth comparing if it could make a difference.
_ASKED: Final = "trials would be asked other questions, so that their scores could not be compared"
_AFTER: Final = "it decides what follows from a forecast, and no score would change"
_SPEED: Final = "it changes how fast a training runs and nothing that it learns"
_LATER: Final = "it moves weights after their fit, and a trial is scored as it was fitted"
_BESIDE: Final = "it is chosen after the network, and a trial is a network alone"
_FIXED: Final[Mapping[type, Mapping[str, str]]] = {
    RetrievalConfig: {
        "schedule.validation_users": _ASKED,
        "schedule.max_tokens": "tuning.trial_tokens is a trial's limit",
    },
    DemandConfig: {
        **dict.fromkeys(("horizon", "validation_windows", "test_windows"), _ASKED),
        **dict.fromkeys(("lead_time_days", "service_levels", "decisions"), _AFTER),
        **dict.fromkeys(("num_threads", "checkpoint_every_steps"), _SPEED),
        **dict.fromkeys(("update_steps", "update_learning_rate", "update_horizons"), _LATER),
        "boosted_trees": _BESIDE,
        "validate_every_steps": "it decides at which points trials are compared",
        "item_vectors": "it names data and is no number",
        "seed": "the luckiest seed is not a better setting",
    },
}


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
    """Return what matters most of the two-tower, within the limits that published and our own ablations leave open."""
    return {
        "schedule.learning_rate": Dimension(low=1e-3, high=1e-2, log=True),
        "loss.temperature": Dimension(low=0.05, high=0.3, log=True),
        "loss.horizon": Dimension(choices=(1, 10, 100, 500)),
        "loss.half_life_days": Dimension(choices=(0.0, 30.0, 60.0, 120.0)),
        "tower.dropout": Dimension(low=0.0, high=0.5),
        "tower.dim": Dimension(choices=(32, 64, 128)),
        "tower.num_layers": Dimension(choices=(1, 2)),
    }


def default_demand_space() -> dict[str, Dimension]:
    """Return what matters most of the demand model; training takes at most twice as long in any corner as by default."""
    return {
        "learning_rate": Dimension(low=1e-3, high=1e-2, log=True),
        "hidden_size": Dimension(choices=(64, 96, 128)),
        "num_layers": Dimension(choices=(1, 2, 3)),
        "dropout": Dimension(low=0.0, high=0.3),
        "num_components": Dimension(choices=(1, 2, 3, 4)),
        "total_weight": Dimension(low=0.05, high=1.0, log=True),
        "volume_power": Dimension(low=0.0, high=1.0),
        "max_steps": Dimension(choices=(200, 400, 800)),
    }


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How a study searches, whatever the model.

    Args:
        space: names of settings, and the values of each.
        pruner: ends a trial early that is worse than the ``median`` of the others when they had come as far, or by
            ``hyperband``; ``none`` lets each run to its end.
        startup_trials: drawn at random before the sampler (TPE) learns from what it has seen.
        seed: of the draws; a trial's settings follow from it and from the trials before.
    """

    space: dict[str, Dimension]
    pruner: Literal["median", "hyperband", "none"] = "median"
    startup_trials: int = 8
    seed: int = 0

    def check(self, model: ModelConfig) -> None:
        """Check that the space names settings of a model that may be searched.

        Raises:
            ConfigError: it names none, or another one; or something else does not fit.
        """
        if not self.space:
            raise ConfigError("tuning.space: expected at least one setting to search, found none.")
        if self.startup_trials < 1:
            raise ConfigError(f"tuning.startup_trials: expected 1 or more, found {self.startup_trials}.")
        if self.pruner not in ("median", "hyperband", "none"):
            raise ConfigError(f"tuning.pruner: expected 'median', 'hyperband' or 'none', found {self.pruner!r}.")
        for name in self.space:
            value_of(model, name)


@dataclass(frozen=True, kw_only=True)
class StudyConfig(SearchConfig):
    """How a study of the two-tower searches.

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

    def __post_init__(self) -> None:
        self.check(RetrievalConfig())
        if self.trial_tokens < 0:
            raise ConfigError(f"tuning.trial_tokens: expected 0 or more, found {self.trial_tokens}.")


@dataclass(frozen=True, kw_only=True)
class DemandStudyConfig(SearchConfig):
    """How a study of the demand model searches.

    Args:
        space: names of the model's settings, and the values of each; not those that change what is asked.
        pruner: ends a trial early whose WQL is above the ``median`` of the others at the same share of their steps,
            or by ``hyperband``; ``none`` lets each run to its end.
        startup_trials: drawn at random before the sampler (TPE) learns from what it has seen.
        seed: of the draws; a trial's settings follow from it and from the trials before.
    """

    space: dict[str, Dimension] = field(default_factory=default_demand_space)

    def __post_init__(self) -> None:
        self.check(DemandConfig())


def value_of(config: ModelConfig, name: str) -> Value:
    """Return a searchable setting by its dotted name.

    Raises:
        ConfigError: there is no such setting, or searching it would say nothing about the model.
    """
    fixed, known = _FIXED[type(config)], _settings(config)
    for setting in (name, name.partition(".")[0]):  # decisions.review_days, and decisions as a whole
        if setting in fixed:
            raise ConfigError(f"tuning.space: expected no {name!r}, found it: {fixed[setting]}; set it for all trials.")
    if name not in known:
        where = ", ".join(group for group in _GROUPS[type(config)] if group) or "the model"
        raise ConfigError(
            f"tuning.space: expected a setting of {where} that does not change what is asked, found {name!r}."
            f"{did_you_mean(name, [one for one in known if one not in fixed])}"
        )
    return known[name]


def _settings(config: ModelConfig) -> dict[str, Value]:
    """Return the plain settings of a model by dotted name."""
    found: dict[str, Value] = {}
    for group in _GROUPS[type(config)]:
        holder = getattr(config, group) if group else config
        values = {one.name: getattr(holder, one.name) for one in dataclasses.fields(holder)}
        prefix = f"{group}." if group else ""
        found |= {prefix + name: value for name, value in values.items() if isinstance(value, (int, float, str))}
    return found


def with_settings(config: AnyConfig, values: Mapping[str, Value]) -> AnyConfig:
    """Return the settings with some of them replaced, by dotted names.

    >>> with_settings(RetrievalConfig(), {"tower.dim": 32, "tower.dropout": 0.1}).tower.dim
    32
    >>> with_settings(DemandConfig(), {"dropout": 0.2}).dropout
    0.2

    Raises:
        ConfigError: the values do not go together.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, setting = name.rpartition(".")
        groups.setdefault(group, {})[setting] = value
    replaced: dict[str, Any] = groups.pop("", {})
    for group, settings in groups.items():
        replaced[group] = dataclasses.replace(getattr(config, group), **settings)
    return dataclasses.replace(config, **replaced)
