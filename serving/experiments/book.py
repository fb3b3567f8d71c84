"""Experiments at work: what those that a request takes part in want of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from serving.api.schemas import RecommendRequest
from serving.experiments.arm import Arm
from serving.experiments.experiment import ExperimentSet
from serving.surfaces.clock import wall_clock_us

_NO_EXPERIMENTS: Final = ExperimentSet()


class ExperimentBook:
    """Assigns requests.

    Args:
        experiments: returns them as they are now.
        customer_of: the customer that an id belongs to, so that all their devices get one variant.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self,
        experiments: Callable[[], ExperimentSet] = lambda: _NO_EXPERIMENTS,
        *,
        customer_of: Callable[[str], str] = str,
        wall: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._experiments, self._customer_of, self._wall = experiments, customer_of, wall

    def assign(self, request: RecommendRequest) -> tuple[RecommendRequest, Arm | None]:
        """Return a request with what its variants want where it says nothing, and the arm; no arm where it takes part in none."""
        experiments = self._experiments()
        if not experiments.layers:
            return request, None
        unit = request.session_id if request.user_id is None else self._customer_of(request.user_id)
        if unit is None:
            return request, None
        variants = experiments.variants_of(unit, request.surface, self._wall())
        if not variants:
            return request, None
        chosen = [one for one in variants.values() if one is not None]
        arm = Arm(
            variants={name: name if one is None else one.name for name, one in variants.items()},
            unit=unit,
            rules=next((one.rules for one in chosen if one.rules is not None), None),
            explore=next((one.explore for one in chosen if one.explore is not None), None),
            release_id=next((one.release_id for one in chosen if one.release_id), ""),
            is_logged=request.user_id is not None,
        )
        repeat = next((one.repeat for one in chosen if one.repeat is not None), None)
        diversity = next((one.diversity for one in chosen if one.diversity is not None), None)
        changed = {
            name: value
            for name, value in (("repeat", repeat), ("diversity", diversity))
            if value is not None and getattr(request, name) is None
        }
        return (msgspec.structs.replace(request, **changed) if changed else request), arm
