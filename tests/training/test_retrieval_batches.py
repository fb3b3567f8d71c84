"""Batches: pure functions of the step, without padding, each input and target where it belongs."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import EVENT_TYPE_CODES
from features.history import encode_history
from features.sequences import Sequences
from training.retrieval.batches import (
    TrainingBatches,
    cut_histories,
    is_sampled,
    pack_queries,
)
from training.retrieval.config import LossConfig
from training.retrieval.target_weights import is_repeat, target_weights

NUM_CODES = 1000


def jagged(lengths: list[int]) -> Sequences:
    """Every event has an item of its own, so that a code tells where it came from."""
    item = np.arange(2, 2 + sum(lengths))
    return Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=item)


def batches_of(sequences: Sequences, *, max_length: int = 4, batch_tokens: int = 8, **loss: object) -> TrainingBatches:
    loss = {"horizon": 1, "repeat_weight": 1.0, "half_life_days": 0} | loss
    return TrainingBatches.from_sequences(
        sequences,
        candidates=np.arange(2, NUM_CODES),
        num_codes=NUM_CODES,
        max_length=max_length,
        batch_tokens=batch_tokens,
        loss=LossConfig(**loss),  # type: ignore[arg-type]
        seed=3,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 23), min_size=1, max_size=12), st.integers(1, 7), st.integers(0, 2))
def test_epoch_when_drawn_then_every_event_but_the_first_is_a_target_once(
    lengths: list[int], max_length: int, epoch: int
) -> None:
    sequences = jagged(lengths)
    batches = batches_of(sequences, max_length=max_length)
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    drawn = [batches.batch(step) for step in steps]
    targets = torch.cat([batch.target for batch in drawn]).tolist()
    first = {int(sequences.item[start]) for start, n in zip(sequences.offsets[:-1], lengths, strict=True) if n}
    assert sorted(targets) == sorted(set(sequences.item.tolist()) - first)
    inputs = torch.cat([batch.histories.item for batch in drawn]).tolist()
    assert [code + 1 for code in inputs] == targets  # the very next event of the same user


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 9))
def test_cut_histories_when_long_then_they_tile_the_inputs(num_inputs: list[int], max_length: int) -> None:
    inputs = np.array(num_inputs)
    first = np.cumsum(inputs) - inputs
    starts, lengths = cut_histories(first, inputs, max_length=max_length, rng=np.random.default_rng(0))
    covered = [event for start, n in zip(starts, lengths, strict=True) for event in range(start, start + n)]
    assert covered == list(range(sum(num_inputs)))
    assert ((lengths >= 1) & (lengths <= max_length)).all()


def test_batch_when_asked_again_then_the_same_and_another_step_differs() -> None:
    sequences = jagged([9, 14, 3, 22])
    one, again = batches_of(sequences, kind="sampled"), batches_of(sequences, kind="sampled")
    again.batch(0)  # no state: what was asked before does not matter
    for name in ("target", "weight", "pool", "log_expected"):
        assert torch.equal(getattr(one.batch(7), name), getattr(again.batch(7), name))
    assert not torch.equal(one.batch(7).pool, one.batch(8).pool)


def test_batch_when_packed_then_positions_count_from_the_start_of_each_history() -> None:
    histories = batches_of(jagged([3, 6, 3]), batch_tokens=100).batch(0).histories
    expected = [position for length, count in histories.lengths for position in list(range(length)) * count]
    assert histories.position.tolist() == expected
    assert sum(length * count for length, count in histories.lengths) == len(histories.item) == 2 + 5 + 2


def test_horizon_when_longer_than_one_then_targets_stay_within_user_and_horizon() -> None:
    sequences = jagged([30, 5])
    batches = batches_of(sequences, batch_tokens=1000, horizon=3)
    seen_ahead = set()
    for step in range(20):
        batch = batches.batch(step)
        ahead = (batch.target - batch.histories.item).numpy()
        seen_ahead |= set(ahead.tolist())
        user_end = np.where(batch.histories.item.numpy() < 32, 31, 36)
        assert (batch.target.numpy() <= user_end).all()
    assert seen_ahead == {1, 2, 3}


def test_weights_when_repeat_view_or_no_candidate_then_each_factor_applies() -> None:
    view, purchase = EVENT_TYPE_CODES["view"], EVENT_TYPE_CODES["purchase"]
    sequences = Sequences.from_arrays(
        offsets=[0, 4, 5], item=[2, 3, 2, 4, 2], event_type=[purchase, view, purchase, purchase, view]
    )
    loss = LossConfig(repeat_weight=0.25, half_life_days=0, event_weights={"view": 0.5})
    weights = target_weights(sequences, candidates=np.array([2, 3]), num_codes=5, loss=loss)
    # item 2 bought again: 1 x 0.25; item 4 is no candidate; the second user meets item 2 for the first time
    assert weights.tolist() == [1.0, 0.5, 0.25, 0.0, 0.5]
    assert is_repeat(sequences).tolist() == [False, False, True, False, False]


def test_is_repeat_when_a_purchase_follows_a_view_then_it_is_none() -> None:
    view, purchase = EVENT_TYPE_CODES["view"], EVENT_TYPE_CODES["purchase"]
    sequences = Sequences.from_arrays(offsets=[0, 4], item=[2, 2, 2, 2], event_type=[view, purchase, view, purchase])
    assert is_repeat(sequences).tolist() == [False, False, True, True]


def test_pool_when_sampled_then_expected_counts_match_what_is_drawn() -> None:
    item = np.array([2] * 60 + [3] * 20 + [4] * 20)
    sequences = Sequences.from_arrays(offsets=np.arange(0, 101, 10), item=np.random.default_rng(0).permutation(item))
    batches = TrainingBatches.from_sequences(
        sequences, candidates=np.arange(2, 12), num_codes=12, max_length=10, batch_tokens=1000,
        loss=LossConfig(kind="sampled", num_negatives=100, horizon=1, repeat_weight=1.0), seed=0,
    )  # fmt: skip
    drawn = [batches.batch(step) for step in range(200)]
    counts = np.mean([np.bincount(batch.pool, minlength=12) for batch in drawn], axis=0)
    pairs = [zip(b.pool.tolist(), b.log_expected.exp().tolist(), strict=True) for b in drawn]
    expected = {code: value for pair in pairs for code, value in pair}
    for code, value in expected.items():
        assert abs(counts[code] - value) < 0.1 * value + 0.3


def test_is_sampled_when_auto_then_the_limit_decides() -> None:
    assert not is_sampled(LossConfig(full_limit=10), 10)
    assert is_sampled(LossConfig(full_limit=10), 11)


def test_pack_queries_when_lengths_mix_then_last_points_at_each_users_last_event() -> None:
    sequences = jagged([3, 1, 5])
    packed, last = pack_queries(encode_history(sequences, max_length=4))
    assert packed.item[torch.from_numpy(last)].tolist() == [4, 5, 10]  # events 3, 4 and 9 count from code 2
    assert packed.lengths == [(1, 1), (3, 1), (4, 1)]


def test_weights_when_a_half_life_is_set_then_an_older_target_weighs_half() -> None:
    day = 86_400_000_000
    sequences = Sequences.from_arrays(offsets=[0, 3], item=[2, 3, 4], ts=[10 * day, 30 * day, 50 * day])
    loss = LossConfig(half_life_days=20, repeat_weight=1.0)
    weights = target_weights(sequences, candidates=np.array([2, 3, 4]), num_codes=5, loss=loss)
    assert weights.tolist() == [0.25, 0.5, 1.0]
