"""What a model has to beat."""

from training.evaluation.baselines.item_knn import ItemKNN
from training.evaluation.baselines.personal_frequency import PersonalFrequency
from training.evaluation.baselines.popularity import Popularity

__all__ = ["ItemKNN", "PersonalFrequency", "Popularity"]
