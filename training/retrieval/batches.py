"""Training batches without padding, each a pure function of (seed, epoch, step), and of the rank where there are several.

Shapes: ``M`` real positions of a batch, ``C`` histories, ``N`` distinct items, ``K`` items in the softmax pool.

A user's events are cut into histories of at most ``max_length`` inputs, and every input predicts a
later event. Long users are cut at a different phase each epoch::

    events      a b c d e f g          max_length 3, phase 1
    inputs      a | b c d | e f
    targets     b | c d e | f g

The positions of a batch lie flat in one array of ``M``, histories of equal length side by side, so
that attention is a plain reshape for each distinct length and nothing is ever padded::

    lengths     [(1, 40), (2, 31), (7, 5)]        40 histories of length 1, 31 of length 2, 5 of length 7
    item        40 + 62 + 35 codes

Ranks share a step: each draws its part of the positions from its own users, so that all come to the end of an epoch
together, and the targets of all of them compete in one pool::

    rank 0      30 of 100 positions     18 of a step's 60
    rank 1      70 of 100 positions     42 of a step's 60
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from features.errors import DataError
from features.history import EncodedHistory, encode_history
from features.sequences import Sequences
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.config import LossConfig
from training.retrieval.target_weights import target_weights

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedHistories:
    """Histories laid flat, sorted by length.

    Args:
        lengths: ``(length, how many)`` in rising order; the products add up to M.
        item, event_type, gap, price_band: int64 ``[M]``.
        position: index within its history, int64 ``[M]``.
    """

    lengths: list[tuple[int, int]]
    item: Tensor
    event_type: Tensor
    gap: Tensor
    price_band: Tensor
    position: Tensor

    def to(self, device: torch.device) -> PackedHistories:
        """Return the same on a device; from pinned memory the copy runs beside what the device does."""
        return _mapped(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> PackedHistories:
        """Return the same in memory that a GPU reads by itself."""
        return _mapped(self, Tensor.pin_memory)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One step's inputs and targets.

    Args:
        histories: what the user tower reads.
        target: item code to predict at each position, int64 ``[M]``.
        weight: of each target in the loss, float32 ``[M]``.
        pool: item codes that the targets compete with, int64 ``[K]``; empty means all candidates.
        log_expected: log of how often each was expected in the pool, float32 ``[K]`` (the logQ correction).
        share: what this rank's mean loss counts when the ranks' are averaged: its targets' weight over their mean.
    """

    histories: PackedHistories
    target: Tensor
    weight: Tensor
    pool: Tensor
    log_expected: Tensor
    share: float = 1.0

    def to(self, device: torch.device) -> Batch:
        """Return the same on a device."""
        moved = _mapped(self, lambda tensor: tensor.to(device, non_blocking=True))
        return dataclasses.replace(moved, histories=self.histories.to(device))

    def pinned(self) -> Batch:
        """Return the same in memory that a GPU reads by itself."""
        return dataclasses.replace(_mapped(self, Tensor.pin_memory), histories=self.histories.pinned())


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatches:
    """All batches of a training, drawn when asked for.

    Args:
        history: the encoded, uncut histories of ``U`` users, those of this rank.
        weight: loss weight of each event as a target, float32 ``[N]``.
        candidates: item codes that can be recommended, int64 ``[C]``.
        frequency: share of each code among the targets that count, float64 ``[V]``.
        max_length: the most inputs of one history.
        batch_tokens: about how many positions a step holds, over all ranks.
        loss: pool size and target horizon.
        sampled: draw a pool; else the pool is left empty and all candidates compete.
        seed: of everything drawn.
        ranks: that share a step.
        num_elsewhere: positions of an epoch that the other ranks hold.
    """

    history: EncodedHistory
    weight: Floats
    candidates: Ints
    frequency: Floats
    max_length: int
    batch_tokens: int
    loss: LossConfig
    sampled: bool
    seed: int
    ranks: Ranks = ALONE
    num_elsewhere: int = 0

    @classmethod
    def from_sequences(
        cls,
        sequences: Sequences,
        *,
        candidates: Ints,
        num_codes: int,
        max_length: int,
        batch_tokens: int,
        loss: LossConfig,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> TrainingBatches:
        """Encode the fit part once and weigh each of its events as a target.

        Raises:
            DataError: a rank has nothing to learn from.
        """
        newest_us = int(ranks.largest(sequences.ts.max(initial=0)))
        weight = target_weights(sequences, candidates=candidates, num_codes=num_codes, loss=loss, newest_us=newest_us)
        counts = ranks.sum(np.bincount(sequences.item[weight > 0], minlength=num_codes))
        positions = ranks.gather_array(np.array([_num_inputs(sequences.lengths)]))
        _expect_work(positions)
        return cls(
            history=encode_history(sequences, max_length=max(1, int(sequences.lengths.max(initial=1)))),
            weight=weight,
            candidates=np.asarray(candidates, np.int64),
            frequency=counts / max(counts.sum(), 1),
            max_length=max_length,
            batch_tokens=max(batch_tokens, max_length),
            loss=loss,
            sampled=is_sampled(loss, len(candidates)),
            seed=seed,
            ranks=ranks,
            num_elsewhere=int(positions.sum() - positions[ranks.rank]),
        )

    @property
    def num_own_positions(self) -> int:
        """Positions of one epoch in this rank: every event but each user's last."""
        return _num_inputs(self.history.lengths)

    @property
    def num_positions(self) -> int:
        """Positions of one epoch over all ranks."""
        return self.num_own_positions + self.num_elsewhere

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the same in every epoch."""
        return max(1, -(-self.num_positions // self.batch_tokens))

    def batch(self, step: int) -> Batch:
        """Return the batch of a step counted from the start of training; with several ranks, all ask for it at once."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        first, last = self._span(epoch, step_of_epoch)
        starts, lengths = self._histories(epoch, first, last)
        rng = np.random.default_rng([self.seed, epoch, step_of_epoch, *self._own_stream])
        packed, source = pack(self.history, starts, lengths)
        target_at = self._targets_of(source, rng)
        target = self.history.item[target_at].astype(np.int64)
        # A rank with no history in a step cannot sit it out: it looks on at one that has no weight.
        weight = self.weight[target_at] * np.float32(first < last)
        shared = rng if self.ranks.of == 1 else np.random.default_rng([self.seed, epoch, step_of_epoch])
        pool, log_expected = self._pool(self.ranks.gather_array(target[weight > 0]), shared)
        return Batch(
            histories=packed,
            target=torch.from_numpy(target),
            weight=torch.from_numpy(weight),
            pool=torch.from_numpy(pool),
            log_expected=torch.from_numpy(log_expected),
            share=self._share(weight),
        )

    @property
    def _own_stream(self) -> tuple[int, ...]:
        """What sets this rank's draws apart from the others'."""
        return () if self.ranks.of == 1 else (self.ranks.rank, self.ranks.of)

    def _share(self, weight: Floats) -> float:
        if self.ranks.of == 1:
            return 1.0
        own = float(weight.sum(dtype=np.float64))
        return own * self.ranks.of / max(float(self.ranks.sum(own)), 1e-9)

    def _histories(self, epoch: int, first: int, last: int) -> tuple[Ints, Ints]:
        """Return first event and length of some histories of an epoch's order, shortest first."""
        starts, lengths, _ = _epoch_order(self, epoch)
        chosen = np.arange(first, last) if first < last else np.arange(min(1, len(starts)))
        by_length = chosen[np.argsort(lengths[chosen], kind="stable")]
        return starts[by_length], lengths[by_length]

    def _span(self, epoch: int, step_of_epoch: int) -> tuple[int, int]:
        """Return which histories of an epoch's order are a step's: those that end in this rank's part of its positions."""
        own, every = self.num_own_positions, max(1, self.num_positions)
        bounds = [step * self.batch_tokens * own // every for step in (step_of_epoch, step_of_epoch + 1)]
        first, last = np.searchsorted(_epoch_order(self, epoch)[2], bounds, side="right")
        return int(first), int(last)

    def _targets_of(self, source: Ints, rng: np.random.Generator) -> Ints:
        """Return the event that each position predicts: one of its user's next ``horizon``."""
        if self.loss.horizon == 1:
            return source + 1
        user_of = np.searchsorted(self.history.offsets, source, side="right")
        ahead = np.minimum(self.history.offsets[user_of] - 1 - source, self.loss.horizon)
        return source + 1 + (rng.random(len(source)) * ahead).astype(np.int64)

    def _pool(self, targets: Ints, rng: np.random.Generator) -> tuple[Ints, npt.NDArray[np.float32]]:
        if not self.sampled:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        num_in_batch = round(self.loss.num_negatives * self.loss.in_batch_share) if len(targets) else 0
        num_uniform = self.loss.num_negatives - num_in_batch
        uniform = rng.choice(self.candidates, num_uniform)
        pool = np.concatenate([uniform, rng.choice(targets, num_in_batch)]) if num_in_batch else uniform
        expected = num_uniform / len(self.candidates) + num_in_batch * self.frequency[pool]
        return pool, np.log(expected).astype(np.float32)


def _num_inputs(lengths: Ints) -> int:
    return int(np.maximum(lengths - 1, 0).sum())


def _expect_work(positions: Ints) -> None:
    """Raise a DataError where one of several ranks has nothing to learn from; one alone finds out by itself."""
    if len(positions) > 1 and positions.min() == 0:
        raise DataError(
            f"Training over {len(positions)} processes: expected customers with two events or more in each, found "
            f"{positions.tolist()} positions to learn from; take fewer processes."
        )


def is_sampled(loss: LossConfig, num_candidates: int) -> bool:
    """Whether targets compete with a drawn pool and not with every candidate."""
    return loss.kind == "sampled" or (loss.kind == "auto" and num_candidates > loss.full_limit)


def pack(history: EncodedHistory, starts: Ints, lengths: Ints) -> tuple[PackedHistories, Ints]:
    """Lay spans of events flat.

    Args:
        history: encoded events.
        starts: first event of each span, int64 ``[C]``.
        lengths: events of each span, int64 ``[C]``, rising.

    Returns:
        the packed histories, and where each position stands in ``history``, int64 ``[M]``.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    source = position + np.repeat(starts, lengths)
    distinct, counts = np.unique(lengths, return_counts=True)
    arrays = {
        name: torch.from_numpy(getattr(history, name)[source].astype(np.int64))
        for name in ("item", "event_type", "gap", "price_band")
    }
    packed = PackedHistories(
        lengths=list(zip(distinct.tolist(), counts.tolist(), strict=True)),
        position=torch.from_numpy(position.astype(np.int64)),
        **arrays,
    )
    return packed, source


def pack_queries(history: EncodedHistory) -> tuple[PackedHistories, Ints]:
    """Pack whole histories for inference.

    Returns:
        the packed histories, and where each user's last event stands in them, int64 ``[B]``.
    """
    order = np.argsort(history.lengths, kind="stable")
    lengths = history.lengths[order]
    packed, _ = pack(history, history.offsets[:-1][order], lengths)
    last = np.empty(len(order), np.int64)
    last[order] = np.cumsum(lengths) - 1
    return packed, last


def cut_histories(first: Ints, num_inputs: Ints, *, max_length: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Cut each user's inputs into histories of at most ``max_length``.

    Args:
        first: first event of each user, int64 ``[U]``.
        num_inputs: inputs of each user, int64 ``[U]``.
        max_length: longest history.
        rng: draws the phase of users whose inputs do not fit into one history.

    Returns:
        first event and length of each history; the lengths add up to the inputs.
    """
    phase = np.where(num_inputs > max_length, rng.integers(0, max_length, len(first)), 0)
    early = phase > 0
    num_cuts = early + -(-(num_inputs - phase) // max_length)
    user = np.repeat(np.arange(len(first)), num_cuts)
    index = np.arange(len(user)) - (np.cumsum(num_cuts) - num_cuts)[user] - early[user]
    start = np.maximum(phase[user] + index * max_length, 0)
    stop = np.minimum(phase[user] + (index + 1) * max_length, num_inputs[user])
    return first[user] + start, stop - start


@functools.lru_cache(maxsize=1)
def _epoch_order(batches: TrainingBatches, epoch: int) -> tuple[Ints, Ints, Ints]:
    """Return starts, lengths and running totals of an epoch's histories, in the order they are visited."""
    rng = np.random.default_rng([batches.seed, epoch, *batches._own_stream])
    inputs = np.maximum(batches.history.lengths - 1, 0)
    starts, lengths = cut_histories(batches.history.offsets[:-1], inputs, max_length=batches.max_length, rng=rng)
    order = rng.permutation(len(starts))
    return starts[order], lengths[order], np.cumsum(lengths[order])


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a frozen value with every tensor of its own changed."""
    fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    return dataclasses.replace(value, **{name: change(held) for name, held in fields if isinstance(held, Tensor)})
