"""Every setting of the demand model, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from features.errors import ConfigError
from training.demand.decisions.config import DecisionConfig


@dataclass(frozen=True, kw_only=True)
class DemandConfig:
    """Settings of one demand model and its training; periods are days or weeks, as the panel has them.

    Args:
        horizon: periods forecast, H.
        context_length: past periods the attention looks at, L.
        spans: trailing spans, in periods, whose mean units describe an item's level.
        level_span: the trailing span whose mean anchors the forecast; may be missing from ``spans``.
        level_prior: periods of its peers' mean that are added to an item's history, so that a new item has a level.
        peer_prior: items that the mean of a wider group (category, department, shop) counts for in a narrower one.
        hidden_history_share: training windows in which an item's whole past is hidden, so that new items are learnt.
        item_vectors: directory of a retrieval part whose item vectors tell which items are alike; blank for none.
        min_history: fewest past periods before a training window.
        hidden_size: width of the residual blocks.
        num_layers: residual blocks in the encoder and in the decoder.
        num_heads: attention heads over the context.
        head_size: width of each head's keys.
        embedding_size: width of each static attribute's embedding.
        dropout: share of hidden units dropped in training.
        num_components: negative binomials mixed in each forecast.
        num_members: networks trained side by side on disjoint parts of each batch, and mixed in the forecast.
        total_weight: weight of the loss on totals beside the loss on single periods.
        volume_power: a window weighs as (1 + its level) to this power; WQL counts units, so big sellers matter more.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: AdamW's.
        batch_size: windows a step, over all members.
        max_steps: most steps of training.
        validate_every_steps: steps between rolling-origin validations.
        patience: validations without improvement before training stops.
        validation_windows: non-overlapping windows of H periods that choose the number of steps.
        test_windows: windows after those, which are only reported on.
        update_steps: steps that bring the weights up to date at an origin, on windows just before it; 0 for none.
        update_learning_rate: of the first of these steps; it falls in a line to 0.
        update_horizons: the windows of these steps begin in the last so many horizons.
        boosted_trees: whether LightGBM's trees may have a share of the forecast, which the validation windows choose:
            ``auto`` where the panel has shown the year twice and LightGBM is installed, ``always`` or ``never``.
        seed: of weights and windows.
        num_threads: torch threads; 0 leaves torch's own choice.
        lead_time_days: for items whose own lead time is unknown.
        service_levels: share of lead times that a reorder point is to cover.
        checkpoint_every_steps: steps between checkpoints; the most work a crash can cost.
        decisions: what follows from the forecasts: orders and alerts.
    """

    horizon: int = 14
    context_length: int = 112
    spans: tuple[int, ...] = (7, 14, 28, 56, 91, 182)
    level_span: int = 56
    level_prior: float = 2.0
    peer_prior: float = 6.0
    hidden_history_share: float = 0.1
    item_vectors: str = ""
    min_history: int = 28
    hidden_size: int = 96
    num_layers: int = 2
    num_heads: int = 8
    head_size: int = 4
    embedding_size: int = 8
    dropout: float = 0.1
    num_components: int = 3
    num_members: int = 2
    total_weight: float = 0.2
    volume_power: float = 0.0
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    max_steps: int = 400
    validate_every_steps: int = 100
    patience: int = 3
    validation_windows: int = 2
    test_windows: int = 2
    update_steps: int = 40
    update_learning_rate: float = 5e-4
    update_horizons: int = 4
    boosted_trees: Literal["auto", "always", "never"] = "auto"
    seed: int = 0
    num_threads: int = 0
    lead_time_days: int = 7
    service_levels: tuple[float, ...] = (0.9, 0.95)
    checkpoint_every_steps: int = 100
    decisions: DecisionConfig = field(default_factory=DecisionConfig)

    def __post_init__(self) -> None:
        at_least_one = (
            "horizon context_length level_span hidden_size num_layers num_heads head_size embedding_size "
            "num_components num_members max_steps validate_every_steps patience validation_windows lead_time_days "
            "checkpoint_every_steps min_history update_horizons"
        )
        for name in at_least_one.split():
            self._expect(getattr(self, name) >= 1, name, "1 or more")
        for name in (
            "level_prior",
            "peer_prior",
            "weight_decay",
            "total_weight",
            "volume_power",
            "test_windows",
            "update_steps",
            "num_threads",
        ):
            self._expect(getattr(self, name) >= 0, name, "0 or more")
        self._expect(self.boosted_trees in ("auto", "always", "never"), "boosted_trees", "auto, always or never")
        self._expect(len(self.spans) > 0 and min(self.spans) >= 1, "spans", "one or more spans of 1 or more periods")
        self._expect(all(0 < level < 1 for level in self.service_levels), "service_levels", "shares in (0, 1)")
        for name in ("dropout", "hidden_history_share"):
            self._expect(0 <= getattr(self, name) < 1, name, "a share in [0, 1)")
        for name in ("learning_rate", "update_learning_rate"):
            self._expect(getattr(self, name) > 0, name, "more than 0")
        self._expect(
            self.batch_size >= self.num_members and self.batch_size % self.num_members == 0,
            "batch_size",
            f"a multiple of num_members ({self.num_members})",
        )

    def _expect(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            found: Any = getattr(self, name)
            raise ConfigError(f"{name}: expected {expected}, found {found!r}.")
