"""What Lightning is told about the machines of a training."""

from __future__ import annotations

import datetime as dt
from typing import Any

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from features.errors import ConfigError
from training.parallel.ranks import Ranks
from training.parallel.settings import ComputeConfig


def trainer_options(settings: ComputeConfig, ranks: Ranks) -> dict[str, Any]:
    """Return what ``lightning.Trainer`` takes: accelerator, devices, precision and, for several ranks, DDP.

    Raises:
        ConfigError: a GPU is asked for and there is none, or fewer than processes.
    """
    accelerator = found_accelerator(settings, ranks)
    options: dict[str, Any] = {
        "accelerator": accelerator,
        "devices": ranks.local_of,
        "precision": settings.precision,
        # On a GPU some kernels have no deterministic form.
        "deterministic": True if accelerator == "cpu" else "warn",
    }
    if ranks.of == 1:
        return options
    strategy = DDPStrategy(
        cluster_environment=TorchElasticEnvironment(),
        broadcast_buffers=False,  # they follow from the data and from steps that all ranks make alike
        gradient_as_bucket_view=True,
        timeout=dt.timedelta(minutes=settings.timeout_minutes),
    )
    return options | {"num_nodes": ranks.num_hosts, "strategy": strategy, "use_distributed_sampler": False}


def found_accelerator(settings: ComputeConfig, ranks: Ranks) -> str:
    """Return ``cpu`` or ``gpu``.

    Raises:
        ConfigError: see ``trainer_options``.
    """
    found = torch.cuda.device_count() if settings.accelerator != "cpu" else 0
    accelerator = "gpu" if settings.accelerator == "gpu" or found else "cpu"
    if accelerator == "gpu" and found < ranks.local_of:
        raise ConfigError(
            f"compute.accelerator: expected a GPU for each of {ranks.local_of} processes on this machine, found {found}; "
            "start fewer processes, or set cpu."
        )
    if accelerator == "cpu" and settings.precision == "16-mixed":
        raise ConfigError(
            "compute.precision: expected '32-true' or 'bf16-mixed' on a CPU, found '16-mixed', which needs a GPU."
        )
    return accelerator
