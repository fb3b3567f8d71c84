"""A trained model, brought up to date with the weeks that came after its training.

A few small steps on the last weeks move the weights to what the shop does now; training anew on everything costs
twenty times as much. What lies at or after the origin is never read, so a backtest may do at each origin what a shop does
each week.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from training.demand.boosted.pooled import AnyModel
from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.module import Drawn, known_items, members_loss, mixed

log = logging.getLogger(__name__)

LARGEST_GRADIENT: Final = 1.0  # norm that longer ones are clipped to
_STREAM: Final = 3  # of random numbers: those of training are 1 and 2


def updated(model: AnyModel, inputs: PanelInputs, *, origin: int, config: DemandConfig) -> AnyModel:
    """Return a copy of the model that has taken ``update_steps`` on the windows just before ``origin``.

    Trees that have a share in it stay as they were grown. The steps are AdamW's, at a rate that falls in a line to 0. They
    are a pure function of the weights, the seed and the origin.

    Args:
        model: trained; left as it is.
        inputs: the panel.
        origin: first period whose units are not read.
        config: settings; with ``update_steps`` 0 the model itself comes back.
    """
    steps = config.update_steps
    if not steps:
        return model
    if not isinstance(model, DemandModel):
        network = updated(model.network, inputs, origin=origin, config=config)
        assert isinstance(network, DemandModel)
        return dataclasses.replace(model, network=network)
    found, items = copy.deepcopy(model).train(), known_items(inputs, before=origin)
    optimizer = torch.optim.AdamW(
        found.parameters(), lr=config.update_learning_rate, weight_decay=config.weight_decay, foreach=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    with torch.random.fork_rng(devices=[]):
        for step in range(steps):
            torch.manual_seed(mixed(config.seed, origin, step, _STREAM))
            optimizer.zero_grad()
            drawn = _draw(items, config, origin=origin, step=step)
            loss = members_loss(found, inputs, config, drawn, until=origin)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(found.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
    log.info("demand: weights updated at period %d, %d steps", origin, steps)
    return found.eval()


def _draw(items: Tensor, config: DemandConfig, *, origin: int, step: int) -> Drawn:
    """Return a step's windows; none hides its item's past, since these steps are few and new items were learnt before."""
    rng = np.random.default_rng([config.seed, origin, step, _STREAM])
    first = max(min(config.min_history, origin - 1), origin - config.update_horizons * config.horizon)
    drawn = items[torch.from_numpy(rng.integers(0, len(items), config.batch_size))]
    origins = torch.from_numpy(rng.integers(first, origin, config.batch_size))
    return Drawn(drawn, origins, torch.zeros(config.batch_size, dtype=torch.bool))


@dataclass(frozen=True, kw_only=True, eq=False)
class UpToDate:
    """A fitted model and its updates, a horizon apart, each made when it is first asked for.

    Args:
        fitted: has learnt from everything before ``first``.
        inputs: the panel.
        config: settings of the updates.
        first: first period forecast; from a horizon later on the weights are updated.
    """

    fitted: AnyModel
    inputs: PanelInputs
    config: DemandConfig
    first: int
    _made: dict[int, AnyModel] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, origin: int) -> AnyModel:
        """Return the model as it stands at an origin: fitted, or as of the last update at or before it."""
        at = origin - (origin - self.first) % self.config.horizon
        if at <= self.first:
            return self.fitted
        if at not in self._made:
            self._made[at] = updated(self.fitted, self.inputs, origin=at, config=self.config)
        return self._made[at]
