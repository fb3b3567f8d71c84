"""ONNX models as the service runs them: one thread, no memory kept, nothing told to anybody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ReleaseError

if TYPE_CHECKING:
    import onnxruntime


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """Return a session over a model.

    Its memory is not pooled: a pool keeps for good what the largest batch took, 16 MB a session after one of 32 customers,
    and saves 2% of a run.

    Raises:
        ReleaseError: the file is no such model.
    """
    # ONNX Runtime reports to its makers otherwise, from a thread that it starts when it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ReleaseError(f"{path}: expected an ONNX model, found something else ({error}).") from None
