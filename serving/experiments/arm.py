"""What the experiments that a request takes part in want of its answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.experiments.explore import Explore
from serving.merchandising.rules import RuleSet


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The variants of one request together.

    Args:
        variants: variant by experiment.
        unit: whom they were chosen by: a customer, or a session.
        rules: in place of the shop's; the shop's where ``None``.
        explore: how places are drawn, where they are.
        release_id: who answers; the current release where empty.
        is_logged: whether what is shown is kept; a session without a customer is not.
    """

    variants: dict[str, str] = field(default_factory=dict)
    unit: str = ""
    rules: RuleSet | None = None
    explore: Explore | None = None
    release_id: str = ""
    is_logged: bool = True

    @property
    def experiment(self) -> str:
        """Names of the experiments, joined by ``+``."""
        return "+".join(self.variants)

    @property
    def variant(self) -> str:
        """Names of the variants, joined by ``+``."""
        return "+".join(self.variants.values())
