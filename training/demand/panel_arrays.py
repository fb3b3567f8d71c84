"""A panel's columns as arrays on scales that a network can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from features.demand_panel import DemandPanel
from training.demand.history import PrefixSums

SEASONS: Final = {"D": 7, "W": 52}  # periods after which the calendar comes round
NUM_HARMONICS: Final = 3  # enough to tell seven weekdays apart


def season_of(panel: DemandPanel) -> int:
    """Return the periods of the season, 0 where the panel is too short to have shown it twice."""
    season = SEASONS[panel.frequency]
    return season if panel.num_periods >= 2 * season else 0


def symlog(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return ``sign(x) log1p(|x|)``: no statistics that a flat or a skewed column could break.

    >>> symlog(np.array([0.0, np.e - 1, 1 - np.e])).round(3).tolist()
    [0.0, 1.0, -1.0]
    """
    array = np.asarray(values, np.float32)
    return np.sign(array) * np.log1p(np.abs(array))


def stack(arrays: list[npt.NDArray[np.float32]], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return arrays of one shape as one with a last axis; of width 0 where there are none."""
    return np.stack(arrays, axis=2) if arrays else np.zeros((*shape, 0), np.float32)


def plan_arrays(
    panel: DemandPanel, horizon: int, season: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the calendar ``[I, T + H, .]`` and the plan of the items ``[I, T + H, A]``, on the log scale.

    What is the same for all items is calendar; the season's own harmonics come first.
    """
    width = panel.num_periods + horizon
    arrays = {name: np.nan_to_num(symlog(np.asarray(a)[:, :width])) for name, a in panel.known_ahead.items()}
    shared = {name: bool((a == a[:1]).all()) for name, a in arrays.items()}
    shape = (panel.num_items, width)
    waves = [np.broadcast_to(wave, shape) for wave in season_waves(first_phase(panel), width, season)]
    calendar = stack([*waves, *(a for name, a in arrays.items() if shared[name])], shape)
    return calendar, stack([a for name, a in arrays.items() if not shared[name]], shape)


def first_phase(panel: DemandPanel) -> int:
    """Return where the first period stands in its season: the weekday, or the week of the year."""
    start = pd.Timestamp(panel.start)
    return int(start.weekday() if panel.frequency == "D" else start.isocalendar().week - 1)


def season_waves(phase: int, periods: int, season: int) -> list[npt.NDArray[np.float32]]:
    """Return sines and cosines of the season, ``[periods]`` each; none without a season."""
    if not season:
        return []
    angle = 2 * np.pi * (phase + np.arange(periods)) / season
    return [wave(k * angle).astype(np.float32) for k in range(1, NUM_HARMONICS + 1) for wave in (np.sin, np.cos)]


def static_codes(
    static: Mapping[str, npt.NDArray[np.object_]], num_items: int
) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Return codes ``[I, S]`` from 1 upwards, 0 where blank, and the number of codes of each attribute."""
    columns, sizes = [], []
    for values in static.values():
        text = pd.Series(values, dtype=object).fillna("").astype(str)
        codes, names = pd.factorize(text.where(text != ""), sort=True)
        columns.append(codes + 1)
        sizes.append(len(names) + 1)
    return np.stack(columns, axis=1).astype(np.int64) if columns else np.zeros((num_items, 0), np.int64), tuple(sizes)


def peer_sums(sums: PrefixSums, static: npt.NDArray[np.int64]) -> Tensor:
    """Return prefix sums of units and periods with data over all items of the same first attribute, ``[I, T + 1, 2]``."""
    groups = torch.from_numpy(static[:, 0]) if static.shape[1] else torch.zeros(len(static), dtype=torch.int64)
    basic = sums.sums[..., :2]
    totals = torch.zeros(int(groups.max()) + 1, *basic.shape[1:], dtype=basic.dtype)
    return totals.index_add(0, groups, basic)[groups]
