"""Gradient-boosted trees (LightGBM), pinned: the reference that a demand model is measured against.

Shapes: I items, H horizon, N training rows.

=====================  ==========================================================================================
``RecursiveTrees``     one step ahead with a Tweedie loss, fed its own forecasts by mlforecast; counts around the mean
``DirectTrees``        all steps at once, the step being a feature; Tweedie loss; counts around the mean
``QuantileTrees``      all steps at once, one model a level
``Ensemble``           the mean of their means, quantiles and reorder points
=====================  ==========================================================================================

"Counts around the mean" are a negative binomial with one dispersion for all items and another for each length of
total, by moments over windows just before the end of what is fitted, from models that have not seen them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from features.release.layout import QUANTILES
from training.demand.baselines.negative_binomial import dispersion, negative_binomial
from training.demand.baselines.simple import NormalTotals
from training.demand.baselines.tree_features import SPANS, TreeFeatures, training_origins
from training.demand.forecast import Forecast, TotalForecast

Floats = npt.NDArray[np.floating]
Means = Callable[[int], Floats]  # from an origin, [I, H]

PACKAGES: Final = ("lightgbm", "mlforecast")


@dataclass(frozen=True, kw_only=True)
class TreeConfig:
    """Settings of every booster.

    Args:
        num_trees: boosting rounds.
        learning_rate: shrinkage.
        num_leaves: of a tree.
        min_rows: fewest rows of a leaf.
        tweedie_power: of the variance; 1.5 is LightGBM's default.
        stride: periods from one training origin to the next in direct models.
        dispersion_windows: windows of H before the end of what is fitted that give the dispersion.
        threads: LightGBM's.
        seed: LightGBM's; without subsampling it decides on nothing but ties.
    """

    num_trees: int = 150
    learning_rate: float = 0.08
    num_leaves: int = 63
    min_rows: int = 50
    tweedie_power: float = 1.5
    stride: int = 1
    dispersion_windows: int = 4
    threads: int = 1
    seed: int = 0

    def parameters(self, **more: Any) -> dict[str, Any]:
        """Return LightGBM's own names for these."""
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": self.min_rows,
            "verbosity": -1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            **more,
        }

    @property
    def tweedie(self) -> dict[str, Any]:
        """The loss of the models of the mean."""
        return {"objective": "tweedie", "tweedie_variance_power": self.tweedie_power}


# A day differs little from the next: every fourth origin of days (never twice the same weekday in a row), every week.
STRIDES: Final = {"D": 4, "W": 1}


def trees_are_installed() -> bool:
    """Return whether the packages are there."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def library(name: str) -> Any:
    """Return a package of the ``baselines`` extra.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec(name.split(".", maxsplit=1)[0]) is None:
        raise ConfigError(
            f"Boosted trees: expected the package {name!r}, found none; run `pip install footfall[baselines]`, "
            "or leave these baselines out."
        )
    return importlib.import_module(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """Dispersion of single periods, and of totals of the first 1 .. H, ``[H]``."""

    single: float
    total: npt.NDArray[np.float64]

    @classmethod
    def of(cls, means: Means, features: TreeFeatures, origins: Sequence[int]) -> Spread:
        """Measure it over windows that ``means`` has not learnt from."""
        actual = np.stack([features.targets(origin) for origin in origins], axis=1)  # [I, W, H]
        mean = np.stack([means(origin) for origin in origins], axis=1)
        totals = dispersion(actual.cumsum(axis=2), mean.cumsum(axis=2), axis=(0, 1))
        return cls(single=float(dispersion(actual, mean)), total=np.asarray(totals))


@dataclass(frozen=True, kw_only=True, eq=False)
class CountsAround:
    """A model of the mean and the spread around it.

    Args:
        name: of the row in tables.
        means: from an origin, ``[I, H]``.
        spread: of counts.
    """

    name: str
    means: Means
    spread: Spread

    def __call__(self, origin: int) -> Forecast:
        """Return the forecast from an origin."""
        return negative_binomial(self.means(origin), self.spread.single, total_alpha=self.spread.total)

    @classmethod
    def fit(
        cls,
        name: str,
        learn: Callable[[TreeFeatures, int, TreeConfig], Means],
        features: TreeFeatures,
        until: int,
        config: TreeConfig,
    ) -> CountsAround:
        """Learn the mean from everything before ``until``, and the spread from windows just before it."""
        origins = [until - features.horizon * back for back in range(config.dispersion_windows, 0, -1)]
        spread = Spread.of(learn(features, origins[0], config), features, origins)
        return cls(name=name, means=learn(features, until, config), spread=spread)


def direct_trees(features: TreeFeatures, until: int, config: TreeConfig) -> CountsAround:
    """Return trees that forecast every step at once."""
    return CountsAround.fit("lightgbm_direct", learn_direct, features, until, config)


def learn_direct(features: TreeFeatures, until: int, config: TreeConfig) -> Means:
    """Return the means of a direct model that has learnt from everything before ``until``."""
    booster = _booster(_lessons(features, until, config), config, **config.tweedie)
    return lambda origin: _predicted(booster, features, origin)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantileTrees:
    """One booster a level; levels that cross are put in order.

    Quantiles of single periods say nothing of totals: those are taken as normal, with the spread between the first
    and the last level of independent periods.
    """

    features: TreeFeatures
    boosters: tuple[Any, ...]
    levels: tuple[float, ...] = QUANTILES
    name: str = "lightgbm_quantiles"

    @classmethod
    def fit(
        cls, features: TreeFeatures, until: int, config: TreeConfig, *, levels: tuple[float, ...] = QUANTILES
    ) -> QuantileTrees:
        """Learn from everything before ``until``."""
        lessons = _lessons(features, until, config)  # binned once for all levels
        boosters = tuple(_booster(lessons, config, objective="quantile", alpha=level) for level in levels)
        return cls(features=features, boosters=boosters, levels=levels)

    def level_quantiles(self, origin: int) -> npt.NDArray[np.float32]:
        """Return units at each level from an origin, in order, ``[I, H, Q]``."""
        found = [_predicted(booster, self.features, origin) for booster in self.boosters]
        return np.sort(np.stack(found, axis=2), axis=2).astype(np.float32)

    def __call__(self, origin: int) -> Forecast:
        """Return the forecast from an origin; of models of ``layout.QUANTILES``."""
        quantiles = self.level_quantiles(origin)
        mean = quantiles.mean(axis=2)
        scale = (quantiles[..., -1] - quantiles[..., 0]) / (2 * NormalDist().inv_cdf(QUANTILES[-1]))
        return Forecast(mean=mean, quantiles=quantiles, totals=NormalTotals(mean=mean, scale=scale))


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """The mean of several forecasters' means, quantiles and reorder points."""

    members: tuple[Callable[[int], Forecast], ...]
    name: str = "lightgbm_ensemble"

    def __call__(self, origin: int) -> Forecast:
        """Return the forecast from an origin."""
        found = [member(origin) for member in self.members]
        return Forecast(
            mean=np.mean([one.mean for one in found], axis=0),
            quantiles=np.mean([one.quantiles for one in found], axis=0),
            totals=MeanTotals(members=tuple(one.totals for one in found)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanTotals:
    """The mean of several forecasts of totals, level by level."""

    members: tuple[TotalForecast, ...]

    def total_quantiles(
        self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of the next ``periods`` ``[I]``, whole units."""
        found = [member.total_quantiles(periods, levels) for member in self.members]
        mean, quantiles = (np.mean([pair[side] for pair in found], axis=0) for side in (0, 1))
        return mean, np.ceil(quantiles - 1e-6).astype(np.float32)


def _lessons(features: TreeFeatures, until: int, config: TreeConfig) -> Any:
    """Return what a direct model learns from, as LightGBM's data set."""
    first = SPANS[features.panel.frequency][2]
    origins = training_origins(first, until, horizon=features.horizon, stride=config.stride)
    rows, units = features.lessons(list(origins))
    width = rows.shape[1]
    codes = list(range(width - features.num_codes, width))
    return library("lightgbm").Dataset(rows, units, categorical_feature=codes)


def _booster(lessons: Any, config: TreeConfig, **loss: Any) -> Any:
    parameters = config.parameters(num_threads=config.threads, **loss)
    return library("lightgbm").train(parameters, lessons, config.num_trees)


def _predicted(booster: Any, features: TreeFeatures, origin: int) -> Floats:
    rows = features.rows(origin)
    found = booster.predict(rows.reshape(-1, rows.shape[2]), num_threads=1)
    return np.maximum(np.asarray(found).reshape(rows.shape[:2]), 0.0)
