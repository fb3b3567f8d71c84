"""Champion and challenger of the demand part, scored by WQL over the items of the newest test windows.

Both kept models (training.demand.evaluated) forecast the same windows of the same panel from the same origins, the
champion's in its own words: what it never met is unknown to it. Lower is better, so a challenger's gain is
1 - its WQL / the champion's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from features.release import Part
from training.demand.backtesting.metrics import pinball
from training.demand.config import DemandConfig
from training.demand.evaluated import EvaluatedModel, config_of, window_of
from training.demand.fit import Windows
from training.evaluation.bootstrap import Interval, resampled_means
from training.evaluation.champion import CHAMPION, scorable_part
from training.evaluation.window import Window
from training.promotion_figures import CHALLENGER, RESAMPLES, Attempts, Figures, features_of, widened_interval

METRIC: Final = "wql"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DemandFigures(Figures):
    """What two demand parts were worth: WQL, and 1 - challenger / champion.

    Args:
        window: what both were scored on, from the first origin to the panel's end.
        champion: its WQL.
        challenger: the same.
        scored: which artifact stood for each, by role.
        relative: 1 - challenger / champion, with its interval: above 0 the challenger loses less.
        attempts: comparisons that the interval is widened for.
        num_configurations: configurations scored so far on windows that overlap this one, the champion's included.
        num_items: items forecast.
        num_windows: forecasts of each.
    """

    metric: ClassVar[str] = METRIC
    asked: ClassVar[str] = "items"
    better: ClassVar[str] = " better"

    num_items: int
    num_windows: int

    @property
    def num_asked(self) -> int:
        """How many items were forecast."""
        return self.num_items


def score_demand(
    store: Path, challenger: Part, champion: Part, *, features: Path | None, refresh: bool, seed: int
) -> DemandFigures:
    """Score both on the newest test windows of ``features``; of those that the challenger was trained on where left out.

    The windows are laid by the challenger's settings.

    Raises:
        DataError: there are no test windows, the two are asked different things, or one cannot read the panel.
        ReleaseError: no features, or no model that has not seen the windows.
    """
    found, config = FeatureSet.load(features or features_of(store, challenger)), config_of(challenger)
    _expect_one_question(config, config_of(champion))
    window, origins = newest_window(found, config)
    roles = {CHALLENGER: challenger, CHAMPION: champion}
    scored = {role: scorable_part(store, part, window, role=role) for role, part in roles.items()}
    models = {role: _opened(part, found.panel, role=role) for role, (_, part) in scored.items()}
    attempts = Attempts.noted(store, window, challenger=challenger, champion=champion, refresh=refresh)
    losses = {role: item_losses(model, origins) for role, model in models.items()}
    units = _units(models[CHALLENGER], origins)
    return DemandFigures(
        window=window,
        num_items=found.panel.num_items,
        num_windows=len(origins),
        champion=float(losses[CHAMPION].sum() / units),
        challenger=float(losses[CHALLENGER].sum() / units),
        scored={role: artifact for role, (artifact, _) in scored.items()},
        relative=relative_gain(losses[CHALLENGER], losses[CHAMPION], attempts=attempts.compared, seed=seed),
        attempts=attempts.compared,
        num_configurations=attempts.num_configurations,
    )


def newest_window(found: FeatureSet, config: DemandConfig) -> tuple[Window, tuple[int, ...]]:
    """Return the newest test windows of some features as one stretch of time, and the origin of each.

    Raises:
        DataError: the settings ask for none, or the panel is too short.
    """
    origins = Windows.of(found.panel.num_periods, config).test
    if not origins:
        raise DataError("expected test windows to score both on, found a training with test_windows 0; train with some")
    return window_of(found, origins), origins


def item_losses(model: EvaluatedModel, origins: tuple[int, ...]) -> Floats:
    """Return each item's summed pinball loss over the windows, ``[I]``; divided by the units sold, their sum is WQL."""
    losses = [pinball(model.inputs.targets_at(origin).numpy(), model.forecast(origin).quantiles) for origin in origins]
    return np.nansum(np.stack(losses, axis=1), axis=(1, 2), dtype=np.float64)


def relative_gain(challenger: Floats, champion: Floats, *, attempts: int, seed: int) -> Interval:
    """Return ``1 - sum(challenger) / sum(champion)`` with its widened interval over items.

    Units sold are those of both and cancel out, also within a draw of items.

    Args:
        challenger: loss by item, ``[I]``.
        champion: the same items.
        attempts: at least 1.
        seed: of the draws.

    Raises:
        DataError: the champion loses nothing in some draw of items, so there is nothing to be relative to.
    """
    drawn = resampled_means(np.stack([challenger, champion], axis=1), resamples=RESAMPLES, seed=seed)  # [R, 2]
    if drawn[:, 1].min() <= 0:
        raise DataError(
            f"expected items that sell in every draw of items, found a summed loss of {champion.sum():.4g} over "
            f"{len(champion)} items; take longer windows"
        )
    gain = 1 - challenger.sum() / champion.sum()
    return widened_interval(float(gain), 1 - drawn[:, 0] / drawn[:, 1], attempts=attempts)


def _expect_one_question(challenger: DemandConfig, champion: DemandConfig) -> None:
    if challenger.horizon != champion.horizon:
        raise DataError(
            f"expected forecasts of one horizon, found {challenger.horizon} periods of the challenger and "
            f"{champion.horizon} of the champion"
        )


def _opened(part: Part, panel: DemandPanel, *, role: str) -> EvaluatedModel:
    try:
        return EvaluatedModel.open(part, panel)
    except DataError as error:
        raise DataError(f"{role} {part.version} cannot read this panel: {error}") from None


def _units(model: EvaluatedModel, origins: tuple[int, ...]) -> float:
    units = float(sum(np.nansum(model.inputs.targets_at(origin).numpy()) for origin in origins))
    if not units > 0:
        raise DataError("expected units sold in the test windows, found none; take longer windows")
    return units
