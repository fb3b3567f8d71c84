"""Fit a small demand model in DIRECTORY and die by SIGKILL when step KILL_AT is asked for.

python tests/training/kill_demand.py DIRECTORY KILL_AT
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.training.demand_worlds import poisson_panel, small_config
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.module import DemandModule
from training.demand.network.trainer import Fitted, fit_model

CONFIG = small_config(
    max_steps=24, validate_every_steps=8, checkpoint_every_steps=3, hidden_size=16, batch_size=16, dropout=0.3
)


def fit(directory: Path, *, kill_at: int | None = None) -> Fitted:
    train = DemandModule.training_step

    def step(self: DemandModule, batch: Any, batch_idx: int) -> Any:
        if self.global_step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return train(self, batch, batch_idx)

    DemandModule.training_step = step  # type: ignore[method-assign]
    try:
        return fit_model(
            PanelInputs.from_panel(poisson_panel(), CONFIG),
            CONFIG,
            fit_until=150,
            directory=directory,
            validation_origins=(150, 157),
        )
    finally:
        DemandModule.training_step = train  # type: ignore[method-assign]


if __name__ == "__main__":
    fit(Path(sys.argv[1]), kill_at=int(sys.argv[2]))
