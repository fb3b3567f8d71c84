"""A typed client of the service, over the very types that the service validates by.

from serving.client import Footfall

with Footfall("https://footfall.example", key="...") as footfall:
footfall.send([NewEvent(user_id="ann", event_type="cart", item_id="i1")])
for item in footfall.recommend(user_id="ann", surface="for_you", k=5).items:
print(item.item_id, item.title)
"""

from __future__ import annotations

from serving.client.calls import with_ids
from serving.client.client import AsyncFootfall, Footfall
from serving.client.errors import CallError
from serving.client.retries import Retries

__all__ = ["AsyncFootfall", "CallError", "Footfall", "Retries", "with_ids"]
