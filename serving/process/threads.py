"""One thread a worker for each library that brings a pool: pools that compete in one worker are slower than none."""

from __future__ import annotations

import os
from typing import Final

_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def one_thread_each() -> None:
    """Have FAISS, ONNX Runtime and BLAS keep to one thread; called before NumPy is imported, which reads it then."""
    os.environ.update(_ONE_THREAD)
