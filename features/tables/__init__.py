"""Table features: native frame in, native frame out, on pandas, DuckDB and PySpark alike.

Each is one function of Narwhals expressions. Days are the log's ``local_day``, money is minor units.
"""

from features.tables.item_days import item_days
from features.tables.lifecycle import LIFECYCLE_STAGES, lifecycle
from features.tables.local_time import with_local_time
from features.tables.orders import interactions, purchases
from features.tables.preferences import favourite_category, last_seen
from features.tables.rfm import rfm

__all__ = [
    "LIFECYCLE_STAGES",
    "favourite_category",
    "interactions",
    "item_days",
    "last_seen",
    "lifecycle",
    "purchases",
    "rfm",
    "with_local_time",
]
