"""Two real processes on loopback learn what one would have learned, and end together when one of them fails."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from features.errors import ConfigError, DataError
from features.sequences import Sequences
from tests.training.kill_retrieval import CONFIG, lesson
from training.parallel.devices import trainer_options
from training.parallel.ranks import ALONE, Ranks
from training.parallel.settings import ComputeConfig, expect_one_process
from training.retrieval.batches import TrainingBatches
from training.retrieval.learn import build_module

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one run of the script saw; it trains in forks, which want a process that has not computed anything yet."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path_factory.mktemp("ranks"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def test_ranks_when_they_tell_each_other_then_each_hears_all(found: dict[str, Any]) -> None:
    assert found["sum"] == [2, 1]  # [1, 0] and [1, 1]
    assert found["largest"] == 0  # of 0 and -1
    assert found["gather"] == [0, 0, 1, 2]  # rank 0 has one value, rank 1 three
    assert found["sum_sparse"] == [[1.0, 1.0, 0.0]]  # first and second row of the unit matrix
    assert found["told"] == {"by": 0, "said": "ünï"}


def test_training_when_shared_out_then_steps_counts_neighbours_and_validation_are_those_of_one(
    found: dict[str, Any],
) -> None:
    assert found["before"] == pytest.approx(found["one_before"], rel=1e-6)


@pytest.mark.parametrize("kind", ["full", "rows"])
def test_gradients_when_ranks_share_a_step_then_they_are_those_of_one_with_all_its_positions(
    found: dict[str, Any], kind: str
) -> None:
    assert found["apart"][kind]["gradients"] < 1e-5
    assert found["apart"][kind]["weights"] < 1e-3  # Adam's first steps divide by gradients near 0
    assert found["same_pool"]


@pytest.mark.parametrize("kind", ["full", "rows"])
def test_replicas_when_they_have_made_steps_then_weights_and_moments_are_bit_equal(
    found: dict[str, Any], kind: str
) -> None:
    assert found["equal"][kind]


def test_training_of_two_when_cut_off_and_resumed_then_weights_are_bit_equal(found: dict[str, Any]) -> None:
    assert found["resumed"]["bit_equal"]


def test_training_when_resumed_by_more_or_fewer_then_it_goes_on_to_the_same_step(found: dict[str, Any]) -> None:
    resumed = found["resumed"]
    for change in ("one_then_two", "two_then_one"):
        assert resumed[change]["went_on_from"] == 13  # the checkpoint of step 12 waits for a validation
        assert resumed[change]["last_step"] == resumed["one"]["last_step"]
        assert 0 < resumed[change]["score"] <= 1


def test_ranks_when_one_fails_then_its_error_is_everyones_within_seconds(found: dict[str, Any]) -> None:
    assert found["failed"]["kind"] == "DataError"
    assert found["failed"]["text"] == "Expected 2, found 1; bring another."
    assert found["failed"]["seconds"] < 30


def test_ranks_when_one_is_killed_then_the_others_end_and_it_is_named(found: dict[str, Any]) -> None:
    assert found["killed"]["kind"] == "RankLost"
    assert "rank 1 of 2 was ended by SIGKILL" in found["killed"]["text"]
    assert found["killed"]["seconds"] < 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accelerator": "tpu"}, "compute.accelerator: expected one of 'auto', 'cpu', 'gpu', found 'tpu'"),
        ({"precision": "16"}, "compute.precision: expected one of '32-true', 'bf16-mixed', '16-mixed', found '16'"),
        ({"precision": "16-mixed"}, "found '16-mixed', which needs a GPU"),
        ({"processes": 0}, "compute.processes: expected at least 1, found 0"),
        ({"timeout_minutes": 0}, "compute.timeout_minutes: expected at least 1, found 0"),
    ],
)
def test_compute_when_a_setting_is_wrong_then_it_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ComputeConfig(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_compute_when_there_is_no_gpu_then_auto_takes_the_cpu_and_gpu_is_refused() -> None:
    assert trainer_options(ComputeConfig(accelerator="auto"), ALONE)["accelerator"] == "cpu"
    with pytest.raises(ConfigError, match="expected a GPU for each of 1 processes on this machine, found 0"):
        trainer_options(ComputeConfig(accelerator="gpu"), ALONE)
    with pytest.raises(ConfigError, match="needs a GPU"):
        trainer_options(ComputeConfig(accelerator="auto", precision="16-mixed"), ALONE)


def test_command_of_one_process_when_several_were_started_then_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="expected one process, found 2"):
        expect_one_process("footfall train demand")


def test_epoch_when_shared_out_then_ranks_visit_each_input_once_in_as_many_steps() -> None:
    """Rank 0 has 14 of 19 inputs, rank 1 the other 5; a step has 8."""
    sequences = Sequences.from_arrays(offsets=[0, 8, 16, 20, 23, 24], item=2 + np.arange(24) % 5)
    parts = [sequences.take([0, 1]), sequences.take([2, 3, 4])]
    shared = [
        batches_of(part, rank, elsewhere) for rank, (part, elsewhere) in enumerate(zip(parts, (5, 14), strict=True))
    ]
    assert [batches.num_own_positions for batches in shared] == [14, 5]
    assert [batches.steps_per_epoch for batches in shared] == [3, 3]  # 19 positions, 8 a step
    for batches, part in zip(shared, parts, strict=True):
        spans = [batches._span(0, step) for step in range(3)]
        histories = [number for first, last in spans for number in range(first, last)]
        assert histories == list(range(len(histories)))
        _, lengths = batches._histories(0, 0, len(histories))
        assert lengths.sum() == batches.num_own_positions == np.maximum(part.lengths - 1, 0).sum()


def batches_of(sequences: Sequences, rank: int, elsewhere: int) -> TrainingBatches:
    alone = TrainingBatches.from_sequences(
        sequences,
        candidates=np.arange(2, 7),
        num_codes=7,
        max_length=3,
        batch_tokens=8,
        loss=CONFIG.loss,
        seed=0,
    )
    return dataclasses.replace(alone, ranks=Ranks(rank=rank, of=2), num_elsewhere=elsewhere)


def test_rank_when_it_has_nothing_to_learn_from_then_fewer_processes_are_advised() -> None:
    class TwoRanks(Ranks):
        def gather_array(self, values: Any) -> Any:
            return np.concatenate([values, [0]])

    with pytest.raises(DataError, match=r"found \[3, 0\] positions to learn from; take fewer processes"):
        TrainingBatches.from_sequences(
            Sequences.from_arrays(offsets=[0, 4], item=[2, 3, 4, 5]),
            candidates=np.arange(2, 6),
            num_codes=6,
            max_length=3,
            batch_tokens=8,
            loss=CONFIG.loss,
            seed=0,
            ranks=TwoRanks(),
        )


@pytest.mark.parametrize("kind", ["sampled", "full"])
def test_step_when_the_default_device_is_another_then_all_it_makes_is_where_its_inputs_are(
    kind: Literal["sampled", "full"],
) -> None:
    """What a step makes without saying where would be on the meta device, and clash with its inputs."""
    loss = dataclasses.replace(CONFIG.loss, kind=kind, neighbour_share=0.2 if kind == "full" else 0.0)
    module = build_module(lesson(), dataclasses.replace(CONFIG, loss=loss))
    batch = module.batches.batch(0)
    assert module.questions is not None
    with torch.device("meta"):
        loss_of = module._full_loss if kind == "full" else module._sampled_loss
        loss_of(batch).backward()  # type: ignore[no-untyped-call]
        users = torch.full((2, 16), 0.25, device="cpu")
        assert module.questions._gains(users, module.towers.unit_items(), 0).shape == (2,)
    assert all(weights.grad is not None and weights.grad.device.type == "cpu" for weights in module.towers.parameters())


@pytest.mark.parametrize("kind", ["sampled", "full"])
def test_loss_when_precision_is_mixed_then_it_is_that_of_32_bits_but_for_rounding(
    kind: Literal["sampled", "full"],
) -> None:
    loss = dataclasses.replace(CONFIG.loss, kind=kind, neighbour_share=0.2 if kind == "full" else 0.0)
    module = build_module(lesson(), dataclasses.replace(CONFIG, loss=loss)).eval()
    batch = module.batches.batch(0)
    loss_of = module._full_loss if kind == "full" else module._sampled_loss
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss_of(batch)
    assert mixed.dtype == torch.float32
    assert float(mixed.detach()) == pytest.approx(float(loss_of(batch).detach()), rel=0.02)  # bfloat16 has 8 bits


def test_batch_when_moved_to_a_device_then_every_tensor_is_there_and_lengths_stay() -> None:
    module = build_module(lesson(), CONFIG)
    batch = module.batches.batch(0)
    moved = module.transfer_batch_to_device(batch, torch.device("meta"), 0)
    for held in (moved, moved.histories):
        tensors = [value for value in vars(held).values() if isinstance(value, torch.Tensor)]
        assert tensors
        assert all(tensor.device.type == "meta" for tensor in tensors)
    assert moved.histories.lengths == batch.histories.lengths
    assert batch.target.device.type == "cpu"
