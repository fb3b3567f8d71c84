"""What a training learns from and is asked: sequences without the erased, windows, candidates.

With several ranks each holds users of its own; instants, counts and candidates are those of all.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES
from features.errors import DataError
from features.release.erasure import ErasedUsers
from features.sequences import Sequences
from features.splits import Split
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.candidates import candidate_items
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Lesson

_DAY_US: Final = 86_400_000_000

logger = logging.getLogger(__name__)


def remembered(feature_set: FeatureSet, erased: ErasedUsers, ranks: Ranks = ALONE) -> tuple[Sequences, int]:
    """Return a rank's sequences, those of erased users empty, and how many users of all ranks that are."""
    sequences = feature_set.sequences.part(ranks.rank, ranks.of)
    first = sum(feature_set.sequences.part(rank, ranks.of).num_users for rank in range(ranks.rank))
    ids = feature_set.users.ids[first : first + sequences.num_users]
    forgotten = np.array([user in erased for user in ids], dtype=bool)
    num_forgotten = int(ranks.sum(int(forgotten.sum())))
    if num_forgotten:
        logger.info("erased: %d of %d users teach nothing", num_forgotten, len(feature_set.users.ids))
    return sequences.where(~forgotten[sequences.user_of_event]) if forgotten.any() else sequences, num_forgotten


def split_for(
    sequences: Sequences, config: RetrievalConfig, *, last_us: int | None = None, ranks: Ranks = ALONE
) -> Split:
    """Return the split that a training learns, validates and is tested on.

    Global temporal, by the last ``test_days`` and the ``validation_days`` before them; leave-one-out
    where that is asked for, or where the log has no instants.

    Args:
        sequences: what is split.
        config: windows and protocol.
        last_us: last instant of the log, where ``sequences`` are not all of it.
        ranks: each of which splits its own users at the instants that all of them have.

    Raises:
        DataError: there are no events, the log is shorter than both windows, or it has no instants to cut at.
    """
    if int(ranks.sum(sequences.num_events)) == 0:
        raise DataError(
            "Expected item events of customers who may be learned from, found none; consent or the erasure list leaves nobody."
        )
    last_us = int(ranks.largest(sequences.ts.max(initial=0))) if last_us is None else last_us
    if config.split.protocol == "leave_one_out" or (config.split.protocol == "auto" and last_us == 0):
        return Split.leave_one_out(sequences)
    if last_us == 0:
        raise DataError("split.protocol: expected instants for a global temporal split, found none; set leave_one_out.")
    windows = config.split
    test_from_us = last_us + 1 - windows.test_days * _DAY_US
    validation_from_us = test_from_us - windows.validation_days * _DAY_US
    first_us = -int(ranks.largest(-sequences.ts.min(initial=last_us)))
    if validation_from_us <= first_us:
        raise DataError(
            f"Expected a log longer than validation_days + test_days = {windows.validation_days + windows.test_days}, "
            f"found {(last_us - first_us) / _DAY_US:.1f} days; shorten the windows."
        )
    split = Split.global_temporal(
        sequences,
        validation_from_us=validation_from_us,
        test_from_us=test_from_us,
        target_event_types=target_codes(sequences, config, ranks),
        may_ask_nobody=ranks.of > 1,
    )
    if int(ranks.sum(split.validation.num_users)) == 0:
        raise DataError(
            "Split: expected users with events on both sides of the cut-off, found none; move the cut-offs."
        )
    return split


def target_codes(sequences: Sequences, config: RetrievalConfig, ranks: Ranks = ALONE) -> tuple[int, ...]:
    """Return the codes of the event types that count as answers; all where the log has none of them."""
    wanted = tuple(EVENT_TYPE_CODES[name] for name in config.split.target_event_types)
    return wanted if int(ranks.sum(int(np.isin(sequences.event_type, wanted).sum()))) else ()


def lesson_of(
    feature_set: FeatureSet,
    fit: Sequences,
    *,
    as_of_us: int,
    config: RetrievalConfig,
    split: Split | None = None,
    ranks: Ranks = ALONE,
) -> Lesson:
    """Return what is learned from ``fit``, validated on the split's validation window where one is given.

    Args:
        feature_set: catalogue and shop.
        fit: sequences to learn from.
        as_of_us: end of what ``fit`` holds; 0 without instants.
        config: which items are candidates.
        split: whose validation window chooses the step; ``None`` for a refit.
        ranks: that learn together, each from a ``fit`` of its own.

    Raises:
        DataError: no item can be recommended.
    """
    candidates = candidate_items(fit, feature_set.catalog, as_of_us=as_of_us, config=config, ranks=ranks)
    if len(candidates) == 0:
        raise DataError(
            f"Expected items with at least {config.min_item_events} events to recommend, found none; "
            "lower min_item_events."
        )
    return Lesson(
        fit=fit,
        validation=split.validation if split else None,
        catalog=feature_set.catalog,
        candidates=candidates,
        num_price_bands=feature_set.shop.num_price_bands,
        ranks=ranks,
    )
