"""How much each event counts as something to predict."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.columns import EVENT_TYPE_CODES
from features.sequences import Sequences
from training.retrieval.config import LossConfig

_DAY_US: Final = 86_400_000_000

Ints = npt.NDArray[np.integer]


def target_weights(
    sequences: Sequences, *, candidates: Ints, num_codes: int, loss: LossConfig, newest_us: int | None = None
) -> npt.NDArray[np.float32]:
    """Return the loss weight of each event, float32 ``[N]``: by type, repeat and age; 0 where it is no candidate.

    Age is counted back from ``newest_us``; from the last of the sequences where that is not given.
    """
    by_type = np.ones(max(EVENT_TYPE_CODES.values()) + 1, np.float32)
    for name, weight in loss.event_weights.items():
        by_type[EVENT_TYPE_CODES[name]] = weight
    is_candidate = np.zeros(num_codes, np.float32)
    is_candidate[candidates] = 1
    weights = by_type[sequences.event_type] * is_candidate[sequences.item]
    if loss.half_life_days:
        newest_us = int(sequences.ts.max(initial=0)) if newest_us is None else newest_us
        age_days = (newest_us - sequences.ts) / _DAY_US
        weights = weights * np.exp2(-age_days / loss.half_life_days)
    return np.where(is_repeat(sequences), weights * loss.repeat_weight, weights).astype(np.float32)


def is_repeat(sequences: Sequences) -> npt.NDArray[np.bool_]:
    """Return whether the user had done the same with the item before, bool ``[N]``.

    A purchase after a view is no repeat; a second purchase is.
    """
    pair = sequences.user_of_event * (int(sequences.item.max(initial=0)) + 1) + sequences.item
    key = pair * (len(EVENT_TYPE_CODES) + 1) + sequences.event_type
    repeat = np.ones(sequences.num_events, bool)
    repeat[np.unique(key, return_index=True)[1]] = False
    return repeat
