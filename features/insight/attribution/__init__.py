"""Attribution: which channels and campaigns have a part in conversions, by eight models, with intervals.

counts = JourneyCounts.of_events(event_log.relation(connection, purpose="analytics"))
credits = attribute(counts)
credit_table(credits.values())
returns(credits["markov"], spend_by_touch(spend))
"""

from features.insight.attribution.counts import JourneyCounts
from features.insight.attribution.credits import Credits, attribute, credit_table
from features.insight.attribution.definition import DIRECT, MODELS, AttributionDefinition
from features.insight.attribution.games import shapley_values
from features.insight.attribution.journeys import journey_counts, journeys, touchpoints
from features.insight.attribution.spend import returns, spend_by_touch

__all__ = [
    "DIRECT",
    "MODELS",
    "AttributionDefinition",
    "Credits",
    "JourneyCounts",
    "attribute",
    "credit_table",
    "journey_counts",
    "journeys",
    "returns",
    "shapley_values",
    "spend_by_touch",
    "touchpoints",
]
