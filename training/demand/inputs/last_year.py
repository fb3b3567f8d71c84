"""The same time last year: what an item, and each group of items around it, sold then against what was usual then.

Only the ratio is read, so that it says what the time of year does and not how large the item was. A group's is the
steadier one: one department of one shop is noise, the same department in all shops is the season::

    units of the same week last year 180, mean of the 8 weeks before that week's origin 120: log(181 / 121) = .40

Shapes: B windows, H horizon periods, K groups of an item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from training.demand.inputs.history import SEEN, SOLD, PrefixSums
from training.demand.inputs.peers import Peers

YEAR: Final = {"D": 364, "W": 52}  # periods; whole weeks, so that a weekday meets itself
WEEK: Final = {"D": 7, "W": 1}  # periods; one day of last year alone is mostly noise
SHIFTS: Final = (-1, 0, 1)  # weeks: holidays move


@dataclass(frozen=True, kw_only=True, eq=False)
class LastYear:
    """What was sold around the same time last year.

    Args:
        items: sums of each item.
        peers: sums of their groups.
        span: periods before last year's origin whose mean was usual then.
        year: periods in a year.
        week: periods in a week.
    """

    items: PrefixSums
    peers: Peers
    span: int
    year: int
    week: int

    @classmethod
    def of(
        cls, items: PrefixSums, peers: Peers, *, frequency: Literal["D", "W"], horizon: int, span: int
    ) -> LastYear | None:
        """Return the look-up; ``None`` for a panel of less than two years.

        From less, most of training would know of no last year. A horizon that reaches into what would have to be
        read of last year has none either.

        Args:
            items: sums of each item.
            peers: sums of their groups.
            frequency: of the panel.
            horizon: H.
            span: periods before last year's origin whose mean was usual then.
        """
        year, week = YEAR[frequency], WEEK[frequency]
        num_periods = items.sums.shape[1] - 1
        if num_periods < 2 * year or horizon + 2 * week > year:
            return None
        return cls(items=items, peers=peers, span=span, year=year, week=week)

    def features(self, items: Tensor, origins: Tensor, steps: Tensor, *, hidden: Tensor) -> Tensor:
        """Return what last year says of each horizon period, float32 ``[B, H, .]``; 0 where it says nothing.

        In this order: the item's own ratio a week earlier, at the same time, and a week later; how the item has grown
        since; the same three ratios of each of its groups; whether the item was there then, and whether the panel was.

        Args:
            items, origins: ``[B]``.
            steps: ``[H]``, 0 is the origin itself.
            hidden: windows that know nothing of their item's own past, bool ``[B]``.
        """
        then = origins - self.year
        watched = then >= self.span
        usual, seen = self._usual(self.items.sums, items, then)
        known = watched & (seen > 0) & ~hidden
        now, _ = self._usual(self.items.sums, items, origins)
        growth = torch.log((now + 1) / (usual + 1))[:, None, None].expand(-1, len(steps), 1)
        own = torch.cat([self._ratios(self.items.sums, items, then, steps), growth, torch.ones_like(growth)], dim=2)
        groups = [self._ratios(self.peers.sums, group, then, steps) for group in self.peers.group[items].T]
        around = torch.cat([*groups, torch.ones_like(growth)], dim=2)
        found = torch.cat([own * known[:, None, None], around * watched[:, None, None]], dim=2)
        return found.float()

    def _ratios(self, sums: Tensor, rows: Tensor, then: Tensor, steps: Tensor) -> Tensor:
        """Return log ratios of some rows of ``sums``, ``[B, H, 3]``."""
        usual, before = self._usual(sums, rows, then)
        start = then[:, None, None] + steps[:, None] + self.week * torch.tensor(SHIFTS) - self.week // 2  # [B, H, 3]
        mean, seen = _mean(sums, rows[:, None, None], start, start + self.week)
        # One unit more on both sides: a ratio of handfuls is drawn towards 1.
        ratio = torch.log((mean + 1) / (usual + 1)[:, None, None])
        return torch.where((seen > 0) & (before > 0)[:, None, None], ratio, 0.0)

    def _usual(self, sums: Tensor, rows: Tensor, until: Tensor) -> tuple[Tensor, Tensor]:
        return _mean(sums, rows, until - self.span, until)


def _mean(sums: Tensor, rows: Tensor, starts: Tensor, stops: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean units a period in ``[start, stop)``, 0 where nothing is known, and the periods that are known."""
    found = sums[rows, stops.clamp(min=0)] - sums[rows, starts.clamp(min=0)]
    seen = found[..., SEEN]
    return found[..., SOLD] / seen.clamp(min=1), seen
