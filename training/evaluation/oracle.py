"""On synthetic data: how much of what could be known a model finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.splits import Split
from training.evaluation.comparison import Comparison


def compare_with_oracle(
    comparisons: Sequence[Comparison],
    features: FeatureSet,
    split: Split,
    candidates: npt.NDArray[np.bool_],
    truth: Path | None,
) -> dict[str, Any] | None:
    """Return each model's share of the oracle's Recall@20, or ``None`` where no truth is given."""
    return None
