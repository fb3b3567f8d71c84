"""Purchase intent of the visit that is under way: the calibrated chance that it still ends in a purchase, and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from features import columns as c
from features.intent.visit import LEAVES_CART, Visitor
from features.intent.words import reasons
from features.rules.live import LiveEvent
from serving.api.customer_schemas import IntentReason, PurchaseIntentNow
from serving.customers.live_customer import CustomerNow
from serving.customers.rule_book import RuleBook
from serving.history.stored import to_instant

_MINUTE_US: Final = 60_000_000
NO_CONSENT: Final = "no consent to personalisation"
TOO_OLD: Final = "this customers part was made before it held purchase intent; promote again"


def no_intent(note: str, *, as_of_us: int = 0) -> PurchaseIntentNow:
    """Return an answer without a chance, and why."""
    return PurchaseIntentNow(probability=None, as_of=to_instant(as_of_us), note=note)


def purchase_intent(rules: RuleBook, customer: CustomerNow) -> PurchaseIntentNow:
    """Return the chance that the customer's visit ends in a purchase from here on.

    Args:
        rules: of the customers part.
        customer: with their events, oldest first.
    """
    intent, now_us = rules.intent, customer.now_us
    if intent is None:
        return no_intent(TOO_OLD, as_of_us=now_us)
    if intent.model is None:
        return no_intent(f"not learned: {intent.reason}", as_of_us=now_us)
    gap_us = intent.model.gap_minutes * _MINUTE_US
    past = [event for event in customer.events if event.at_us <= now_us]
    visitor = followed(past, gap_us)
    if visitor.last_us < 0 or now_us - visitor.last_us > gap_us:
        return no_intent(
            f"no visit is under way: no event in the last {intent.model.gap_minutes} minutes", as_of_us=now_us
        )
    local = dt.datetime.fromtimestamp(visitor.start_us / 1e6, rules.zone)
    known = visitor.known(now_us, hour=local.hour, weekday=local.isoweekday())
    chance, because = reasons(intent.model, known)
    return PurchaseIntentNow(
        probability=round(chance, 4),
        as_of=to_instant(now_us),
        session_started_at=to_instant(visitor.start_us),
        last_event_at=to_instant(visitor.last_us),
        because=tuple(IntentReason(reason=one.text, odds_factor=one.odds_factor) for one in because),
        note=f"of a purchase before the next pause of {intent.model.gap_minutes} minutes; learned of visits up to "
        f"{str(intent.about['as_of'])[:10]}",
    )


def followed(events: Sequence[LiveEvent], gap_us: int) -> Visitor:
    """Return a customer followed through ``events``, oldest first, of one instant in any order."""
    visitor = Visitor(gap_us)
    for event in sorted(events, key=lambda one: (one.at_us, one.event_type in LEAVES_CART)):
        visitor.add(event.at_us, event.event_type, event.fields.get(c.ITEM_ID), event.fields.get(c.CATEGORY))
    return visitor
