"""The exported user tower: model inputs in, user vectors out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from features.errors import ReleaseError
from features.history import encode_history
from features.sequences import Sequences

Floats = npt.NDArray[np.float32]
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
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ReleaseError(f"{path}: expected an ONNX model, found something else ({error}).") from None
        self._max_length = max_length
        self._inputs = [value.name for value in self._session.get_inputs()]
        if not set(self._inputs) <= set(INPUTS):
            raise ReleaseError(f"{path}: expected inputs out of {list(INPUTS)}, found {self._inputs}; export it again.")

    def encode(self, sequences: Sequences) -> Floats:
        """Return each user's vector, ``[B, d]``; every user has at least one event."""
        inputs = encode_history(sequences, max_length=self._max_length).padded()  # int64 [B, L] each
        vectors: Floats = self._session.run(None, {name: inputs[name] for name in self._inputs})[0]
        return vectors  # [B, d]
