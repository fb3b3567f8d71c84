"""The messages of a morning: every open trigger, and of each whether it goes, when, and what holds it back.

    open = planned + held back by consent, unsubscription, an earlier message, a cap, quiet hours

A message to a customer needs consent to personalisation at the moment it is planned, whatever the rows say that the
features were built from.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from features import columns as c
from features.errors import ConfigError, did_you_mean
from features.rules.compile import BY_USER, BY_USER_AND_ITEM
from features.rules.session import RuleSession
from features.triggers.batch import open_triggers
from features.triggers.limits import DEFAULT_LIMITS, HELD_BY, HOURS, Limits, When, planned
from features.triggers.sent import Sent
from features.triggers.trigger import ItemFacts, OpenTrigger, Trigger

NO_CONSENT: Final = "no_consent"
PLAN_COLUMNS: Final = (
    c.USER_ID, "trigger", c.ITEM_ID, "reason", "send_at", "send_at_local", "medium", "best_hour", "priority", "due_at",
    "until", "evidence", "version",
)  # fmt: skip
HELD_COLUMNS: Final = (c.USER_ID, "trigger", c.ITEM_ID, "reason", "held_by", "held_back", "priority", "due_at", "until")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Whom one may write to, how, and what they know already.

    Args:
        allowed: customers who consent now.
        sent: by customer.
        limits: caps and quiet hours.
        when: ``best_hour`` plans for the next best hour outside quiet ones; ``now`` holds back in quiet hours.
        write_us: from when on, UTC microseconds; the session's instant where left out.
    """

    allowed: Container[str]
    sent: Mapping[str, Sent] = field(default_factory=dict)
    limits: Limits = DEFAULT_LIMITS
    when: When = "best_hour"
    write_us: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MessagePlan:
    """What goes and what does not.

    Args:
        messages: PLAN_COLUMNS, one row a message, by customer and then priority. Instants are UTC, ``send_at_local``
            is ISO 8601 in the shop's zone, ``evidence`` JSON.
        held: HELD_COLUMNS, one row a message that limits hold back; those without consent are only counted.
        counts: by trigger: open, planned, held_back by each of ``NO_CONSENT`` and ``HELD_BY``.
    """

    messages: pd.DataFrame
    held: pd.DataFrame
    counts: dict[str, dict[str, Any]]

    def totals(self) -> dict[str, Any]:
        """Return open, planned and held_back over all triggers."""
        of_all = list(self.counts.values())
        held = {name: sum(one["held_back"][name] for one in of_all) for name in (NO_CONSENT, *HELD_BY)}
        return {name: sum(one[name] for one in of_all) for name in ("open", "planned")} | {"held_back": held}


def plan_messages(
    session: RuleSession,
    triggers: Sequence[Trigger],
    facts: Mapping[str, ItemFacts],
    writing: Writing,
    *,
    profiles: pd.DataFrame,
    zone: ZoneInfo,
) -> MessagePlan:
    """Return the messages of all open triggers as of the session's instant.

    Args:
        session: of the purpose ``personalisation``.
        triggers: those that may write.
        facts: of the items, from ``item_facts``.
        writing: whom one may write to, and when not.
        profiles: the customer table's frame.
        zone: the shop's.
    """
    found = open_triggers(session, triggers, facts)
    consenting = [one for one in found if one.user_id in writing.allowed]
    plan = planned(
        consenting, as_of_us=session.as_of_us, zone=zone, sent=writing.sent, profiles=_hours(profiles, consenting),
        limits=writing.limits, when=writing.when, write_us=writing.write_us,
    )  # fmt: skip
    goes = plan["held_by"] == ""
    messages = plan[goes].reset_index(drop=True)
    messages["medium"] = writing.limits.medium
    messages["send_at_local"] = [at.tz_convert(zone).isoformat() for at in messages["send_at"]]
    messages["evidence"] = _evidence(session, triggers, messages, consenting)
    held = plan.loc[~goes, list(HELD_COLUMNS)].reset_index(drop=True)
    counts = {trigger.rule.name: _counts(trigger.rule.name, found, plan) for trigger in triggers}
    logger.info("messages: %d open, %d planned for %d customers, %d held back by limits, %d without consent",
                len(found), len(messages), messages[c.USER_ID].nunique(), len(held), len(found) - len(consenting))  # fmt: skip
    return MessagePlan(messages=messages[list(PLAN_COLUMNS)], held=held, counts=counts)


def _hours(profiles: pd.DataFrame, found: Sequence[OpenTrigger]) -> dict[str, dict[str, Any]]:
    """Each customer's best and quiet hours, where the table has them."""
    known = [name for name in HOURS if name in profiles]
    rows = profiles[profiles[c.USER_ID].isin({one.user_id for one in found})]
    return {row[c.USER_ID]: {name: row[name] for name in known} for row in rows.to_dict("records")}


def _counts(name: str, found: Sequence[OpenTrigger], plan: pd.DataFrame) -> dict[str, Any]:
    own = plan.loc[plan["trigger"] == name, "held_by"]
    by = Counter(own)
    is_open = sum(one.trigger == name for one in found)
    held = {NO_CONSENT: is_open - len(own)} | {kind: by[kind] for kind in HELD_BY}
    return {"open": is_open, "planned": by[""], "held_back": held}


def _evidence(
    session: RuleSession, triggers: Sequence[Trigger], messages: pd.DataFrame, found: Sequence[OpenTrigger]
) -> list[str]:
    """What each message rests on: an entry a condition, as of a tag, and what is known of the item."""
    going, entries = set(messages["trigger"]), {}
    for trigger in triggers:
        name = trigger.rule.name
        if name in going:
            held = session.holders(trigger.rule, by=BY_USER_AND_ITEM if trigger.per == "item" else BY_USER)
            for row in held.to_dict("records"):
                key = row[c.USER_ID], name, row[c.ITEM_ID] if trigger.per == "item" else None
                entries[key] = json.loads(row["evidence"])
    known = {(one.user_id, one.trigger, one.item_id): one for one in found}
    texts = []
    for user, name, item in zip(messages[c.USER_ID], messages["trigger"], messages[c.ITEM_ID], strict=True):
        one = known[user, name, None if pd.isna(item) else item]
        why = [*entries[user, name, one.item_id if one.per == "item" else None]]
        if one.known:
            why.append({"what": "the item now", **{of: round(value, 4) for of, value in one.known}})
        texts.append(json.dumps(why, ensure_ascii=False))
    return texts


def only_named(triggers: Sequence[Trigger], names: Sequence[str]) -> tuple[Trigger, ...]:
    """Return the triggers of these names; all where none is named.

    Raises:
        ConfigError: there is none of a name.
    """
    known = {trigger.rule.name: trigger for trigger in triggers}
    for name in names:
        if name not in known:
            raise ConfigError(f"only: expected one of {', '.join(known)}, found {name!r}.{did_you_mean(name, known)}")
    return tuple(known[name] for name in names) if names else tuple(triggers)
