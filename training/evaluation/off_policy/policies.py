"""Target policies: how likely each candidate is to be drawn for the slot, given a history.

B histories, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from features.sequences import Sequences

Floats = npt.NDArray[np.float64]


class Policy(Protocol):
    """Draws one candidate for a slot."""

    @property
    def name(self) -> str:
        """How reports call it."""

    @property
    def about(self) -> str:
        """What it does, in a sentence."""

    def probabilities(self, scores: Floats) -> Floats:
        """Return how likely each candidate is, float64 ``[B, C]``, rows summing to 1.

        Args:
            scores: the model's scores of the candidates for ``B`` histories, ``[B, C]``.
        """


@dataclass(frozen=True, kw_only=True)
class SoftmaxPolicy:
    """Draws a candidate in proportion to ``exp(score / temperature)``: the first place of a Plackett-Luce ranking.

    Source: Plackett 1975, "The Analysis of Permutations", Applied Statistics 24.

    Args:
        name: in reports.
        temperature: near 0 always the best, high the more even.
    """

    name: str
    temperature: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(
                f"temperature: expected a number above 0, found {self.temperature:g}; a ranker without chance cannot "
                "be weighed against a log."
            )

    @property
    def about(self) -> str:
        """What it does, in a sentence."""
        return f"draws from its softmax at temperature {self.temperature:g}"

    def probabilities(self, scores: Floats) -> Floats:
        """Return how likely each candidate is, float64 ``[B, C]``."""
        odds = np.exp((scores - scores.max(axis=1, keepdims=True)) / self.temperature)
        return odds / odds.sum(axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPolicy:
    """Draws a candidate by shares that are the same for everybody.

    Args:
        name: in reports.
        about: what it does, in a sentence.
        weights: float64 ``[C]``, 0 or more, some above 0; scaled to sum to 1.
    """

    name: str
    about: str
    weights: Floats

    def probabilities(self, scores: Floats) -> Floats:
        """Return how likely each candidate is, float64 ``[B, C]``."""
        return np.broadcast_to(self.weights / self.weights.sum(), scores.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The items that target policies draw from, and how a model scores them.

    Args:
        codes: item codes, rising, int64 ``[C]``.
        score: histories, none empty, to scores ``[B, C]``.
    """

    codes: npt.NDArray[np.integer]
    score: Callable[[Sequences], npt.NDArray[np.floating]]

    def column_of(self, item: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the column of each item code, -1 where it is no candidate."""
        place = np.minimum(np.searchsorted(self.codes, item), len(self.codes) - 1)
        return np.where(self.codes[place] == item, place, -1).astype(np.int64)
