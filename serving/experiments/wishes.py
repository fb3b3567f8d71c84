"""What the shop wishes of answers: its rules and its experiments, which change together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from serving.api.schemas import RecommendRequest
from serving.experiments.arm import Arm
from serving.experiments.experiment import ExperimentSet, Variant
from serving.experiments.parse import read_experiments
from serving.merchandising.parse import read_rule_set
from serving.merchandising.rules import RuleSet
from serving.surfaces.clock import wall_clock_us


@dataclass(frozen=True, kw_only=True)
class WishList:
    """Rules and experiments, as they were read together.

    Args:
        rules: of the shop.
        experiments: of the shop.
    """

    rules: RuleSet = field(default_factory=RuleSet)
    experiments: ExperimentSet = field(default_factory=ExperimentSet)

    @classmethod
    def read(cls, rules: Path | None, experiments: Path | None) -> WishList:
        """Read a file of rules and one of experiments, where there are any.

        Raises:
            ConfigError: one is missing, no YAML, or not as it should be.
        """
        return cls(
            rules=RuleSet() if rules is None else read_rule_set(rules),
            experiments=ExperimentSet() if experiments is None else read_experiments(experiments),
        )

    def rule_sets(self) -> Iterator[RuleSet]:
        """Yield the shop's rules and those of variants."""
        yield self.rules
        yield from (one.rules for one in self._variants() if one.rules is not None)

    def release_ids(self) -> list[str]:
        """Return the releases that variants name."""
        return sorted({one.release_id for one in self._variants() if one.release_id})

    def prepare(self) -> None:
        """Work out the chances of what variants draw, which take some time, before a list is drawn."""
        for explore in (one.explore for one in self._variants() if one.explore is not None):
            explore.chance(explore.candidates)

    def _variants(self) -> Iterator[Variant]:
        for layer in self.experiments.layers:
            for experiment in layer.experiments:
                yield from experiment.variants


_NOTHING: Final = WishList()


class Wishes:
    """Wishes at work: assigns requests to variants.

    Args:
        current: returns the wishes as they are now.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self, current: Callable[[], WishList] = lambda: _NOTHING, *, wall: Callable[[], int] = wall_clock_us
    ) -> None:
        self.current, self._wall = current, wall

    def rules(self) -> RuleSet:
        """Return the shop's rules."""
        return self.current().rules

    def assign(
        self,
        request: RecommendRequest,
        *,
        customer_of: Callable[[str], str] = str,
        is_held: Callable[[str], bool] = lambda _: True,
    ) -> tuple[RecommendRequest, Arm | None]:
        """Return a request with what its variants want where it says nothing, and the arm; none where it takes part in nothing.

        Args:
            request: as it came.
            customer_of: the customer that an id belongs to, so that all their devices get one variant.
            is_held: whether a release that a variant names can answer; until all of an experiment's can, nobody is part of it.
        """
        experiments = self.current().experiments
        if not experiments.layers:
            return request, None
        unit = request.session_id if request.user_id is None else customer_of(request.user_id)
        if unit is None:
            return request, None
        variants = experiments.variants_of(unit, request.surface, self._wall(), is_held=is_held)
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
        return _with_defaults(request, chosen), arm


def _with_defaults(request: RecommendRequest, variants: list[Variant]) -> RecommendRequest:
    changed = {
        name: value
        for name in ("repeat", "diversity")
        for value in (getattr(one, name) for one in variants)
        if value is not None and getattr(request, name) is None
    }
    return msgspec.structs.replace(request, **changed) if changed else request
