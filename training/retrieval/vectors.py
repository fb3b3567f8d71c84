"""Unit vectors with a lean gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LEAST_NORM = 1e-12


def unit_vectors(raw: Tensor) -> Tensor:
    """Return the rows of ``[N, D]`` at length 1; a row of zeros stays.

    The same as ``torch.nn.functional.normalize`` in a third of the passes over memory, which matters where a whole
    catalogue is normalised in every step.
    """
    unit: Tensor = _Unit.apply(raw)  # type: ignore[no-untyped-call]
    return unit


class _Unit(torch.autograd.Function):
    """``y = x / |x|``; the gradient is what of it stands at right angles to y, over ``|x|``."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor) -> Tensor:
        scale = torch.linalg.vector_norm(raw, dim=-1, keepdim=True).clamp_min_(_LEAST_NORM).reciprocal_()
        unit = raw * scale
        ctx.save_for_backward(unit, scale)
        return unit

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        unit, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(grads[0], unit).unsqueeze(-1)
        return torch.addcmul(grads[0], unit, along, value=-1).mul_(scale)
