"""What a training runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from features.errors import ConfigError

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """The machines behind a training. What is learned is the same up to rounding and chance, whatever stands here.

    Args:
        accelerator: ``cpu``; ``gpu``, one for each process; ``auto`` takes GPUs where torch finds any.
        processes: started on this machine, each of which learns from customers of its own. Leave 1 under ``torchrun``,
            which starts them itself, on one host or on several.
        precision: of the towers' arithmetic. ``bf16-mixed`` multiplies in bfloat16, ``16-mixed`` in float16 (GPU only);
            weights stay in 32 bits.
        compile: compile the towers' arithmetic with ``torch.compile``; left out, with a message, where torch finds no
            compiler.
        timeout_minutes: a process that keeps the others waiting for so long within training has been lost.
    """

    accelerator: Accelerator = "cpu"
    processes: int = 1
    precision: Precision = "32-true"
    compile: bool = False
    timeout_minutes: int = 30

    def __post_init__(self) -> None:
        for name, choices in (("accelerator", Accelerator), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(map(repr, get_args(choices)))
                raise ConfigError(f"compute.{name}: expected one of {known}, found {getattr(self, name)!r}.")
        for name in ("processes", "timeout_minutes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"compute.{name}: expected at least 1, found {getattr(self, name)}.")
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            raise ConfigError(
                "compute.precision: expected '32-true' or 'bf16-mixed' on a CPU, found '16-mixed', which needs a GPU."
            )


def processes_started_outside() -> int:
    """Return how many processes ``torchrun`` or the like has started for this training; 1 where nobody has."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def is_first_process() -> bool:
    """Whether this process is the one that speaks for all."""
    return processes_started_outside() == 1 or os.environ["RANK"] == "0"


def expect_one_process(what: str) -> None:
    """Check that nobody has started several processes for something that runs in one.

    Raises:
        ConfigError: they have.
    """
    if (found := processes_started_outside()) > 1:
        raise ConfigError(f"{what}: expected one process, found {found}; start it without torchrun.")
