"""The exported user tower: model inputs in, user vectors out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import ReleaseError
from features.history import EncodedHistory, encode_history
from features.sequences import Sequences
from serving.onnx_session import session_of

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]
# What a run of the model costs beside its positions, in positions: 90 and 2 microseconds were measured (decision 0022).
_RUN_COST: Final = 45
# More at once leaves the processor's cache.
_RUN_POSITIONS: Final = 2_048
INPUTS: Final = ("item", "event_type", "gap", "price_band")


class UserTower:
    """Runs the ONNX tower on one thread.

    Args:
        path: a model that takes ``item, event_type, gap, price_band`` int64 ``[B, L]``, right-aligned, PAD 0,
            and answers user vectors float32 ``[B, d]``.
        max_length: the most events it was trained on.

    Raises:
        ReleaseError: the file is no such model.
    """

    def __init__(self, path: Path, *, max_length: int) -> None:
        self._session = session_of(path)
        self._max_length = max_length
        self._inputs = [value.name for value in self._session.get_inputs()]
        if not set(self._inputs) <= set(INPUTS):
            raise ReleaseError(f"{path}: expected inputs out of {list(INPUTS)}, found {self._inputs}; export it again.")

    def encode(self, sequences: Sequences) -> Floats:
        """Return each user's vector, ``[B, d]``; every user has at least one event."""
        # The gap of the first event that is read is measured to the one before it.
        recent = sequences.last(self._max_length + 1) if sequences.lengths.max() > self._max_length + 1 else sequences
        groups = length_groups(np.minimum(recent.lengths, self._max_length))
        if len(groups) == 1:
            return self._run(recent)
        rows = np.concatenate(groups)
        vectors = np.concatenate([self._run(recent.take(group)) for group in groups])
        return vectors[np.argsort(rows)]

    def encode_many(self, sequences: Sequences) -> Floats:
        """Return what ``encode`` returns, for thousands of users: neighbours by length run together."""
        recent = sequences.last(self._max_length + 1)
        order = np.argsort(np.minimum(recent.lengths, self._max_length), kind="stable")
        encoded = encode_history(recent.take(order), max_length=self._max_length)
        stops = run_stops(encoded.lengths)
        vectors = np.concatenate(
            [self._vectors(encoded.part(start, stop)) for start, stop in itertools.pairwise([0, *stops])]
        )
        return vectors[np.argsort(order)]

    def _run(self, sequences: Sequences) -> Floats:
        return self._vectors(encode_history(sequences, max_length=self._max_length))

    def _vectors(self, encoded: EncodedHistory) -> Floats:
        inputs = encoded.padded()  # int64 [B, L] each
        vectors: Floats = self._session.run(None, {name: inputs[name] for name in self._inputs})[0]
        return vectors  # [B, d]


def run_stops(rising: Ints) -> list[int]:
    """Return where runs of the model end, so that each computes about as many positions, padded ones included.

    >>> run_stops(np.array([1] * 3000 + [50] * 100))
    [2048, 3000, 3040, 3080, 3100]

    Args:
        rising: events of each user ``[B]``, rising.
    """
    stops: list[int] = []
    while (start := stops[-1] if stops else 0) < len(rising):
        # So many rows of the shortest; fewer where the last of them would pad the others too far.
        stop = min(len(rising), start + max(1, _RUN_POSITIONS // max(1, int(rising[start]))))
        widths = np.arange(1, stop - start + 1) * rising[start:stop]
        stops.append(start + max(1, int(np.searchsorted(widths, _RUN_POSITIONS, "right"))))
    return stops


def length_groups(lengths: Ints) -> list[Ints]:
    """Return rows that are best run together, so that short histories are not padded to the longest of a batch.

    A split saves the positions that are not padded and costs a run more.

    >>> [rows.tolist() for rows in length_groups(np.array([50, 2, 49, 3, 2]))]
    [[1, 4, 3], [2, 0]]

    Args:
        lengths: events of each user ``[B]``.
    """
    order = np.argsort(lengths, kind="stable")
    rising = lengths[order]
    saved = np.arange(1, len(rising)) * (rising[-1] - rising[:-1])  # by a split behind each row
    if not len(saved) or saved.max() <= _RUN_COST:
        return [order]
    behind = int(saved.argmax()) + 1
    return [*(order[:behind][rows] for rows in length_groups(rising[:behind])), order[behind:]]
