"""Every setting of the two-tower, in one typed tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from features import columns as c
from features.errors import ConfigError, did_you_mean
from training.parallel.settings import ComputeConfig


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """The shape of both towers.

    Args:
        dim: width of the vectors on both sides.
        num_layers: blocks of the user tower.
        mixer: what a block is: ``attention`` with a feed-forward network, or ``ligr``, the same behind learned gates.
        num_heads: attention heads of a block; divides ``dim``.
        max_length: the most events of a history that the user tower reads.
        dropout: share of activations dropped in the user tower.
        content: give items their category, brand, price band and title besides an id.
        num_title_buckets: height of the table of hashed words and n-grams.
        id_dropout: share of items whose id is hidden in a step, so that content alone learns to place an item.
    """

    dim: int = 64
    num_layers: int = 1
    mixer: Literal["attention", "ligr"] = "attention"
    num_heads: int = 2
    max_length: int = 100
    dropout: float = 0.2
    content: bool = True
    num_title_buckets: int = 20_000
    id_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.mixer not in ("attention", "ligr"):
            raise ConfigError(f"tower.mixer: expected 'attention' or 'ligr', found {self.mixer!r}.")
        if self.dim % self.num_heads:
            raise ConfigError(f"tower: expected num_heads to divide dim, found {self.num_heads} and {self.dim}.")
        _at_least("tower.num_layers", self.num_layers, 1)
        _at_least("tower.max_length", self.max_length, 1)
        _share("tower.dropout", self.dropout)
        _share("tower.id_dropout", self.id_dropout)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is predicted from what, and how a prediction is scored.

    Args:
        kind: ``full`` softmax over all candidates; ``sampled`` over a shared pool; ``auto`` takes full
            up to ``full_limit`` candidates.
        full_limit: the most candidates that ``auto`` ranks in full.
        num_negatives: size of the shared pool of a step.
        in_batch_share: share of the pool drawn from the step's own targets, the rest uniform.
        temperature: cosines are divided by it.
        horizon: the target is drawn from this many next events; 1 means the very next.
        repeat_weight: weight of a target whose user had done the same with the item before; 0 learns what is new
            to a customer, 1 learns habits as well.
        event_weights: weight of a target by event type; 1 where not named.
        neighbour_share: share of each target's weight that goes to the items that co-occur with its history, as item-kNN
            knows them; 0 for next items alone.
        num_neighbours: co-occurring items kept an item.
        neighbour_decay: weight of a history's event relative to the one after it, when its neighbours are asked.
        label_smoothing: share of each target's weight that is spread evenly over all candidates, beside the neighbours'
            (Szegedy et al. 2016).
        half_life_days: a target this many days before the end of the fit part weighs half, so that what sells now
            counts more than last season; 0 weighs all alike.
        bf16: multiply the large matrices of the softmax in bfloat16; faster where the processor has instructions
            for it, and no less accurate in what is learned.
    """

    kind: Literal["auto", "full", "sampled"] = "auto"
    full_limit: int = 20_000
    num_negatives: int = 4_096
    in_batch_share: float = 0.5
    temperature: float = 0.12
    horizon: int = 500
    repeat_weight: float = 0.0
    event_weights: dict[str, float] = field(
        default_factory=lambda: {c.VIEW: 0.5, c.FAVORITE: 1.0, c.CART: 1.0, c.PURCHASE: 1.0}
    )
    neighbour_share: float = 0.0
    num_neighbours: int = 50
    neighbour_decay: float = 0.6
    label_smoothing: float = 0.0
    half_life_days: float = 60.0
    bf16: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "full", "sampled"):
            raise ConfigError(f"loss.kind: expected 'auto', 'full' or 'sampled', found {self.kind!r}.")
        _at_least("loss.num_negatives", self.num_negatives, 1)
        _at_least("loss.horizon", self.horizon, 1)
        _share("loss.in_batch_share", self.in_batch_share)
        _share("loss.neighbour_share", self.neighbour_share)
        _share("loss.neighbour_decay", self.neighbour_decay)
        _share("loss.label_smoothing", self.label_smoothing)
        if self.neighbour_share + self.label_smoothing > 1:
            raise ConfigError(
                "loss: expected neighbour_share and label_smoothing to make at most 1 together, found "
                f"{self.neighbour_share} and {self.label_smoothing}; lower one of them."
            )
        _at_least("loss.num_neighbours", self.num_neighbours, 1)
        if self.half_life_days < 0:
            raise ConfigError(f"loss.half_life_days: expected 0 or more days, found {self.half_life_days}.")
        if self.temperature <= 0:
            raise ConfigError(f"loss.temperature: expected a positive number, found {self.temperature}.")
        for name in self.event_weights:
            if name not in c.ITEM_EVENT_TYPES:
                hint = did_you_mean(name, c.ITEM_EVENT_TYPES)
                raise ConfigError(f"loss.event_weights: {name!r} is not an item event of the contract.{hint}")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How long and how fast to learn.

    Args:
        learning_rate: of AdamW, after warm-up.
        weight_decay: of AdamW, on matrices of the user tower only.
        batch_tokens: real positions of a step, over all processes.
        max_epochs: passes over the fit part at most.
        max_tokens: real positions in all at most, so that a long log ends in time; 0 for no limit.
        validations_per_epoch: how often the validation window is ranked in a pass.
        patience: validations without a better NDCG@10 before training stops.
        warmup_steps: steps over which the learning rate rises.
        ema_decay: weights are averaged with this decay a step, and the average is validated and exported; 0 for none.
        checkpoint_steps: steps between checkpoints.
        validation_users: the most users ranked in a validation, drawn by seed.
        threads: of torch; a step is small, and more threads than idle cores make it several times slower.
    """

    learning_rate: float = 4e-3
    weight_decay: float = 0.0
    batch_tokens: int = 2_048
    max_epochs: int = 30
    max_tokens: int = 1_500_000
    validations_per_epoch: int = 2
    patience: int = 3
    warmup_steps: int = 50
    ema_decay: float = 0.99
    checkpoint_steps: int = 200
    validation_users: int = 5_000
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "max_epochs", "validations_per_epoch", "patience", "checkpoint_steps", "threads"):
            _at_least(f"schedule.{name}", getattr(self, name), 1)
        _share("schedule.ema_decay", self.ema_decay)


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """What a training holds out; an evaluation of it splits the same way.

    Args:
        protocol: how users' events are split; ``auto`` is ``global_temporal``, by the windows below, and
            ``leave_one_out`` where the log has no instants.
        validation_days: length of the validation window before the test window.
        test_days: length of the test window at the end of the log.
        target_event_types: event types that count as answers; all of the shop's sequences where empty.
    """

    protocol: Literal["auto", "global_temporal", "leave_one_out"] = "auto"
    validation_days: int = 28
    test_days: int = 28
    target_event_types: tuple[str, ...] = (c.PURCHASE,)

    def __post_init__(self) -> None:
        if self.protocol not in ("auto", "global_temporal", "leave_one_out"):
            raise ConfigError(
                f"split.protocol: expected 'auto', 'global_temporal' or 'leave_one_out', found {self.protocol!r}."
            )
        _at_least("split.validation_days", self.validation_days, 1)
        _at_least("split.test_days", self.test_days, 1)


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """Everything that ``train_retrieval`` decides by.

    Args:
        tower: the shape of both towers.
        loss: what is predicted and how it is scored.
        schedule: how long and how fast to learn.
        compute: processes and devices that it is learned on.
        seed: of weights, batches and dropout.
        split: what is held out, and what counts as an answer.
        exclude_seen: leave out of a validation ranking what the user has met before.
        min_item_events: events of the fit part that make an item a candidate.
        new_item_days: an item created within this many days before the end of the log is a candidate without them.
        favourites_days: the shop's bestsellers are counted over this many last days.
        flat_index_limit: the most candidates that are indexed exactly; an approximate index beyond.
        least_index_recall: share of the true 100 best that an index is to find; one of millions of items is tuned to it, and
            any that misses it is marked in the manifest and logged.
        num_members: towers that learn the same from different seeds and are asked together, as one longer vector; each
            costs a whole training.
        num_plain_members: so many of them learn from ids and next items alone, without content and neighbours. They are
            weaker, err differently, and know nothing of new items.
        content_events: an item's content counts as much as so many events when its vector is exported, so that an item
            met seldom leans on those described alike, and one never met is placed by them; 0 leaves vectors as learned.
        new_item_length: of the vectors of items that nobody has met, where the others have 1; less shows them more
            seldom.
        refit: learn once more from all data, for the number of steps found, and export that.
    """

    tower: TowerConfig = field(default_factory=TowerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    seed: int = 0
    exclude_seen: bool = True
    min_item_events: int = 5
    new_item_days: int = 30
    favourites_days: int = 28
    flat_index_limit: int = 50_000
    least_index_recall: float = 0.98
    num_members: int = 1
    num_plain_members: int = 0
    content_events: float = 0.0
    new_item_length: float = 1.0
    refit: bool = True

    def __post_init__(self) -> None:
        _at_least("min_item_events", self.min_item_events, 0)
        _share("least_index_recall", self.least_index_recall)
        _at_least("num_members", self.num_members, 1)
        if self.content_events < 0:
            raise ConfigError(f"content_events: expected 0 or more events, found {self.content_events}.")
        if self.new_item_length <= 0:
            raise ConfigError(f"new_item_length: expected a positive length, found {self.new_item_length}.")
        if not 0 <= self.num_plain_members < self.num_members:
            raise ConfigError(
                f"num_plain_members: expected fewer than num_members = {self.num_members}, found {self.num_plain_members}."
            )


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name}: expected at least {least}, found {value}.")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{name}: expected a share in [0, 1), found {value}.")
