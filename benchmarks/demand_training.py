"""Train the demand model for a benchmark: steps from the windows just before the test windows, calibration as it goes."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.trainer import fit_model
from training.demand.rolling import RollingCalibration

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A model that has learnt from everything before the first test window.

    Args:
        model: in evaluation mode.
        calibration: at each origin, from what came before it: what an earlier fit with the same settings had not learnt
            from, and from the first test window on this model.
        steps: optimiser steps, chosen on those windows.
        validation_wql: WQL on those windows, of the earlier fit.
        cpu_s: CPU seconds of both fits and the calibration.
        wall_s: seconds of the same.
    """

    model: DemandModel
    calibration: RollingCalibration
    steps: int
    validation_wql: float
    cpu_s: float
    wall_s: float


def train(inputs: PanelInputs, config: DemandConfig, test: tuple[int, ...]) -> Trained:
    """Choose steps on as many windows before the first test window, then fit on all before it.

    Args:
        inputs: the panel.
        config: settings; a horizon is a window.
        test: origins of the test windows, a horizon apart.
    """
    cpu_from, wall_from = time.process_time(), time.perf_counter()
    first = test[0]
    validation = tuple(first - config.horizon * back for back in range(len(test), 0, -1))
    with tempfile.TemporaryDirectory() as work:
        chosen = fit_model(
            inputs, config, fit_until=validation[0], directory=Path(work) / "choose", validation_origins=validation
        )
        assert chosen.score is not None
        log.info("chosen: %d steps, validation WQL %.4f", chosen.steps, chosen.score)
        earlier = RollingCalibration.of(chosen.model, inputs, first=validation[0], until=first)
        final = fit_model(inputs, config, fit_until=first, directory=Path(work) / "final", steps=chosen.steps)
    return Trained(
        model=final.model,
        calibration=earlier.going_on(final.model, inputs, first=first, until=test[-1]),
        steps=chosen.steps,
        validation_wql=chosen.score,
        cpu_s=time.process_time() - cpu_from,
        wall_s=time.perf_counter() - wall_from,
    )
