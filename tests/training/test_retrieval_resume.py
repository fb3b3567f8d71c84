"""A training killed with SIGKILL and resumed ends with the weights of one left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.kill_retrieval import CONFIG, lesson
from training.reproducibility import StepCheckpoint, random_states, set_random_states
from training.retrieval.batches import Batch, TrainingBatches
from training.retrieval.learn import Learned, learn
from training.retrieval.running import CHECKPOINT_FILE, DONE_FILE, WEIGHTS_FILE

SCRIPT = Path(__file__).with_name("kill_retrieval.py")


def test_training_when_killed_twice_and_resumed_then_weights_are_bit_equal(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path), "--kills", "2", "--seed", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["bit_equal"], result
    # It went on from a checkpoint, not from the start, and from none later than the kill.
    for killed_at, went_on_from in zip(result["killed_at"], result["went_on_from"], strict=True):
        assert killed_at - 5 <= went_on_from <= killed_at + 1


def test_random_states_when_set_back_then_the_same_numbers_follow() -> None:
    states = random_states()

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    first = draw()
    assert draw() != first
    set_random_states(states)
    assert draw() == first


def test_checkpoint_rule_when_validation_is_due_then_it_waits_one_step() -> None:
    rule = StepCheckpoint(Path("unused"), every_steps=4, validation_steps=8)
    assert [step for step in range(1, 26) if rule._is_due(step)] == [4, 9, 12, 17, 20, 25]
    rule = StepCheckpoint(Path("unused"), every_steps=3, validation_steps=1)
    assert [step for step in range(1, 11) if rule._is_due(step)] == [3, 6, 9]


# All positions in one batch of several epochs: each epoch is one step, and each step is validated.
ONE_STEP_AN_EPOCH = dataclasses.replace(
    CONFIG, schedule=dataclasses.replace(CONFIG.schedule, batch_tokens=5000, max_epochs=9, checkpoint_steps=2)
)


def cut_off(directory: Path, step: int, monkeypatch: pytest.MonkeyPatch, *, num_steps: int) -> int:
    """Train until the batch of ``step`` is asked for; return the step of the checkpoint that is left."""
    batch_of = TrainingBatches.batch

    def breaks(batches: TrainingBatches, at: int) -> Batch:
        if at == step:
            raise ConnectionError("cut off")
        return batch_of(batches, at)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingBatches, "batch", breaks)
        with pytest.raises(ConnectionError, match="cut off"):
            taught(directory, num_steps=num_steps)
    return int(torch.load(directory / CHECKPOINT_FILE, weights_only=True)["global_step"])


def taught(directory: Path, *, num_steps: int) -> Learned:
    return learn(lesson(), ONE_STEP_AN_EPOCH, directory, num_steps=num_steps)


@pytest.mark.parametrize("num_steps", [0, 8])  # validated after every step; a refit without validation
def test_training_when_every_step_is_validated_and_it_is_cut_off_twice_then_weights_are_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int
) -> None:
    taught(tmp_path / "alone", num_steps=num_steps)
    left = [cut_off(tmp_path / "cut", step, monkeypatch, num_steps=num_steps) for step in (3, 7)]
    assert left == [2, 6]
    taught(tmp_path / "cut", num_steps=num_steps)
    for name in (WEIGHTS_FILE, DONE_FILE):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
