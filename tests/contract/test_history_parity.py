"""What the towers learn from is what the service will send them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import encode_history
from features.sequences import Sequences
from training.retrieval.batches import TrainingBatches
from training.retrieval.config import LossConfig

NAMES = ("item", "event_type", "gap", "price_band")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 20), min_size=1, max_size=6), st.integers(1, 8), st.integers(0, 1000))
def test_training_inputs_when_cut_and_packed_then_equal_what_serving_encodes(
    lengths: list[int], max_length: int, seed: int
) -> None:
    """Each history of a batch ends at some event; serving, given the log up to there, sends the same cells."""
    rng = np.random.default_rng(seed)
    num_events = sum(lengths)
    sequences = Sequences.from_arrays(
        offsets=np.cumsum([0, *lengths]),
        item=2 + np.arange(num_events),  # an item tells which event it is
        event_type=rng.integers(1, 10, num_events),
        ts=np.concatenate([np.cumsum(rng.integers(1, 10**10, n)) for n in lengths]),
        price_band=rng.integers(0, 6, num_events),
    )
    batches = TrainingBatches.from_sequences(
        sequences, candidates=np.arange(2, num_events + 2), num_codes=num_events + 2, max_length=max_length,
        batch_tokens=16, loss=LossConfig(), seed=seed,
    )  # fmt: skip
    for step in range(batches.steps_per_epoch):
        packed = batches.batch(step).histories
        arrays = {name: getattr(packed, name).numpy() for name in NAMES}
        start = 0
        for length, count in packed.lengths:
            for _ in range(count):
                last_event = int(arrays["item"][start + length - 1]) - 2
                served = _serve(sequences, last_event=last_event, length=length)
                for name in NAMES:
                    assert arrays[name][start : start + length].tolist() == served[name][0].tolist()
                assert packed.position[start : start + length].tolist() == list(range(length))
                start += length


def _serve(sequences: Sequences, *, last_event: int, length: int) -> dict[str, np.ndarray]:
    """Encode the history that ends with an event, as the service does."""
    user = int(np.searchsorted(sequences.offsets, last_event, side="right")) - 1
    history = sequences.take([user])
    known = np.arange(history.num_events) <= last_event - sequences.offsets[user]
    return encode_history(history.where(known), max_length=length).padded()
