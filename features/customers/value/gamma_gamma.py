"""What a buyer's purchases come to: a mean of each buyer's own, drawn towards the shop's.

A purchase's amount scatters around the buyer's mean as a gamma of shape p; the means differ among buyers as an inverse
gamma of q and gamma. It takes amount and frequency to be unrelated: ``fit`` says how far they are not. N rows.

Source: Fader, Hardie 2013, "The gamma-gamma model of monetary value".
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import digamma, gammaln

from features.customers.value.histories import LEAST_REPEATERS, Floats
from features.customers.value.maximum import most_likely
from features.errors import DataError

PARAMETERS: Final = ("p", "q", "gamma")
_STARTS: Final = ((1.0, 2.0, 1.0), (5.0, 4.0, 0.5), (20.0, 2.0, 0.1))  # gamma in mean amounts
_RELATED: Final = 0.3  # correlation beyond which the model's assumption is worth a warning

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GammaGamma:
    """A fitted model.

    Args:
        p: shape of a buyer's amounts.
        q, gamma: of the buyers' means; gamma in units of money.
        correlation: of amount and frequency, which the model takes for 0.
    """

    p: float
    q: float
    gamma: float
    correlation: float = 0.0

    @classmethod
    def fit(cls, num_purchases: Floats, mean_amount: Floats) -> Self:
        """Return the most likely parameters.

        Args:
            num_purchases: that each mean was taken over, ``[N]``; rows without any are left out.
            mean_amount: of one purchase, any unit of money, ``[N]``; amounts of nothing are left out.

        Raises:
            DataError: fewer than ``LEAST_REPEATERS`` rows are left, or no likelihood is greatest.
        """
        known = (num_purchases > 0) & (mean_amount > 0)
        x, z = num_purchases[known], mean_amount[known]
        if len(x) < LEAST_REPEATERS:
            raise DataError(
                f"expected amounts of at least {LEAST_REPEATERS} buyers who bought again, found {len(x)}; "
                "wait for more purchases, or give their prices."
            )
        unit = float(z.mean())
        found, _ = most_likely(_Likelihood(x, z / unit), _STARTS, names=PARAMETERS)
        related = float(np.corrcoef(x, z)[0, 1]) if x.std() > 0 and z.std() > 0 else 0.0
        if abs(related) > _RELATED:
            logger.warning(
                "amount and frequency correlate by %.2f: the value of frequent buyers is off by that", related
            )
        return cls(p=float(found[0]), q=float(found[1]), gamma=float(found[2]) * unit, correlation=related)

    @property
    def mean(self) -> float:
        """The mean amount of a buyer of whom nothing is known; of the typical one where no mean exists (q <= 1)."""
        return self.p * self.gamma / (self.q - 1) if self.q > 1 else self.p * self.gamma / self.q

    def expected(self, num_purchases: Floats, mean_amount: Floats) -> Floats:
        """Return each buyer's mean amount of a purchase to come, ``[N]``: own and shop's, weighed by purchases."""
        weight = self.p * num_purchases
        own = weight * np.where(num_purchases > 0, mean_amount, 0.0)
        base = self.q - 1 if self.q > 1 else self.q
        return (self.p * self.gamma + own) / (base + weight)


class _Likelihood:
    def __init__(self, num_purchases: Floats, mean_amount: Floats) -> None:
        self._x, self._z = num_purchases, mean_amount

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        p, q, gamma = parameters
        x, z = self._x, self._z
        shape, total = p * x, gamma + x * z
        gain = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(gamma)
        gain = gain + (shape - 1) * np.log(z) + shape * np.log(x) - (shape + q) * np.log(total)
        both = digamma(shape + q)
        by_p = x * (both - digamma(shape) + np.log(z * x) - np.log(total))
        by_q = both - digamma(q) + np.log(gamma) - np.log(total)
        by_gamma = q / gamma - (shape + q) / total
        return float(gain.sum()), np.array([by_p.sum(), by_q.sum(), by_gamma.sum()])
