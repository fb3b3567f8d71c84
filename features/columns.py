"""Names of columns, tables, event types and purposes: the words of the data contract.

Spelled here once, so that a typo is an ``AttributeError`` and not an empty column.
"""

from __future__ import annotations

from typing import Final

# events
USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
EVENT_TYPE: Final = "event_type"
TS: Final = "ts"  # instant, UTC, microseconds
EVENT_ID: Final = "event_id"
SESSION_ID: Final = "session_id"
QUANTITY: Final = "quantity"
PRICE: Final = "price"  # of one unit, in minor units of the shop's currency
ORDER_ID: Final = "order_id"
CHANNEL: Final = "channel"
DEVICE_ID: Final = "device_id"
REGION: Final = "region"
CAMPAIGN_ID: Final = "campaign_id"
VARIANT: Final = "variant"
COUPON_ID: Final = "coupon_id"

# added by the event log at its door
SOURCE_USER_ID: Final = "source_user_id"  # as it arrived; user_id is the customer
LOCAL_DAY: Final = "local_day"
LOCAL_HOUR: Final = "local_hour"
FOR_ANALYTICS: Final = "for_analytics"
FOR_PERSONALISATION: Final = "for_personalisation"

# items
TITLE: Final = "title"
CATEGORY: Final = "category"  # a path: "a/b/c"
BRAND: Final = "brand"
LABELS: Final = "labels"  # separated by |
COST: Final = "cost"
LEAD_TIME_DAYS: Final = "lead_time_days"
CREATED_AT: Final = "created_at"
ACTIVE: Final = "active"

# other tables
DAY: Final = "day"
ANNOUNCED_AT: Final = "announced_at"
PROMOTION: Final = "promotion"
DISPLAY: Final = "display"
MAILER: Final = "mailer"
STOCK: Final = "stock"
NAME: Final = "name"
VALUE: Final = "value"
PURPOSE: Final = "purpose"
GRANTED: Final = "granted"
AT: Final = "at"
SLOT: Final = "slot"
AS_OF: Final = "as_of"

# event types
IMPRESSION: Final = "impression"
VIEW: Final = "view"
FAVORITE: Final = "favorite"
CART: Final = "cart"
REMOVE_FROM_CART: Final = "remove_from_cart"
CHECKOUT: Final = "checkout"
PURCHASE: Final = "purchase"
REFUND: Final = "refund"

EVENT_TYPES: Final = (
    IMPRESSION,
    VIEW,
    "view_section",
    "search",
    FAVORITE,
    CART,
    REMOVE_FROM_CART,
    CHECKOUT,
    PURCHASE,
    REFUND,
    "login",
    "message_sent",
    "message_delivered",
    "message_opened",
    "message_clicked",
    "message_bounced",
    "message_unsubscribed",
)
# Event types that are about one item and so need an item_id.
ITEM_EVENT_TYPES: Final = frozenset({IMPRESSION, VIEW, FAVORITE, CART, REMOVE_FROM_CART, PURCHASE, REFUND})
# Dense codes for model inputs; 0 is padding.
EVENT_TYPE_CODES: Final = {name: code for code, name in enumerate(EVENT_TYPES, start=1)}

# purposes
ANALYTICS: Final = "analytics"
PERSONALISATION: Final = "personalisation"
PURPOSES: Final = (ANALYTICS, PERSONALISATION)
