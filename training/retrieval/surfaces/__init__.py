"""Tables behind the surfaces that no item vector answers: what is bought together, and what is trending."""

from training.retrieval.surfaces.bought_together import bought_together
from training.retrieval.surfaces.rows import UsableRows
from training.retrieval.surfaces.settings import BoughtTogetherSettings, TrendingSettings
from training.retrieval.surfaces.tables import write_surface_tables
from training.retrieval.surfaces.trending import trending

__all__ = [
    "BoughtTogetherSettings",
    "TrendingSettings",
    "UsableRows",
    "bought_together",
    "trending",
    "write_surface_tables",
]
