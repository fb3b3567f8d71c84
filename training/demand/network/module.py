"""Lightning around the network: losses, optimiser, validation. What the network does is in ``model``."""

from __future__ import annotations

from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from training.demand.backtesting.metrics import wql
from training.demand.config import DemandConfig
from training.demand.forecast import forecast
from training.demand.inputs.hidden_history import hide_histories
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel


class Drawn(NamedTuple):
    """The windows of a step, ``[B]`` each.

    Args:
        items: int64.
        origins: first period of each window, int64.
        hidden: which are to forget their item's past, bool.
    """

    items: Tensor
    origins: Tensor
    hidden: Tensor


class DemandModule(L.LightningModule):
    """One training of a demand model on everything before ``fit_until``.

    Windows and dropout are pure functions of (seed, step), so a resumed training repeats nothing and skips nothing.

    Args:
        inputs: the panel; periods from ``fit_until`` on are read by validation alone.
        config: settings.
        fit_until: first period that training must not see.
        validation_origins: windows to validate on; none for a fit on all data.
    """

    def __init__(
        self, inputs: PanelInputs, config: DemandConfig, *, fit_until: int, validation_origins: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.inputs, self.config, self.fit_until = inputs, config, fit_until
        self.validation_origins = validation_origins
        self.known_items = known_items(inputs, before=fit_until)
        torch.manual_seed(config.seed)
        self.model = DemandModel(inputs.sizes, config)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ARG002 (the step alone decides)
        """Return the summed loss of the members, each on its own part of the batch."""
        config, step = self.config, self.global_step
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed(config.seed, step, 1))
            loss = members_loss(self.model, self.inputs, config, self.draw(step), until=self.fit_until)
        self.log("train_loss", loss / config.num_members)
        return loss

    def draw(self, step: int) -> Drawn:
        """Return a step's windows."""
        config = self.config
        drawn, origins = draw_windows(len(self.known_items), config, fit_until=self.fit_until, step=step)
        items = self.known_items[drawn]
        origins, hidden = hide_histories(
            origins, self.inputs.launches[items], config, fit_until=self.fit_until, step=step
        )
        return Drawn(items, origins, hidden)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:  # noqa: ARG002
        """Add up one rolling-origin window over all items."""
        origin = int(batch)
        found = forecast(self.model, self.inputs, origin)
        actual = self.inputs.targets_at(origin).numpy()
        sold = float(np.nansum(actual))
        # Averaged over windows with their units as weights, this is the WQL of all windows together.
        self.log("val_wql", wql(actual, found.quantiles), batch_size=max(1, round(sold)), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW on a one-cycle schedule, a step at a time."""
        config = self.config
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=config.max_steps + 1, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> Any:
        """Ticks: the windows of a step are drawn in ``training_step``."""
        return DataLoader(range(self.config.max_steps), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        """Origins."""
        return DataLoader(list(self.validation_origins), batch_size=None)  # type: ignore[arg-type]


def members_loss(model: DemandModel, inputs: PanelInputs, config: DemandConfig, drawn: Drawn, *, until: int) -> Tensor:
    """Return the summed loss of the members, each on its own part of the windows.

    Args:
        model: whose members learn.
        inputs: the panel.
        config: settings.
        drawn: windows, of which each member takes every ``num_members``-th.
        until: first period whose units must not be read.
    """
    parts = [slice(member, None, config.num_members) for member in range(config.num_members)]
    losses = [
        _loss(network, inputs, config, Drawn(*(values[part] for values in drawn)), until=until)
        for network, part in zip(model.members, parts, strict=True)
    ]
    return torch.stack(losses).sum()


def _loss(network: torch.nn.Module, inputs: PanelInputs, config: DemandConfig, drawn: Drawn, *, until: int) -> Tensor:
    windows = inputs.windows(*drawn)
    units = inputs.targets(drawn.items, drawn.origins, until=until)
    weight = (1 + windows.level) ** config.volume_power
    weight = (weight / weight.mean())[:, None]
    single, total = network(windows)
    known = torch.isfinite(units)
    # A total is known as far as every period in it is.
    loss = mean_loss(single, units, known, weight)
    return loss + config.total_weight * mean_loss(total, units.cumsum(1), known.cumprod(1).bool(), weight)


def mean_loss(forecast: CountMixture, units: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean negative log likelihood of the known units, all ``[B, H]``."""
    log_prob = forecast.log_prob(torch.where(known, units, 0.0))
    return -(log_prob * weight * known).sum() / known.sum().clamp(min=1)


def draw_windows(num_items: int, config: DemandConfig, *, fit_until: int, step: int) -> tuple[Tensor, Tensor]:
    """Return the items and origins of one step, int64 ``[B]``: a pure function of (seed, step).

    Origins reach up to the last known period; what lies beyond it in a window is masked.
    """
    rng = np.random.default_rng([config.seed, step])
    first = min(config.min_history, fit_until - 1)
    items = rng.integers(0, num_items, config.batch_size)
    return torch.from_numpy(items), torch.from_numpy(rng.integers(first, fit_until, config.batch_size))


def known_items(inputs: PanelInputs, *, before: int) -> Tensor:
    """Return the rows of the items that are known before a period; where none is, any will do."""
    known = torch.nonzero(inputs.launches < before)[:, 0]  # an item that is not known yet has nothing to teach
    return known if len(known) else torch.arange(inputs.num_items)


def mixed(*numbers: int) -> int:
    """Return one seed out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
