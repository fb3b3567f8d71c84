"""Fit a small demand model in DIRECTORY/KILL_AT and die by SIGKILL when step KILL_AT is asked for.

    python tests/training/kill_demand.py DIRECTORY KILL_AT ...

Prints a line for each: the signal that ended its training. Trainings are forks of a process that has imported
everything and computed nothing.
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


def ended_by(directory: Path, kill_at: int) -> int:
    """Fit in a fork; return the signal that ended it, 0 where none did."""
    child = os.fork()
    if child == 0:
        try:
            fit(directory / str(kill_at), kill_at=kill_at)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status)


if __name__ == "__main__":
    for step in sys.argv[2:]:
        print(ended_by(Path(sys.argv[1]), int(step)))
