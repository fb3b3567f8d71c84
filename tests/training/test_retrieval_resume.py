"""A training killed with SIGKILL and resumed ends with the weights of one left alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from training.reproducibility import StepCheckpoint, random_states, set_random_states

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
