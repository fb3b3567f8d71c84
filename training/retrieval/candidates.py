"""Which items can be recommended, and which of them a target competes with."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog
from features.sequences import Sequences
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.config import RetrievalConfig

_DAY_US: Final = 86_400_000_000

Ints = npt.NDArray[np.integer]


def candidate_items(
    sequences: Sequences, catalog: ItemCatalog, *, as_of_us: int, config: RetrievalConfig, ranks: Ranks = ALONE
) -> npt.NDArray[np.int64]:
    """Return the item codes that can be recommended, rising.

    An available item with ``min_item_events`` events, or one created in the ``new_item_days`` before ``as_of_us``; the
    events of all ranks count.
    """
    counts = ranks.sum(np.bincount(sequences.item, minlength=len(catalog)))
    known = counts >= max(1, config.min_item_events)
    since_us = as_of_us - config.new_item_days * _DAY_US
    created = catalog.created_at_us
    new = (created > 0) & (created >= since_us) & (created <= as_of_us) & config.tower.content
    return np.flatnonzero((known | new) & catalog.available).astype(np.int64)


def competing_items(candidates: Ints, known: npt.NDArray[np.bool_]) -> Ints:
    """Return the candidates that targets compete with: those of the fit part.

    An item that nobody could have chosen yet is not passed over by those who chose another; as a competitor it would
    only learn to lose.
    """
    competing = candidates[known[candidates]]
    return competing if len(competing) else candidates
