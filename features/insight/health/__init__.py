"""Is the tracking sound: what is missing, twice, late or at the wrong time in a shop's events, and what to do about it."""

from features.insight.health.check import check_health
from features.insight.health.findings import SEVERITIES, Finding, HealthReport
from features.insight.health.settings import HealthSettings

__all__ = ["SEVERITIES", "Finding", "HealthReport", "HealthSettings", "check_health"]
