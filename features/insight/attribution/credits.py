"""Each model's credit by touch, with intervals over users."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from features.errors import ConfigError
from features.insight.attribution.counts import Floats, JourneyCounts
from features.insight.attribution.definition import DEFAULT, MODELS, AttributionDefinition
from features.insight.attribution.markov import Chain
from features.insight.attribution.rules import rule_credits
from features.insight.attribution.shapley import Sets
from features.insight.definitions import check_choice
from features.insight.intervals import LEVEL

WORTHS: Final = ("conversions", "revenue")
NUM_SAMPLES: Final = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Credits:
    """One model's credit, and how it scatters over samples of users.

    Args:
        model: its name.
        touches: names ``[C]``.
        found: conversions and revenue, ``[C, 2]``; they sum to the totals.
        samples: the same of each sample of users, ``[B, C, 2]``.
        standard_error: of permutations that were sampled, ``[C, 2]``; 0 where all coalitions were asked.
    """

    model: str
    touches: tuple[str, ...]
    found: Floats
    samples: Floats
    standard_error: Floats

    def interval(self, *, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Return the ends of the percentile interval of each figure, ``[C, 2]`` twice; missing without samples."""
        if not len(self.samples):
            return np.full_like(self.found, np.nan), np.full_like(self.found, np.nan)
        low, high = np.quantile(self.samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def share_interval(self, *, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Return the ends of the interval of each touch's share of the total, ``[C, 2]`` twice; missing without samples."""
        sums = self.samples.sum(axis=1, keepdims=True)
        shares = np.divide(self.samples, sums, out=np.zeros_like(self.samples), where=sums > 0)
        return dataclasses.replace(self, samples=shares).interval(level=level)

    def table(self, *, level: float = LEVEL) -> pd.DataFrame:
        """Return one row a touch: model, touch, then conversions and revenue, each with its share and both intervals."""
        ends, share_ends = self.interval(level=level), self.share_interval(level=level)
        columns: dict[str, object] = {"model": self.model, "touch": list(self.touches)}
        total = self.found.sum(axis=0)
        for column, name in enumerate(WORTHS):
            columns[name] = self.found[:, column]
            columns[f"{name}_low"], columns[f"{name}_high"] = (end[:, column] for end in ends)
            columns[f"{name}_share"] = self.found[:, column] / total[column] if total[column] else np.nan
            columns[f"{name}_share_low"], columns[f"{name}_share_high"] = (end[:, column] for end in share_ends)
        columns["sampling_error"] = self.standard_error[:, 0]
        return pd.DataFrame(columns)


def attribute(
    counts: JourneyCounts,
    definition: AttributionDefinition = DEFAULT,
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
) -> dict[str, Credits]:
    """Return what each model of a definition credits.

    Intervals are of the bootstrap over users: the 256 groups that users fall into by their ids are drawn with
    replacement, whole. A model is fitted anew to each sample.

    Args:
        counts: the journeys.
        definition: says which models, and how they are set.
        num_samples: B, of users; 0 leaves the intervals out.
        seed: of the samples.
    """
    weights = _sample_weights(counts.num_groups, num_samples, seed)
    return {model: _credits(model, counts, definition, weights) for model in definition.models}


def credit_table(models: Sequence[Credits], *, level: float = LEVEL) -> pd.DataFrame:
    """Return the tables of several models below each other."""
    return pd.concat([credit.table(level=level) for credit in models], ignore_index=True)


def _credits(model: str, counts: JourneyCounts, definition: AttributionDefinition, weights: Floats) -> Credits:
    check_choice("models", model, MODELS)
    observed, solve, error = _model(model, counts, definition)
    samples = np.array([solve(row @ observed) for row in weights]).reshape(len(weights), counts.num_touches, 2)
    whole = observed.sum(axis=0)
    return Credits(model=model, touches=counts.touches, found=solve(whole), samples=samples, standard_error=error)


def _model(
    model: str, counts: JourneyCounts, definition: AttributionDefinition
) -> tuple[Floats, Callable[[Floats], Floats], Floats]:
    """Return a model's sums by group ``[G, F]``, what turns sums into credit, and errors of sampling ``[C, 2]``."""
    shape = (counts.num_touches, 2)

    no_error = np.zeros(shape)
    if model == "markov":
        chain, observed = Chain.of_counts(counts, order=definition.markov_order)
        return observed, chain.credits, no_error
    if model == "shapley":
        sets, observed = Sets.of_counts(counts, game=definition.coalitions)
        return observed, sets.credits, sets.standard_errors(observed.sum(axis=0))
    by_group = rule_credits(counts, model).reshape(counts.num_groups, -1)
    return by_group, lambda observed: observed.reshape(shape), no_error


def _sample_weights(num_groups: int, num_samples: int, seed: int) -> Floats:
    """Return how often each sample holds each group, ``[B, G]``."""
    if num_samples < 0:
        raise ConfigError(f"num_samples: expected 0 or more, found {num_samples}.")
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=num_samples).astype(np.float64)
