"""LightGBM one step ahead, fed its own forecasts by mlforecast.

Shapes: I items, T past periods, H horizon.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.demand.baselines.tree_features import SPANS, TreeFeatures, plan_frame
from training.demand.baselines.trees import CountsAround, Means, TreeConfig, library

Floats = npt.NDArray[np.floating]

LAGS: Final = {"D": (1, 2, 3, 4, 5, 6, 7, 14, 21, 28), "W": (1, 2, 3, 4, 8)}
_SEASONS: Final = 4  # the same phase's mean over so many seasons, where there is one
_WEIGHT: Final = "weight"


def recursive_trees(features: TreeFeatures, until: int, config: TreeConfig) -> CountsAround:
    """Return trees that forecast one step and go on from it."""
    return CountsAround.fit("lightgbm_recursive", learn_recursive, features, until, config)


def learn_recursive(features: TreeFeatures, until: int, config: TreeConfig) -> Means:
    """Return the means of a recursive model that has learnt from everything before ``until``."""
    forecaster = _forecaster(features, config)
    with _quiet():
        forecaster.fit(_past(features, until), static_features=_statics(features), dropna=False, weight_col=_WEIGHT)
    return lambda origin: _means(forecaster, features, origin)


def _forecaster(features: TreeFeatures, config: TreeConfig) -> Any:
    mlforecast, lightgbm = library("mlforecast"), library("lightgbm")
    transforms = library("mlforecast.lag_transforms")
    frequency = features.panel.frequency
    lags = {1: [transforms.RollingMean(span, min_samples=1) for span in SPANS[frequency][:4]]}
    if features.season:
        seasonal = transforms.SeasonalRollingMean(features.season, _SEASONS, min_samples=1)
        lags[features.season] = [seasonal]
    model = lightgbm.LGBMRegressor(
        n_estimators=config.num_trees, n_jobs=config.threads, **config.parameters(**config.tweedie)
    )
    return mlforecast.MLForecast(
        models={"mean": model}, freq=1, lags=list(LAGS[frequency]), lag_transforms=lags, num_threads=1
    )


def _past(features: TreeFeatures, until: int) -> pd.DataFrame:
    """Return everything before ``until`` from each item's first known period on.

    mlforecast wants no hole: an unknown period repeats the last known units, and weighs nothing.
    """
    units = np.asarray(features.panel.units[:, :until], float)
    periods = np.arange(until)
    frame = plan_frame(features, until, periods)
    known = np.isfinite(units)
    filled = pd.DataFrame(units).ffill(axis=1).to_numpy()
    frame["y"] = filled.ravel()
    frame[_WEIGHT] = known.ravel().astype(float)
    for place, name in enumerate(_statics(features)):
        codes = features.codes[:, place]
        frame[name] = pd.Categorical(np.repeat(codes, until), categories=np.unique(codes))
    return frame[np.isfinite(frame["y"])].reset_index(drop=True)


def _means(forecaster: Any, features: TreeFeatures, origin: int) -> Floats:
    """Return the means from an origin; 0 for an item that nothing is known of."""
    past = _past(features, origin)
    ahead = plan_frame(features, origin, np.arange(origin, origin + features.horizon))
    ahead = ahead[ahead["unique_id"].isin(past["unique_id"].unique())]
    with _quiet():
        found = forecaster.predict(features.horizon, new_df=past.drop(columns=_WEIGHT), X_df=ahead)
    means = np.zeros((features.panel.num_items, features.horizon))
    means[found["unique_id"].to_numpy(), found["ds"].to_numpy() - origin] = found["mean"].to_numpy()
    return np.maximum(means, 0.0)


def _statics(features: TreeFeatures) -> list[str]:
    return [f"static_{place}" for place in range(features.codes.shape[1])]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What a library says of those it stands on is no news for who reads a forecast."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
