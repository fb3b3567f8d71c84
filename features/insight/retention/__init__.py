"""Who comes back: cohorts, repurchase, stickiness, and growth by period."""

from features.insight.retention.definition import RetentionDefinition
from features.insight.retention.growth import growth, growth_counts
from features.insight.retention.repurchase import RepurchaseDefinition, repurchase, repurchase_counts
from features.insight.retention.stickiness import active_days, active_days_counts, stickiness, stickiness_changes
from features.insight.retention.table import retention, retention_counts, retention_curve

__all__ = [
    "RepurchaseDefinition",
    "RetentionDefinition",
    "active_days",
    "active_days_counts",
    "growth",
    "growth_counts",
    "repurchase",
    "repurchase_counts",
    "retention",
    "retention_counts",
    "retention_curve",
    "stickiness",
    "stickiness_changes",
]
