"""What merchandising needs that is of no release: the rules as they are now, and what is told of stock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.merchandising.merchandiser import Merchandiser
from serving.merchandising.rules import RuleSet
from serving.merchandising.stock import LiveStock
from serving.release.state import ReleaseState
from serving.surfaces.clock import wall_clock_us

_NO_RULES: Final = RuleSet()


@dataclass(frozen=True, kw_only=True, eq=False)
class Merchandising:
    """The shop's wishes, whichever release answers.

    Args:
        rules: returns the shop's rules as they are now.
        stock: what is told of stock; nothing is where ``None``.
        pool: how many items a surface ranks where a rule reorders them.
        rng: draws where places are drawn.
    """

    rules: Callable[[], RuleSet] = lambda: _NO_RULES
    stock: LiveStock | None = None
    pool: int = 200
    rng: np.random.Generator | None = None

    def over(self, state: ReleaseState, *, wall: Callable[[], int] = wall_clock_us) -> Merchandiser:
        """Return the rules at work on a release."""
        return Merchandiser(state, rules=self.rules, stock=self.stock, pool=self.pool, wall=wall, rng=self.rng)
