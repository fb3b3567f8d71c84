"""Training windows that know nothing of their item's past, so that the network learns what to say of a new one.

An item's whole history is hidden: its level, its sums, its context. What is left is what a new item has too: its
attributes, what its peers sell, the calendar and the plan.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.demand.config import DemandConfig

AT_LAUNCH: Final = 0.5  # of the hidden windows of items launched within the panel, the share that stand at the launch


def hide_histories(
    origins: Tensor, launches: Tensor, config: DemandConfig, *, fit_until: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return the origins of a step's windows, and which of them are to forget their item's past: both ``[B]``.

    Some hidden windows move to their item's launch, so that the first periods of sale are learnt as such.

    Args:
        origins: int64 ``[B]``, as drawn.
        launches: the first period that each window's item is known of, int64 ``[B]``.
        config: ``hidden_history_share``, horizon, seed.
        fit_until: first period that training must not see.
        step: of training; the answer is a pure function of it and the seed.
    """
    rng = np.random.default_rng([config.seed, step, 2])
    hidden = rng.random(len(origins)) < config.hidden_history_share
    # The horizon holds the launch: it begins there, or up to H - 1 periods before.
    at_launch = launches.numpy() - rng.integers(0, config.horizon, len(origins))
    moved = hidden & (rng.random(len(origins)) < AT_LAUNCH) & _within(launches.numpy(), config, fit_until)
    return torch.where(torch.from_numpy(moved), torch.from_numpy(at_launch), origins), torch.from_numpy(hidden)


def _within(launches: npt.NDArray[np.int64], config: DemandConfig, fit_until: int) -> npt.NDArray[np.bool_]:
    """Whether an item was launched while the panel was watching; what was there from the start is no launch."""
    return (launches >= max(config.min_history, config.horizon)) & (launches < fit_until)
