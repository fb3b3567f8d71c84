"""What lists are like beside being right: varied, even-handed, and true to what a customer likes.

Q lists of at most k items, V item codes. All are computed over the items shown, a short list as it is; a
customer for whom a figure is not defined is left out of its mean.

    diversity@k              intra-list diversity: 1 less the mean cosine of two items of a list
                             Smyth and McClave 2001, "Similarity vs. diversity"; Ziegler et al. 2005,
                             "Improving recommendation lists through topic diversification"
    popularity_percentile@k  mean place of a shown item among the candidates by events: 0 none has fewer, 1 none has more
    popularity_lift@k        mean popularity of a list over that of its customer's history, less 1: 0 is as the customer
                             does, above 0 is more popular; Abdollahpouri et al. 2019, "The unfairness of popularity
                             bias in recommendation"
    gini@k                   how unevenly shows are spread over the candidates: 0 all alike, towards 1 few take all
                             Gini 1912; Fleder and Hosanagar 2009, "Blockbuster culture's next rise or fall"
    calibration_kl@k         KL divergence, nats, of the list's categories from the history's: 0 has the same shares
                             Steck 2018, "Calibrated recommendations"

Coverage and novelty stand in ``metrics.list_metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.catalog import ItemCatalog
from features.content import ItemContent
from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.baselines.attribute_knn import content_profiles, known_fields
from training.evaluation.metrics import KS

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

# Steck's alpha: so much of the history is mixed into the list, so that a category that is missing costs a finite amount.
_SMOOTHING: Final = 0.01
_LISTS_A_TIME: Final = 4096
_TITLE_BUCKETS: Final = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemFacts:
    """What lists are judged by.

    Args:
        counts: events of each item in the fitted data, int ``[V]``.
        candidates: bool ``[V]``, items that could be shown.
        category: top-level category, int64 ``[V]``, -1 where unknown.
        profiles: unit rows, sparse ``[V, A]``, empty where nothing is known; similarity is their inner product.
        similarity: what ``profiles`` are made of, in words.
    """

    counts: Ints
    candidates: Bools
    category: Ints
    profiles: sparse.csr_array
    similarity: str = "content"

    @classmethod
    def from_catalog(cls, catalog: ItemCatalog, *, counts: Ints, candidates: Bools) -> ItemFacts:
        """Take the first level of the category path, and compare items by their content.

        Content is category levels, brand, labels, price band and title, as in ``AttributeKNN``.
        """
        content = ItemContent.from_catalog(catalog, num_title_buckets=_TITLE_BUCKETS)
        names = np.array([path.split("/")[0] for path in catalog.category], dtype=object)
        known = sorted(set(names) - {""})
        code = {"": -1} | {name: number for number, name in enumerate(known)}
        return cls(
            counts=counts,
            candidates=candidates,
            category=np.array([code[name] for name in names], np.int64),
            profiles=content_profiles(content),
            similarity=", ".join(known_fields(content)),
        )

    @property
    def popularity_percentile(self) -> Floats:
        """Place of each item among the candidates by events, in [0, 1]; equals share the middle of their places."""
        among = np.sort(self.counts[self.candidates])
        fewer = np.searchsorted(among, self.counts, side="left")
        at_most = np.searchsorted(among, self.counts, side="right")
        return (fewer + at_most) / (2 * max(len(among), 1))


def list_quality(
    recommendations: Recommendations, history: Sequences, facts: ItemFacts, *, ks: tuple[int, ...] = KS
) -> dict[str, float]:
    """Return every figure of this module, keyed ``diversity@10`` and so on.

    Those that need content or categories are left out where no item has any.

    Args:
        recommendations: ``Q`` lists.
        history: what the same ``Q`` customers did before.
        facts: of the items.
        ks: cut-offs.
    """
    percentile = facts.popularity_percentile
    found: dict[str, float] = {}
    for k in ks:
        items, held = recommendations.top(k)
        shown = items[held]
        found[f"popularity_percentile@{k}"] = float(percentile[shown].mean()) if len(shown) else 0.0
        found[f"popularity_lift@{k}"] = _mean(popularity_lift(items, held, history, facts.counts))
        found[f"gini@{k}"] = gini(np.bincount(shown, minlength=len(facts.candidates))[facts.candidates])
        if facts.profiles.nnz:
            found[f"diversity@{k}"] = _mean(diversity(items, held, facts.profiles))
        if (facts.category >= 0).any():
            found[f"calibration_kl@{k}"] = _mean(miscalibration(items, held, history, facts.category))
    return found


def diversity(items: Ints, held: Bools, profiles: sparse.csr_array) -> Floats:
    """Return 1 less the mean cosine over pairs of each list, ``[Q]``; NaN for a list without a pair.

    The sum over pairs is (|sum of vectors|² - sum of |vector|²) / 2, so that no pair is ever formed.

    Args:
        items: codes ``[Q, k]``.
        held: which cells hold an item, bool ``[Q, k]``.
        profiles: unit or empty rows ``[V, A]``; an item without one is like no other.
    """
    own = np.asarray(profiles.multiply(profiles).sum(axis=1)).ravel()  # 1, or 0 where nothing is known
    num_items = held.sum(axis=1)
    together = np.zeros(len(items))
    for start in range(0, len(items), _LISTS_A_TIME):
        span = slice(start, start + _LISTS_A_TIME)
        total = sparse.csr_array(_indicator(items[span], held[span], num_codes=len(own)) @ profiles)
        together[span] = np.asarray(total.multiply(total).sum(axis=1)).ravel()
    alike = together - np.where(held, own[items], 0).sum(axis=1)
    pairs = num_items * (num_items - 1)
    return 1 - _ratio(alike, pairs)


def popularity_lift(items: Ints, held: Bools, history: Sequences, counts: Ints) -> Floats:
    """Return the mean count of each list over the mean count of its history, less 1, ``[Q]``; NaN where undefined."""
    shown = _ratio(np.where(held, counts[items], 0).sum(axis=1), held.sum(axis=1))
    events = np.bincount(history.user_of_event, weights=counts[history.item], minlength=history.num_users)
    return _ratio(shown, _ratio(events, history.lengths)) - 1


def gini(shows: Ints) -> float:
    """Return the Gini coefficient of a count an item; 0 where nothing was shown.

    >>> gini(np.array([1, 1, 1, 1])), gini(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    total, num_items = int(shows.sum()), len(shows)
    if total == 0:
        return 0.0
    rank = np.arange(1, num_items + 1)
    return float(((2 * rank - num_items - 1) * np.sort(shows)).sum() / (num_items * total))


def miscalibration(items: Ints, held: Bools, history: Sequences, category: Ints) -> Floats:
    """Return KL(history || list) over categories in nats, ``[Q]``; NaN where either has none.

    Each event and each place in a list counts alike; items without a category are left out of both.
    """
    rows = np.broadcast_to(np.arange(len(items))[:, None], items.shape)[held]
    shape = (len(items), 1 + int(category.max(initial=0)))
    liked = _shares(history.user_of_event, category[history.item], shape)
    given = _shares(rows, category[items[held]], shape)
    mixed = _SMOOTHING * liked + (1 - _SMOOTHING) * given
    terms = np.zeros_like(liked)
    held_cells = liked > 0
    terms[held_cells] = liked[held_cells] * np.log(liked[held_cells] / mixed[held_cells])
    defined = (liked.sum(axis=1) > 0) & (given.sum(axis=1) > 0)
    return np.where(defined, terms.sum(axis=1), np.nan)


def _shares(row: Ints, category: Ints, shape: tuple[int, int]) -> Floats:
    """Return each category's share of a row's items, ``[Q, C]``; a row without any is all 0."""
    known = category >= 0
    cells = row[known] * shape[1] + category[known]
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _indicator(items: Ints, held: Bools, *, num_codes: int) -> sparse.csr_array:
    offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
    return sparse.csr_array((np.ones(int(offsets[-1])), items[held], offsets), shape=(len(items), num_codes))


def _ratio(over: Floats | Ints, under: Floats | Ints) -> Floats:
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)


def _mean(values: Floats) -> float:
    """Return the mean of what is defined; 0 where nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else 0.0
