"""Train the demand model for a benchmark: steps from windows before the test windows, then with the time."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from features.panel.demand_panel import DemandPanel
from training.demand.boosted.choose import with_best_share, with_share_of
from training.demand.boosted.pooled import AnyModel, share_of
from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.trainer import fit_model
from training.demand.rolling import RollingForecaster

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """A fitted model as it goes with the time from the first test window on.

    Args:
        forecaster: its calibration knows what an earlier fit with the same settings had not learnt from, and from the
            first test window on how this model did.
        cpu_s: CPU seconds of both fits and of what brings them up to date at each origin.
        wall_s: seconds of the same.
    """

    forecaster: RollingForecaster
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A model that has learnt from everything before the first test window, with and without later updates of its weights.

    Args:
        updated: weights and calibration go with the time.
        fitted_once: the same fits, with their weights left alone; only the calibration goes with the time.
        network: as ``updated``, without boosted trees; the same where they have no share.
        steps: optimiser steps, chosen on as many windows before the first test window as there are from it on.
        boosted_share: of boosted trees in every forecast, chosen on the same windows.
        validation_wql: WQL on those windows, of the earlier fit.
    """

    updated: Followed
    fitted_once: Followed
    network: Followed
    steps: int
    boosted_share: float
    validation_wql: float


def train(panel: DemandPanel, inputs: PanelInputs, config: DemandConfig, test: tuple[int, ...]) -> Trained:
    """Choose steps on as many windows before the first test window, then fit on all before it.

    Args:
        panel: what ``inputs`` were laid out from.
        inputs: with the same settings.
        config: settings; a horizon is a window.
        test: origins of the test windows.
    """
    cpu_from, wall_from = time.process_time(), time.perf_counter()
    validation = tuple(test[0] - config.horizon * back for back in range(len(test), 0, -1))
    with tempfile.TemporaryDirectory() as work:
        chosen = fit_model(
            inputs, config, fit_until=validation[0], directory=Path(work) / "choose", validation_origins=validation
        )
        assert chosen.score is not None
        log.info("chosen: %d steps, validation WQL %.4f", chosen.steps, chosen.score)
        model = with_best_share(
            chosen.model, panel, inputs, until=validation[0], origins=validation, directory=Path(work) / "choose"
        )
        last = fit_model(inputs, config, fit_until=test[0], directory=Path(work) / "final", steps=chosen.steps)
        final = with_share_of(model, last.model, panel, inputs, until=test[0], directory=Path(work) / "final")
    spent = (time.process_time() - cpu_from, time.perf_counter() - wall_from)
    fits, networks = (model, final), (chosen.model, last.model)
    once = dataclasses.replace(config, update_steps=0)
    updated = _followed(fits, inputs, config, first=validation[0], test=test, spent=spent)
    alone = updated
    if share_of(model):
        alone = _followed(networks, inputs, config, first=validation[0], test=test, spent=spent)
    return Trained(
        updated=updated,
        fitted_once=_followed(fits, inputs, once, first=validation[0], test=test, spent=spent),
        network=alone,
        steps=chosen.steps,
        boosted_share=share_of(model),
        validation_wql=chosen.score,
    )


def _followed(
    fits: tuple[AnyModel, AnyModel],
    inputs: PanelInputs,
    config: DemandConfig,
    *,
    first: int,
    test: tuple[int, ...],
    spent: tuple[float, float],
) -> Followed:
    cpu_from, wall_from = time.process_time(), time.perf_counter()
    chosen, final = fits
    forecaster = RollingForecaster.of(chosen, inputs, config, first=first, until=test[0])
    forecaster = forecaster.going_on(final, first=test[0], until=test[-1])
    for origin in test:
        forecaster.models(origin)  # made now, so that its cost is counted here
    return Followed(
        forecaster=forecaster,
        cpu_s=spent[0] + time.process_time() - cpu_from,
        wall_s=spent[1] + time.perf_counter() - wall_from,
    )
