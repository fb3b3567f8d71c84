"""What the network reads of a horizon's plan besides the plan itself.

Whatever follows from the plan is computed here and nowhere else, so that a question about another plan
(``training.demand.decisions.what_if``) changes all of it.

Shapes: B windows, H horizon periods, P calendar and plan features, the last A of which belong to items,
G = 1 + A + 2 P + others.
"""

from __future__ import annotations

import torch
from torch import Tensor


def horizon_features(position: Tensor, plan: Tensor, usual: Tensor, others: list[Tensor]) -> Tensor:
    """Return what is known of each horizon period besides its plan, ``[B, H, G]``.

    Args:
        position: where in the horizon a period stands, ``[B, H]``.
        plan: calendar and plan, ``[B, H, P]``.
        usual: mean of the items' own plan features in the past, ``[B, A]``.
        others: what does not follow from the plan, ``[B, H, .]`` each.
    """
    return torch.cat([position[..., None], _from_plan(plan, usual), *others], dim=2)


def with_plan(horizon: Tensor, plan: Tensor, usual: Tensor) -> Tensor:
    """Return ``horizon_features`` as they are under another plan."""
    changed = _from_plan(plan, usual)
    return torch.cat([horizon[..., :1], changed, horizon[..., 1 + changed.shape[2] :]], dim=2)


def _from_plan(plan: Tensor, usual: Tensor) -> Tensor:
    """Return the items' own plan against what is usual, and the plan of the period before and after."""
    own = plan[..., plan.shape[2] - usual.shape[1] :]
    return torch.cat([own - usual[:, None], _shifted(plan, 1), _shifted(plan, -1)], dim=2)


def _shifted(values: Tensor, by: int) -> Tensor:
    """Return ``[B, H, P]`` moved along H by one period, the edge repeated."""
    if by > 0:
        return torch.cat([values[:, :1], values[:, :-1]], dim=1)
    return torch.cat([values[:, 1:], values[:, -1:]], dim=1)
