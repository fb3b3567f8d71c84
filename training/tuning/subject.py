"""What a study asks of a model whose settings it searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import lightning.pytorch as pl

from training.tuning.config import ModelConfig, SearchConfig, Value


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial came to.

    Args:
        score: of the best validation.
        steps: optimiser steps behind it.
    """

    score: float
    steps: int


class Subject(Protocol):
    """A model whose settings are searched: what a trial trains, and how its score is called."""

    @property
    def model(self) -> ModelConfig:
        """Settings that are not searched."""

    @property
    def tuning(self) -> SearchConfig:
        """What is searched, and how."""

    @property
    def data(self) -> dict[str, Any]:
        """What identifies the data; a study goes on with the same alone."""

    @property
    def metric(self) -> str:
        """Name of the score, ``ndcg@10``."""

    @property
    def monitored(self) -> str:
        """Name that Lightning has for it at each validation."""

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which scores are better."""

    @property
    def budget(self) -> str:
        """What a trial learns from, in words."""

    def learn(
        self, values: Mapping[str, Value], directory: Path, *, tracker: Any, callbacks: Sequence[pl.Callback]
    ) -> Outcome:
        """Train with some settings in ``directory``, going on from what is there; tell the callbacks of validations."""

    def progress(self, trainer: pl.Trainer) -> int:
        """Return how far a trial has come; trials are compared at the same number."""
