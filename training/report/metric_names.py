"""What people call the metrics of a ranking."""

from __future__ import annotations

import re
from typing import Final

_METRIC_NAMES: Final = {
    "recall": "Recall@{k}",
    "capped_recall": "Recall, capped at {k}",
    "hit_rate": "Hit rate@{k}",
    "ndcg": "NDCG@{k}",
    "mrr": "MRR@{k}",
    "coverage": "Coverage@{k}",
    "novelty": "Novelty@{k}, bits",
    "mean_popularity": "Events of a shown item, first {k}",
    "diversity": "Diversity@{k}",
    "popularity_percentile": "Popularity percentile@{k}",
    "popularity_lift": "Popularity lift@{k}",
    "gini": "Gini@{k}",
    "calibration_kl": "Miscalibration@{k}, nats",
}


def metric_name(key: str) -> str:
    """Return what people call a metric; a key that is unknown stays as it is.

    >>> metric_name("capped_recall@20"), metric_name("validation_ndcg@10"), metric_name("loss")
    ('Recall, capped at 20', 'NDCG@10', 'loss')
    """
    found = re.fullmatch(r"(?:validation_)?([a-z_]+)@(\d+)", key)
    if found is None or found[1] not in _METRIC_NAMES:
        return key
    return _METRIC_NAMES[found[1]].format(k=found[2])
