"""The model that has not learnt from the test windows, kept so that it can be asked about other panels later.

store/runs/<run id>/evaluated/parts/demand/<version>/
weights.safetensors    the network's
boosted/               LightGBM's trees, where they have a share
calibration.json       where one was fitted
about                  settings; ``seen_until_us``; ``layout``: what the network's inputs are called; ``boosted_share``

The part that is served holds forecasts. Its network has learnt from everything, so only this one can be scored. It is asked
as it was in its own report: at each origin its weights are first updated with what was known there, which follows from
the weights, the settings and the panel, so that nothing else need be kept. An update takes the CPU of 40 steps.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd
from safetensors.torch import load_file, save_file

from features.build import FeatureSet
from features.demand.calibration import DemandCalibration
from features.errors import ConfigError, ReleaseError
from features.panel.demand_panel import DemandPanel
from features.release import Part, ReleaseStore, layout, write_part
from training.demand.boosted.pooled import AnyModel, PooledModel
from training.demand.boosted.trees import DIRECTORY, BoostedTrees
from training.demand.config import DemandConfig
from training.demand.forecast import Forecast, forecast
from training.demand.inputs.input_layout import InputLayout
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.trainer import WEIGHTS_FILE
from training.demand.network.update import updated
from training.evaluation.window import Window

EVALUATED: Final = "evaluated"
_Config = TypeVar("_Config")


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedModel:
    """The kept model, ready to forecast a panel.

    Args:
        model: in evaluation mode.
        inputs: the panel, as the model reads it.
        calibration: ``None`` where none was fitted.
    """

    model: AnyModel
    inputs: PanelInputs
    calibration: DemandCalibration | None

    def forecast(self, origin: int) -> Forecast:
        """Return the forecasts of all items from ``origin``, of weights updated with what lies before it."""
        model = updated(self.model, self.inputs, origin=origin, config=self.inputs.config)
        return forecast(model, self.inputs, origin, calibration=self.calibration)

    @classmethod
    def open(cls, part: Part, panel: DemandPanel) -> EvaluatedModel:
        """Read a kept model for questions about a panel, which may be newer than the one that it learnt from.

        Raises:
            DataError: the panel cannot be laid out as the model reads it.
            ReleaseError: the part lacks a file, or its weights are not those of today's network.
        """
        config, kept = config_of(part), InputLayout.from_dict(part.about["layout"])
        inputs = kept.inputs_from(panel, config)
        network = DemandModel(inputs.sizes, config)
        try:
            network.load_state_dict(load_file(part.path(WEIGHTS_FILE)))
        except RuntimeError as error:
            raise ReleaseError(
                f"{part.directory}: expected the weights of today's network, found others "
                f"({str(error).splitlines()[0]}); train again."
            ) from None
        fitted = layout.DEMAND_CALIBRATION in part.files
        calibration = DemandCalibration.load(part.path(layout.DEMAND_CALIBRATION)) if fitted else None
        model: AnyModel = network.eval()
        if share := float(part.about.get("boosted_share", 0)):
            trees = BoostedTrees.load(part.directory / DIRECTORY, kept.narrowed(panel), inputs)
            model = PooledModel(network=network, trees=trees, share=share)
        return cls(model=model, inputs=inputs, calibration=calibration)


def keep_evaluated(kept: EvaluatedModel, features: FeatureSet, run: Path, *, seen_until: int, steps: int) -> Part:
    """Write a model as the evaluated part of its run, once: what an earlier attempt has written is read back.

    Args:
        kept: learnt from the panel's first periods.
        features: hold the panel that ``kept.inputs`` were made from.
        run: directory of the run in the store.
        seen_until: first period of which the model knows nothing; the windows that chose its steps are known to it.
        steps: behind its weights.
    """
    store, panel = ReleaseStore(root=run / EVALUATED), features.panel
    if (found := store.part_of_run("demand", run.name)) is not None:
        return found
    config = kept.inputs.config
    with write_part(store.root, "demand", data_fingerprint=features.fingerprint, run_id=run.name) as draft:
        network = kept.model
        if isinstance(network, PooledModel):
            network.trees.save(draft.directory / DIRECTORY)
            draft.about.update(boosted_share=network.share)
            network = network.network
        save_file(network.state_dict(), draft.directory / WEIGHTS_FILE)
        if kept.calibration is not None:
            kept.calibration.save(draft.directory / layout.DEMAND_CALIBRATION)
        draft.about.update(trained_on="fit", steps=steps, settings=dataclasses.asdict(config))
        draft.about.update(frequency=panel.frequency, horizon=config.horizon)
        draft.about.update(seen_until_us=_instant_us(panel, seen_until))
        draft.about.update(layout=dataclasses.asdict(InputLayout.of(panel, kept.inputs)))
    part = store.part_of_run("demand", run.name)
    assert part is not None, "it was just written"
    return part


def window_of(features: FeatureSet, origins: Sequence[int]) -> Window:
    """Return what forecasts from these origins to the panel's end are scored on, as one stretch of time."""
    return Window(
        data_fingerprint=features.fingerprint,
        protocol="rolling_origin",
        from_us=_instant_us(features.panel, min(origins)),
        until_us=_instant_us(features.panel, features.panel.num_periods),
    )


def _instant_us(panel: DemandPanel, period: int) -> int:
    """Return midnight of a period's first day as UTC microseconds, as if the shop's days were UTC's."""
    day = panel.start + pd.Timedelta(days=period * panel.period_days)
    return int((day - pd.Timestamp(0)) // pd.Timedelta(microseconds=1))


def config_of(part: Part) -> DemandConfig:
    """Return the settings of a part's training; one that did not exist then stands at its default.

    Raises:
        ReleaseError: its manifest does not hold them.
    """
    try:
        return _read(DemandConfig, part.about["settings"])
    except (KeyError, TypeError, ConfigError) as error:
        raise ReleaseError(
            f"{part.directory}: expected the settings of its training in the manifest, found none ({error}); train again."
        ) from None


def _read(kind: type[_Config], values: Mapping[str, Any]) -> _Config:
    """Read a settings dataclass from JSON: lists become tuples, groups their own dataclass."""
    hints, read = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name not in values:
            continue
        value = values[field.name]
        if dataclasses.is_dataclass(hints[field.name]):
            value = _read(hints[field.name], value)
        read[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**read)
