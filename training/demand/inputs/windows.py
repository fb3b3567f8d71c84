"""What the network reads of each window: tensors with their shapes, and their widths.

Shapes: B windows, L context periods, H horizon periods, P calendar and plan features, O observed features,
S static attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Inputs of ``B`` windows, float32 unless said otherwise.

    Args:
        level: mean units a period before the origin, > 0, ``[B]``; anchors the forecast.
        state: what the past says about the item as a whole, ``[B, F]``.
        static: codes of the static attributes, int64 ``[B, S]``; 0 is unknown.
        context: log1p units less log1p level, sold or not, and observed features, ``[B, L, 2 + O]``; 0 where missing.
        context_plan: calendar and plan of the context, ``[B, L, P]``.
        context_mask: a context period that says something, bool ``[B, L]``.
        horizon_plan: calendar and plan of the horizon, ``[B, H, P]``.
        horizon: other features of each horizon period, ``[B, H, G]``.
    """

    level: Tensor
    state: Tensor
    static: Tensor
    context: Tensor
    context_plan: Tensor
    context_mask: Tensor
    horizon_plan: Tensor
    horizon: Tensor


@dataclass(frozen=True, kw_only=True)
class InputSizes:
    """Widths of a panel's windows: what a model must be built for."""

    state: int
    static: tuple[int, ...]
    context: int
    plan: int
    horizon: int
