"""What promotions sell: estimated from the panel, with intervals."""

from training.demand.effects.promotions import promotion_effects
from training.demand.effects.table import Effect, EffectTable

__all__ = ["Effect", "EffectTable", "promotion_effects"]
