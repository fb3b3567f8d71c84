"""How customers go through the shop: steps of a visit, what follows what, ways from and to an event, and what they lead to."""

from features.insight.paths.audiences import audiences_by, two_audiences
from features.insight.paths.definition import ANCHOR_BY_NODE, COLLAPSE, NodeDefinition, PathDefinition
from features.insight.paths.links import link_counts, sankey
from features.insight.paths.rates import difference, shares
from features.insight.paths.search import search_counts, search_terms
from features.insight.paths.step_matrix import ENDED, step_counts, step_matrix
from features.insight.paths.steps import END, OTHER, START, path_steps
from features.insight.paths.transitions import transition_counts, transition_matrix
from features.insight.paths.value import ALL_VISITS, node_values, value_counts

__all__ = [
    "ALL_VISITS",
    "ANCHOR_BY_NODE",
    "COLLAPSE",
    "END",
    "ENDED",
    "OTHER",
    "START",
    "NodeDefinition",
    "PathDefinition",
    "audiences_by",
    "difference",
    "link_counts",
    "node_values",
    "path_steps",
    "sankey",
    "search_counts",
    "search_terms",
    "shares",
    "step_counts",
    "step_matrix",
    "transition_counts",
    "transition_matrix",
    "two_audiences",
    "value_counts",
]
