"""The nearest of all items, found exactly for many users at once.

Every score is computed, block by block, as one matrix multiply. Ordering them all would take longer than that, so that
most are never looked at twice: the k-th best score among an eighth of the items is one that the k-th best of all reaches,
and what lies below is dropped as soon as it is computed. What is left, some eight times k, is sorted.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.vocabulary import FIRST

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

_USERS: Final = 128  # of a block: with so many items, its scores stay in the processor's cache
_ITEMS: Final = 4_096
_SAMPLED: Final = 8
_WORD: Final = 8  # flags that are looked at together
_LAST: Final = np.iinfo(np.uint64).max


class ExactItems:
    """Items that may be shown, with their vectors side by side.

    Args:
        vectors: float32 ``[V, d]``; may be mapped from disk.
        codes: of the items, rising.
    """

    def __init__(self, vectors: Floats, codes: Ints) -> None:
        whole = len(codes) > 0 and codes[-1] - codes[0] + 1 == len(codes)  # no copy of all but PAD and UNKNOWN
        self._vectors = vectors[codes[0] : codes[-1] + 1] if whole else vectors[codes]
        self._codes = codes.astype(np.int64)
        self._sample = np.ascontiguousarray(self._vectors[::_SAMPLED])

    def search(self, user_vecs: Floats, depth: int) -> tuple[Floats, Ints]:
        """Return scores and codes of the best items, best first, ``[Q, min(depth, items)]``; ties go to the smaller code."""
        depth = min(depth, len(self._codes))
        found = [self._block(user_vecs[at : at + _USERS], depth) for at in range(0, len(user_vecs), _USERS)]
        if not found:
            return np.zeros((0, depth), np.float32), np.zeros((0, depth), np.int64)
        scores, places = (np.concatenate(column) for column in zip(*found, strict=True))
        return scores, self._codes[places]

    def _block(self, user_vecs: Floats, depth: int) -> tuple[Floats, Ints]:
        """Return scores and places of the best of some users."""
        least = self._least(user_vecs, depth)  # [U, 1]
        parts = [self._reaching(user_vecs, least, start) for start in range(0, len(self._codes), _ITEMS)]
        user, place, score = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _best(user, place, score, num_users=len(user_vecs), depth=depth)

    def _least(self, user_vecs: Floats, depth: int) -> Floats:
        """Return a score that the best ``depth`` of each user reach, float32 ``[U, 1]``."""
        if len(self._sample) <= depth:
            return np.full((len(user_vecs), 1), -np.inf, np.float32)
        scores = user_vecs @ self._sample.T
        scores.partition(len(self._sample) - depth, axis=1)
        # Another order of the sums may round the same score a little lower.
        return np.asarray(np.nextafter(scores[:, [-depth]] - np.float32(1e-6), np.float32(-np.inf)))

    def _reaching(self, user_vecs: Floats, least: Floats, start: int) -> tuple[Ints, Ints, Floats]:
        """Return users, places and scores of what reaches ``least`` in one block of items."""
        items = self._vectors[start : start + _ITEMS]
        scores = (user_vecs @ items.T).reshape(-1)
        flags = (scores.reshape(len(user_vecs), -1) >= least).reshape(-1)
        cells = _marked(flags)
        user, place = np.divmod(cells, len(items))
        return user, place + start, scores[cells]


def _marked(flags: npt.NDArray[np.bool_]) -> Ints:
    """Return where few flags are set: as ``flatnonzero``, which looks at each of them, eight at a time."""
    whole = len(flags) // _WORD * _WORD
    words = np.flatnonzero(flags[:whole].view(np.uint64))
    inner = np.flatnonzero(flags[:whole].reshape(-1, _WORD)[words])
    found = words[inner // _WORD] * _WORD + inner % _WORD
    return found if whole == len(flags) else np.concatenate([found, whole + np.flatnonzero(flags[whole:])])


def _best(user: Ints, place: Ints, score: Floats, *, num_users: int, depth: int) -> tuple[Floats, Ints]:
    """Return the best of each user, by score and then place: both in one number, which sorts in a fraction of the time."""
    bits = np.ascontiguousarray(score + np.float32(0)).view(np.int32)  # -0 as 0
    falling = ~np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)  # larger where the score is lower
    key = ((falling.astype(np.int64) + (1 << 31)).astype(np.uint64) << np.uint64(32)) | place.astype(np.uint64)
    order = np.argsort(user, kind="stable")
    counts = np.bincount(user, minlength=num_users)
    keys = np.full((num_users, int(counts.max(initial=depth))), _LAST)
    keys[np.arange(keys.shape[1]) < counts[:, None]] = key[order]
    keys.sort(axis=1)
    best = keys[:, :depth]
    falling = ((best >> np.uint64(32)).astype(np.int64) - (1 << 31)).astype(np.int32)
    bits = ~falling
    scores = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).view(np.float32)
    return scores, (best & np.uint64(0xFFFFFFFF)).astype(np.int64)


def shown_codes(shows: npt.NDArray[np.bool_]) -> Ints:
    """Return the codes of items that may be shown, rising."""
    codes = np.flatnonzero(shows)
    return codes[codes >= FIRST]
