"""Full-ranking metrics a user, and metrics of all lists together.

Q questions, lists of length k, a set of relevant items a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.recommendations import Recommendations
from features.sequences import Sequences

KS: Final = (5, 10, 20)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class RelevantItems:
    """The distinct items that answer each of ``Q`` questions.

    Args:
        question: int64 ``[M]``, rising.
        item: item codes ``[M]``, rising within a question.
        counts: int64 ``[Q]``, at least 1.
    """

    question: Ints
    item: Ints
    counts: Ints

    @classmethod
    def of(cls, targets: Sequences) -> RelevantItems:
        """Take the distinct items of each user's targets.

        Raises:
            DataError: a user has no target; such a question has no answer to measure.
        """
        if (targets.lengths == 0).any():
            raise DataError(
                f"RelevantItems: expected a target for every user, found {int((targets.lengths == 0).sum())} users "
                "without one; leave these users out."
            )
        pairs = np.unique(np.stack([targets.user_of_event, targets.item.astype(np.int64)]), axis=1)
        counts = np.bincount(pairs[0], minlength=targets.num_users)
        return cls(question=pairs[0], item=pairs[1], counts=counts)

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self.counts)

    def where(self, keep: Bools) -> tuple[Ints, RelevantItems]:
        """Keep some of the pairs, and the questions that still have one.

        Args:
            keep: bool ``[M]``.

        Returns:
            which questions stay, rising, and their relevant items.
        """
        questions, question = np.unique(self.question[keep], return_inverse=True)
        counts = np.bincount(question, minlength=len(questions))
        return questions, RelevantItems(question=question, item=self.item[keep], counts=counts)


def hit_matrix(recommendations: Recommendations, relevant: RelevantItems, *, k: int) -> Bools:
    """Return which of the first ``k`` items of each list are relevant, bool ``[Q, k]``.

    Raises:
        DataError: there are not as many lists as questions.
    """
    if recommendations.num_lists != relevant.num_questions:
        raise DataError(
            f"Metrics: expected one list a question, found {recommendations.num_lists} lists for "
            f"{relevant.num_questions} questions."
        )
    items, held = recommendations.top(k)
    stride = 1 + max(int(relevant.item.max(initial=0)), int(items.max(initial=0)))
    cells = np.arange(len(items))[:, None] * stride + items.astype(np.int64)
    return np.isin(cells, relevant.question * stride + relevant.item) & held


def user_metrics(
    recommendations: Recommendations, relevant: RelevantItems, *, ks: tuple[int, ...] = KS
) -> dict[str, Floats]:
    """Return each metric as float64 ``[Q]``, keyed ``recall@10`` and so on.

    With h hits among the first k and n relevant items::

        recall@k          h / n
        capped_recall@k   h / min(k, n)      1 where no list of length k could be better
        hit_rate@k        1 if h > 0
        ndcg@k            sum of 1 / log2(rank + 1) over hits / the same sum for a perfect list
        mrr@k             1 / rank of the first hit, 0 without one

    Args:
        recommendations: ``Q`` lists; a short list counts as misses.
        relevant: ``Q`` sets.
        ks: cut-offs.
    """
    hits = hit_matrix(recommendations, relevant, k=max(ks))
    return {name: values for k in ks for name, values in _metrics_at(hits[:, :k], relevant.counts, k).items()}


def _metrics_at(hits: Bools, num_relevant: Ints, k: int) -> dict[str, Floats]:
    num_hits = hits.sum(axis=1)
    capped = np.minimum(num_relevant, k)
    discount = 1 / np.log2(np.arange(2, k + 2))  # [k]
    ideal = np.cumsum(discount)[capped - 1]  # of min(k, n) hits at the top
    first = np.where(num_hits > 0, hits.argmax(axis=1) + 1, np.inf)
    return {
        f"recall@{k}": num_hits / num_relevant,
        f"capped_recall@{k}": num_hits / capped,
        f"hit_rate@{k}": (num_hits > 0).astype(np.float64),
        f"ndcg@{k}": hits @ discount / ideal,
        f"mrr@{k}": 1 / first,
    }


def list_metrics(
    recommendations: Recommendations, *, counts: Ints, num_candidates: int, ks: tuple[int, ...] = KS
) -> dict[str, float]:
    """Return what all lists together look like, keyed ``coverage@10`` and so on.

        coverage@k          share of the candidates that stand in at least one list
        novelty@k           mean surprise of a shown item in bits: -log2 of its share of all events (plus one each);
                            Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems"
        mean_popularity@k   mean number of events of a shown item

    More stand in ``list_quality``.

    Args:
        recommendations: all lists.
        counts: events of each item in the fitted data, ``[V]``.
        num_candidates: items that could be shown.
        ks: cut-offs.
    """
    bits = surprise(counts)
    metrics: dict[str, float] = {}
    for k in ks:
        items, held = recommendations.top(k)
        shown = items[held]
        metrics[f"coverage@{k}"] = len(np.unique(shown)) / num_candidates
        metrics[f"novelty@{k}"] = float(bits[shown].mean()) if len(shown) else 0.0
        metrics[f"mean_popularity@{k}"] = float(counts[shown].mean()) if len(shown) else 0.0
    return metrics


def surprise(counts: Ints) -> Floats:
    """Return each item's self-information in bits, ``[V]``: -log2 of its share of all events, one added to each.

    >>> surprise(np.array([3, 0, 2])).round(3).tolist()
    [1.0, 3.0, 1.415]
    """
    return -np.log2((counts + 1) / (counts.sum() + len(counts)))
