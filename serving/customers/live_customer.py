"""One customer now: open triggers and the cart, from stored events, those sent here since, and the profile."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import pandas as pd

from features import columns as c
from features.intent.visit import LEAVES_CART
from features.rules.known_fields import EVENT_FIELDS
from features.rules.live import LiveCustomer, LiveEvent
from features.rules.rows import AT_US
from features.rules.words import in_words
from features.triggers.batch import live_triggers
from features.triggers.limits import planned
from features.triggers.sent import Sent
from serving.api.customer_schemas import CartItem, CustomerTrigger
from serving.customers.rule_book import RuleBook
from serving.history.stored import to_instant
from serving.privacy.consents import UserConsent
from serving.release.state import ReleaseState

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_HOURS: Final = ("best_hour", "quiet_from", "quiet_until")
LiveRow = tuple[int, str, str | None]  # ts_us, event_type, item_id


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerNow:
    """What rules may read of a customer at an instant.

    Args:
        user_id: the customer's own id.
        events: that may serve personalisation, stored and sent here, oldest first.
        live: instant, type and item of those that were sent here and are not stored.
        profile: the customer table's row.
        now_us: the instant, UTC microseconds.
    """

    user_id: str
    events: Sequence[LiveEvent]
    live: frozenset[tuple[int, str, str | None]]
    profile: Mapping[str, Any]
    now_us: int


class LiveReader:
    """Reads customers as they are now.

    Args:
        state: the release.
        rules: of its customers part.
    """

    def __init__(self, state: ReleaseState, rules: RuleBook) -> None:
        self._state = state
        self._rules = rules

    def read(
        self, customer: str, sent: Sequence[LiveRow], consent: UserConsent, profile: Mapping[str, Any], *, now_us: int
    ) -> CustomerNow:
        """Return a customer's events that may serve personalisation; one that two sources hold counts once.

        Args:
            customer: their own id.
            sent: events that were sent here under any of their ids.
            consent: of the customer.
            profile: their row.
            now_us: the instant.
        """
        stored = [_stored(row) for row in self._rules.events.of(customer)]
        known = {_key(event) for event in stored}
        live = [self._live(row) for row in sorted(dict.fromkeys(sent), key=lambda row: row[0]) if row not in known]
        allowed = [one for one in (*stored, *live) if consent.holds(c.PERSONALISATION, one.at_us)]
        return CustomerNow(
            user_id=customer,
            events=sorted(allowed, key=lambda one: one.at_us),
            live=frozenset(_key(one) for one in live),
            profile=profile,
            now_us=now_us,
        )

    def triggers(self, customer: CustomerNow) -> list[CustomerTrigger]:
        """Return the triggers that are open now, the highest priority first."""
        rules = self._rules
        seen = LiveCustomer(
            events=customer.events,
            profile=customer.profile,
            as_of_us=customer.now_us,
            as_of=_local(customer.now_us, rules.zone).date(),
            natures=rules.columns,
        )
        found = live_triggers(customer.user_id, seen, rules.triggers, rules.facts)
        if not found:
            return []
        plan = planned(
            found,
            as_of_us=customer.now_us,
            zone=rules.zone,
            sent={customer.user_id: _sent(customer)},
            profiles={customer.user_id: {name: customer.profile.get(name) for name in _HOURS}},
        )
        by_name = {trigger.rule.name: trigger.rule for trigger in rules.triggers}
        source = _source(customer, rules.as_of_us)
        return [
            CustomerTrigger(
                trigger=row["trigger"],
                title=by_name[row["trigger"]].title,
                item_id=None if pd.isna(row["item_id"]) else row["item_id"],
                reason=row["reason"],
                why=f"{in_words(by_name[row['trigger']].when)}; {source}",
                priority=row["priority"],
                due_at=_instant(row["due_at"]),
                until=_instant(row["until"]),
                best_hour=row["best_hour"],
                send_at=_instant(row["send_at"]),
                held_back=row["held_back"],
                version=row["version"],
            )
            for row in cast("list[dict[str, Any]]", plan.to_dict("records"))
        ]

    def cart(self, customer: CustomerNow) -> list[CartItem]:
        """Return what is in the cart, the newest first."""
        since: dict[str, LiveEvent] = {}
        for event in customer.events:
            item = event.fields.get(c.ITEM_ID)
            if event.at_us <= customer.now_us and item is not None:
                if event.event_type == "cart":
                    since[item] = event
                elif event.event_type in LEAVES_CART:
                    since.pop(item, None)
        return [
            CartItem(item_id=item, title=self._title(item), since=to_instant(event.at_us), live=_key(event) in customer.live)
            for item, event in sorted(since.items(), key=lambda one: -one[1].at_us)
        ]  # fmt: skip

    def _title(self, item: str) -> str | None:
        facts = self._rules.facts.get(item)
        return (facts.title or None) if facts else None

    def _live(self, row: LiveRow) -> LiveEvent:
        """An event as it was sent, with what the release knows of its item; the price is the item's now."""
        ts_us, kind, item = row
        local = _local(ts_us, self._rules.zone)
        fields: dict[str, Any] = {c.ITEM_ID: item, c.LOCAL_HOUR: local.hour}
        code = self._state.item_codes.get(item or "")
        if item is not None and code is not None:
            catalog, facts = self._state.catalog, self._rules.facts.get(item)
            price = int(catalog.price[code])
            fields |= {name: getattr(catalog, name)[code] or None for name in (c.CATEGORY, c.BRAND, c.LABELS, c.TITLE)}
            fields[c.PRICE] = facts.price if facts and facts.price is not None else price if price >= 0 else None
        return LiveEvent(event_type=kind, at_us=ts_us, local_day=local.date(), fields=fields)


def _stored(row: Mapping[str, Any]) -> LiveEvent:
    fields = {name: row[name] for name in EVENT_FIELDS if row.get(name) is not None}
    return LiveEvent(event_type=row[c.EVENT_TYPE], at_us=row[AT_US], local_day=row[c.LOCAL_DAY], fields=fields)


def _key(event: LiveEvent) -> LiveRow:
    return event.at_us, event.event_type, event.fields.get(c.ITEM_ID)


def _sent(customer: CustomerNow) -> Sent:
    """What the customer was sent, and unsubscribed from."""
    return Sent.of(
        (one.event_type, one.at_us, one.fields.get("medium") or "", one.fields.get("campaign") or "", one.fields.get(c.ITEM_ID))
        for one in customer.events
    )  # fmt: skip


def _source(customer: CustomerNow, as_of_us: int) -> str:
    num_live = sum(1 for event in customer.events if _key(event) in customer.live)
    stored = len(customer.events) - num_live
    return f"read from {stored} events up to {to_instant(as_of_us)} and {num_live} sent here since"


def _local(at_us: int, zone: dt.tzinfo) -> dt.datetime:
    return (_EPOCH + dt.timedelta(microseconds=at_us)).astimezone(zone)


def _instant(value: Any) -> dt.datetime | None:
    return None if pd.isna(value) else value.to_pydatetime()
