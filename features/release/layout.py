"""Names of the files in each part: what training writes and serving reads."""

from __future__ import annotations

from typing import Final

# retrieval/
VOCABULARY: Final = "vocabulary.parquet"  # item ids by code
CATALOG: Final = "catalog.parquet"  # attributes by code
ITEM_VECTORS: Final = "item_vectors.npy"  # float32 [V, d], unit length, new items' as set; rows PAD and UNKNOWN are 0
INDEX: Final = "index.faiss"  # inner product; FAISS ids are item codes
INDEX_SEARCH: Final = "index_search.json"  # only beside an index in cells whose lists are in shards: how it is searched
INDEX_SHARD: Final = "index-{:05d}.faiss"  # lists of consecutive cells, to be mapped from disk
INDEX_CODES: Final = "index_codes.npy"  # int32 [N], rising: what such an index holds
USER_TOWER: Final = "user_tower.onnx"  # item, event_type, gap, price_band int64 [B, L] -> user_vecs float32 [B, d]
FAVOURITES: Final = "favourites.parquet"  # item_code, score, category: the shop's recent bestsellers, best first
BOUGHT_TOGETHER: Final = "bought_together.parquet"  # item_code, neighbour_code, score, support, lift; best first
TRENDING: Final = "trending.parquet"  # item_code, score, category: what gains ground now, best first
REPURCHASE: Final = "repurchase.parquet"  # by item code: how likely, and after how long, a buyer buys it again
BLEND: Final = "blend.json"  # how the for_you list weighs what is bought again against what is new
INDEX_DIRECTIONS: Final = "index_directions.npy"  # float32 [m, d]: maps an item vector as such an index holds it
# about: dim, max_length, event_types, num_price_bands, as_of_us, repeat (the shop's setting)

# customers/
CUSTOMERS: Final = "customers.parquet"  # the CustomerTable, one row a user
USERS: Final = "users.parquet"  # Vocabulary of users: row u of the histories is code u + 2
HISTORIES: Final = "histories"  # Sequences of recent events that may be used for personalisation
HISTORY_VOCABULARY: Final = "history_vocabulary.parquet"  # item codes of the histories (a release may mix versions)
CONSENTS: Final = "consents.parquet"  # ConsentBook
IDENTITIES: Final = "identities.parquet"  # IdentityMap; absent where nothing links two ids
TAGS: Final = "tags.parquet"  # user_id, tag, since, until, evidence, version, source; by user
AUDIENCES: Final = "audiences.parquet"  # audience, user_id, since, until; by audience and user
RULE_EVENTS: Final = "rule_events.parquet"  # what triggers read: each customer's last events, by user and instant
ITEM_FACTS: Final = "item_facts.parquet"  # item_id, title, price, stock, cycle_days, own_strength
TRIGGERS: Final = "triggers.yaml"  # the shop's own; absent where the ready ones are used
RULES: Final = "rules.json"  # the instant, zone, currency and smallest group; tags and audiences in words
INTENT: Final = "intent.json"  # PurchaseIntent: the model and its test, or why there is none
# about: as_of; currency and minor_units of its money columns; intent (version, as_of, test)

# demand/
FORECASTS: Final = "forecasts.parquet"  # item_id, day, mean, q0.1 ... q0.9
TOTALS: Final = "totals.parquet"  # level (shop, category, brand), key, day (none: whole horizon), mean, q0.1 ... q0.9
DECISIONS: Final = "decisions.parquet"  # one row an item: lead time, reorder points, order-up-to levels, cover, risk
ALERTS: Final = "alerts.parquet"  # kind, rank, item_id, action, quantity, day, reason; most urgent first in each kind
DEMAND_CALIBRATION: Final = "calibration.json"  # DemandCalibration; absent where none was fitted
WHAT_IF_MODEL: Final = "what_if.onnx"  # the network at the forecast origin, as a function of the plan
WHAT_IF: Final = "what_if"  # directory: what_if.json, items.parquet and one .npy an input of the network
# about: as_of, frequency, horizon, lead_time_days, plan_until, assumptions, alerts

# beside the parts, in the store
EXPOSURES_DIRECTORY: Final = "exposures"  # what was shown in experiments, by day

QUANTILES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def quantile_column(level: float) -> str:
    """Return a quantile's column name.

    >>> quantile_column(0.1)
    'q0.1'
    """
    return f"q{level:.1f}"
