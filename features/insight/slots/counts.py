"""Times shown and answers by slot and item, and the looks and appeals that make them most likely.

    answers[s, i] ~ Poisson(shown[s, i] * look[s] * appeal[i])

Each side has a closed form given the other, so they are taken in turn. Appeals come from a gamma distribution, which is
found too: each is shrunk to its mean as far as its own counts leave doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

Floats = npt.NDArray[np.float64]
_MOST_ROUNDS: Final = 2_000
_CLOSE: Final = 1e-8
_LEAST_SHAPE, _MOST_SHAPE = 0.05, 1_000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """What one set of answers says.

    Args:
        look: how likely each slot is looked at, beside the best, ``[S]``.
        answers: by item, of the slots that can be told, ``[I]``.
        looked: times shown, each as far as its slot is looked at, ``[I]``.
        prior: shape and rate of the gamma distribution of appeals.
    """

    look: Floats
    answers: Floats
    looked: Floats
    prior: tuple[float, float]

    @property
    def appeal(self) -> Floats:
        """Answers a look, shrunk, ``[I]``."""
        return np.asarray((self.answers + self.prior[0]) / (self.looked + self.prior[1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """How often each item was shown in each slot: rows ``[N]``.

    Args:
        slots: names ``[S]``.
        items: ids ``[I]``.
        slot: of each row.
        item: of each row.
        shown: times, above 0.
    """

    slots: pd.Index
    items: pd.Index
    slot: npt.NDArray[np.intp]
    item: npt.NDArray[np.intp]
    shown: Floats

    @classmethod
    def of(cls, answers: pd.DataFrame) -> Counts:
        """Return the counts of rows of slot, item_id and shown, all above 0."""
        slot, slots = pd.factorize(answers["slot"], sort=True)
        item, items = pd.factorize(answers["item_id"], sort=True)
        return cls(slots=slots, items=items, slot=slot, item=item, shown=answers["shown"].to_numpy(np.float64))

    def estimate(
        self, came: Floats, *, known: npt.NDArray[np.bool_] | None = None, start: Floats | None = None
    ) -> Estimate:
        """Return looks, and appeals with their prior.

        Args:
            came: answers ``[N]``.
            known: which slots can be told, ``[S]``; worked out where left out.
            start: looks to begin from, such as those of answers much like these.
        """
        together = self.together(came) if known is None else known
        look, _ = self.fit(came, start=start)
        best = float(np.max(look * together, initial=0.0))
        look = look / best if best > 0 else look
        counted = together[self.slot]
        answers = self.by_item(came * counted)
        looked = self.by_item(self.shown * look[self.slot] * counted)
        return Estimate(look=look, answers=answers, looked=looked, prior=gamma_prior(answers, looked))

    def fit(self, came: Floats, *, start: Floats | None = None) -> tuple[Floats, Floats]:
        """Return look ``[S]``, at most 1, and appeal ``[I]`` of the largest likelihood."""
        by_slot, by_item = self.by_slot(came), self.by_item(came)
        look = np.ones(len(self.slots)) if start is None else start
        appeal = np.zeros(len(self.items))
        for _ in range(_MOST_ROUNDS):
            appeal = _ratio(by_item, self.by_item(self.shown * look[self.slot]))
            found = _ratio(by_slot, self.by_slot(self.shown * appeal[self.item]))
            found = found / (found.max(initial=0.0) or 1.0)
            if np.abs(found - look).max(initial=0.0) < _CLOSE:
                return found, appeal
            look = found
        return look, appeal

    def together(self, came: Floats) -> npt.NDArray[np.bool_]:
        """Return which slots items with answers tie to the slot with the most answers, ``[S]``."""
        ties = (self.by_item(came) > 0)[self.item]
        edges = (np.ones(int(ties.sum())), (self.slot[ties], len(self.slots) + self.item[ties]))
        size = len(self.slots) + len(self.items)
        _, part = connected_components(csr_array(edges, shape=(size, size)), directed=False)
        most = int(np.argmax(self.by_slot(came)))
        return np.asarray(part[: len(self.slots)] == part[most])

    def draw(self, mean: Floats, spread: Floats, rng: np.random.Generator) -> Floats:
        """Return answers drawn about a mean ``[N]``, whose variance is the mean times its slot's spread ``[S]``."""
        times = spread[self.slot]
        return rng.poisson(mean / times) * times

    def by_slot(self, values: Floats) -> Floats:
        """Return sums by slot, ``[S]``."""
        return np.bincount(self.slot, values, len(self.slots)).astype(np.float64)

    def by_item(self, values: Floats) -> Floats:
        """Return sums by item, ``[I]``."""
        return np.bincount(self.item, values, len(self.items)).astype(np.float64)

    def wide(self, values: Floats) -> Floats:
        """Return values as ``[S, I]``, 0 where an item was never shown."""
        found = np.zeros((len(self.slots), len(self.items)))
        found[self.slot, self.item] = values
        return found


def gamma_prior(answers: Floats, looked: Floats) -> tuple[float, float]:
    """Return shape and rate of the gamma distribution that rates come from, of the largest marginal likelihood.

    Counts are then negative binomial: Poisson with a rate that differs between items.

    Args:
        answers: counts.
        looked: how often each could have come.
    """
    n, k = looked[looked > 0], answers[looked > 0]
    if not len(n) or not k.sum():
        return 0.5, 1.0
    mean = k.sum() / n.sum()

    def loss(logs: Floats) -> float:
        shape, rate = np.exp(logs[1]), np.exp(logs[1] - logs[0])
        terms = gammaln(k + shape) - gammaln(shape) + shape * np.log(rate / (rate + n)) - k * np.log(rate + n)
        return float(-terms.sum())

    # Rates that differ no more than counts by chance have no spread to find: the shape is bounded.
    bounds = [(np.log(mean) - 5, np.log(mean) + 5), (np.log(_LEAST_SHAPE), np.log(_MOST_SHAPE))]
    found = minimize(loss, np.array([np.log(mean), 1.0]), method="L-BFGS-B", bounds=bounds).x
    return float(np.exp(found[1])), float(np.exp(found[1] - found[0]))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
