"""What a model has to beat."""

from training.evaluation.baselines.als import ALS, als_is_installed
from training.evaluation.baselines.attribute_knn import AttributeKNN
from training.evaluation.baselines.ease import Ease
from training.evaluation.baselines.item_knn import ItemKNN
from training.evaluation.baselines.personal_frequency import PersonalFrequency
from training.evaluation.baselines.popularity import Popularity

__all__ = ["ALS", "AttributeKNN", "Ease", "ItemKNN", "PersonalFrequency", "Popularity", "als_is_installed"]
