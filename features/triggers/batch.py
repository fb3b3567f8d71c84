"""Every open trigger of every customer at an instant, and the same for one customer from its last events."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import narwhals as nw
import pandas as pd

from features import columns as c
from features.rules.comparisons import fields_pass
from features.rules.compile import BY_USER, BY_USER_AND_ITEM
from features.rules.live import LiveCustomer, LiveEvent, passes_where
from features.rules.rows import AT_US
from features.rules.session import RuleSession
from features.tables.expressions import is_type
from features.triggers.cycles import NO_GAPS, OwnGaps, live_gaps, own_gaps, purchase_gaps
from features.triggers.trigger import Candidate, ItemFacts, OpenTrigger, Trigger, open_trigger

POINTS: Final = "loyalty_points_missing"
logger = logging.getLogger(__name__)


def open_triggers(
    session: RuleSession, triggers: Sequence[Trigger], facts: Mapping[str, ItemFacts]
) -> list[OpenTrigger]:
    """Return every open trigger of every customer, by customer, the highest priority first.

    Args:
        session: of the purpose ``personalisation``: these rows lead to messages.
        triggers: from ``read_triggers``.
        facts: of the items at the session's instant, from ``item_facts``.
    """
    found = []
    for trigger in triggers:
        opened = [
            open_trigger(trigger, one, facts.get(one.item_id or ""), as_of_us=session.as_of_us)
            for one in _candidates(session, trigger)
        ]
        kept = [one for one in opened if one is not None]
        logger.info("triggers: %s open for %d of %d candidates", trigger.rule.name, len(kept), len(opened))
        found += kept
    return in_order(found)


def live_triggers(
    user_id: str, customer: LiveCustomer, triggers: Sequence[Trigger], facts: Mapping[str, ItemFacts]
) -> list[OpenTrigger]:
    """Return one customer's open triggers from its last events: what ``open_triggers`` says of them.

    A rule whose window reaches further back than the events given is as right as they let it be.

    Args:
        user_id: the customer.
        customer: events, profile and instant.
        triggers: from ``read_triggers``.
        facts: of the items now.
    """
    found = (
        open_trigger(trigger, one, facts.get(one.item_id or ""), as_of_us=customer.as_of_us)
        for trigger in triggers
        for one in _live_candidates(user_id, customer, trigger)
    )
    return in_order([one for one in found if one is not None])


def in_order(found: Sequence[OpenTrigger]) -> list[OpenTrigger]:
    """Return triggers by customer, the highest priority first, then the latest."""
    return sorted(found, key=lambda one: (one.user_id, -one.priority, one.trigger, -one.due_us, one.item_id or ""))


def _candidates(session: RuleSession, trigger: Trigger) -> Iterator[Candidate]:
    by = BY_USER_AND_ITEM if trigger.per == "item" else BY_USER
    compiler = session.compiler_by(by)
    held = compiler.holding(trigger.rule.when)
    points = session.profile_column(POINTS)
    leaf = trigger.events
    if leaf is None:
        frame = cast(pd.DataFrame, held.to_native().df()).assign(met_item=None, met_us=None, met_price=None)
    else:
        rows = compiler.rows.filter(is_type(*leaf.events) & ~nw.col(c.ITEM_ID).is_null())
        rows = rows.filter(fields_pass(leaf.where)) if leaf.where else rows
        held.to_native().create_view("trigger_held", replace=True)
        rows.to_native().create_view("trigger_rows", replace=True)
        on = " AND ".join(f"r.{name} = h.{name}" for name in by)
        keys = ", ".join(f"h.{name}" for name in by)
        frame = session.connection.sql(f"""
            WITH met AS (
                SELECT {keys}, max(r.{AT_US}) AS met_us FROM trigger_held AS h JOIN trigger_rows AS r ON {on} GROUP BY ALL
            ), item AS (
                SELECT {keys}, h.met_us, min(r.item_id) AS met_item FROM met AS h
                JOIN trigger_rows AS r ON {on} AND r.{AT_US} = h.met_us GROUP BY ALL
            )
            SELECT h.*, m.met_us, m.met_item, min(r.price) AS met_price FROM trigger_held AS h
            LEFT JOIN item AS m ON {" AND ".join(f"m.{name} = h.{name}" for name in by)}
            LEFT JOIN trigger_rows AS r ON r.user_id = m.user_id AND r.item_id = m.met_item AND r.{AT_US} = m.met_us
            GROUP BY ALL""").df()
    own = _own_gaps(session, held) if trigger.asks_for_cycle else {}
    for row in frame.to_dict("records"):
        met = row["met_us"]
        yield Candidate(
            user_id=row[c.USER_ID],
            item_id=row[c.ITEM_ID] if trigger.per == "item" else _known(row["met_item"]),
            start_us=int(row["start_us"]),
            end_us=int(row["end_us"]),
            met_us=None if pd.isna(met) else int(met),
            met_price=_known(row["met_price"]),
            points=points.get(row[c.USER_ID]),
            own=own.get((row[c.USER_ID], str(row.get(c.ITEM_ID))), NO_GAPS),
        )


def _own_gaps(session: RuleSession, held: Any) -> dict[tuple[str, str], OwnGaps]:
    """The gaps between purchases of those customers and items that a rule holds for."""
    held.to_native().create_view("trigger_held", replace=True)
    rows = session.connection.sql("FROM rule_rows SEMI JOIN trigger_held USING (user_id, item_id)")
    found = own_gaps(purchase_gaps(rows)).fetchall()
    return {(user, item): OwnGaps(count=count, sum_log=sum_log) for user, item, count, sum_log in found}


def _live_candidates(user_id: str, customer: LiveCustomer, trigger: Trigger) -> Iterator[Candidate]:
    condition = trigger.rule.when
    whole = {None: customer.holding(condition)}
    spans: Mapping[Any, Any] = customer.by_item(condition) if trigger.per == "item" else whole
    points = customer.profile.get(POINTS)
    for item, span in spans.items():
        if span is None:
            continue
        met = _last_met(customer, trigger, item)
        yield Candidate(
            user_id=user_id,
            item_id=item if item is not None or not met else min(str(event.fields[c.ITEM_ID]) for event in met),
            start_us=span[0],
            end_us=span[1],
            met_us=met[0].at_us if met else None,
            met_price=_least_price(met),
            points=None if points is None else float(points),
            own=live_gaps(_met_so_far(customer, item)) if trigger.asks_for_cycle else NO_GAPS,
        )


def _met_so_far(customer: LiveCustomer, item: Any) -> list[LiveEvent]:
    known = (event for event in customer.events if event.at_us <= customer.as_of_us)
    return [event for event in known if event.fields.get(c.ITEM_ID) == item]


def _last_met(customer: LiveCustomer, trigger: Trigger, item: str | None) -> list[LiveEvent]:
    """The latest events that the trigger is about; of one instant and, of several items, the first by name."""
    leaf = trigger.events
    if leaf is None:
        return []
    about = [
        event for event in customer.events
        if event.at_us <= customer.as_of_us and event.event_type in leaf.events and passes_where(event, leaf.where)
        and event.fields.get(c.ITEM_ID) is not None and (item is None or event.fields[c.ITEM_ID] == item)
    ]  # fmt: skip
    latest = max((event.at_us for event in about), default=None)
    last = [event for event in about if event.at_us == latest]
    first = min((str(event.fields[c.ITEM_ID]) for event in last), default=None)
    return [event for event in last if event.fields[c.ITEM_ID] == first]


def _least_price(met: Sequence[LiveEvent]) -> float | None:
    prices = [event.fields[c.PRICE] for event in met if event.fields.get(c.PRICE) is not None]
    return float(min(prices)) if prices else None


def _known(value: Any) -> Any:
    return None if pd.isna(value) else value
