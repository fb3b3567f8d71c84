"""The messages of a feature directory: its log, its triggers, who consents now, and what was sent before."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.build import CUSTOMERS_FILE, EVENT_LOG_FILE, IDENTITY_DIRECTORY, ITEMS_FILE
from features.customers.as_of import customers_as_of
from features.customers.table import CustomerTable
from features.demand.stock import STOCK_FILE
from features.errors import ConfigError
from features.event_log import EventLog
from features.identity.build import MAP_FILE
from features.identity.map import IdentityMap
from features.privacy.lookup import consents_of_features
from features.privacy.pseudonyms import Pseudonyms
from features.release.erasure import ErasedUsers
from features.rules.conditions import DAY_US, columns_of
from features.rules.rows import end_of_day_us, instant_us
from features.rules.session import RuleSession, columns_at_hand
from features.rules.shop_files import TRIGGERS_FILE
from features.settings import EngineSettings, ShopSettings
from features.triggers.batch import POINTS
from features.triggers.facts import item_facts
from features.triggers.limits import DEFAULT_LIMITS, HOURS, Limits, When
from features.triggers.messages import MessagePlan, Writing, only_named, plan_messages
from features.triggers.sent import Sent, rows_of_plan, sent_messages
from features.triggers.trigger import LIBRARY, Trigger, read_triggers

OLD_DAYS: Final = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Morning:
    """What a plan rests on beside the features.

    Args:
        now: when it is made, with its zone; messages are planned from then on.
        day: an earlier local day whose end takes the place of ``now``, to see what would have been planned. Where
            nothing is said the log is read up to the end of its last day, or up to ``now`` while that day lasts.
        rules: YAML file of triggers; the shop's own in the features, or the ready ones, where left out.
        only: names of the triggers that may write; all where empty.
        parameters: such as ``lead_days``.
        earlier: messages of earlier plans, from ``read_planned``.
        names: pseudonyms that earlier plans and this one stand under, by the number of the key.
        limits: caps and quiet hours.
        when: best hour, or now.
        consents: data directory with newer consents than the features.
        erased: whom to forget.
        engine: where rules are computed.
    """

    now: dt.datetime
    day: dt.date | None = None
    rules: Path | None = None
    only: Sequence[str] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    earlier: pd.DataFrame | None = None
    names: Sequence[Pseudonyms] = ()
    limits: Limits = DEFAULT_LIMITS
    when: When = "best_hour"
    consents: Path | None = None
    erased: ErasedUsers = field(default_factory=ErasedUsers)
    engine: EngineSettings = EngineSettings()


@dataclass(frozen=True, kw_only=True, eq=False)
class MorningPlan:
    """A plan and what it was made of.

    Args:
        plan: the messages.
        as_of_us: the instant that the log was read up to, UTC microseconds.
        num_customers: that the log or the customer table knows.
        num_allowed: of them that consent now.
        num_strangers: messages of earlier plans to nobody that is known.
    """

    plan: MessagePlan
    as_of_us: int
    num_customers: int
    num_allowed: int
    num_strangers: int


def plan_morning(features: Path, morning: Morning) -> MorningPlan:
    """Plan the messages of a feature directory.

    Args:
        features: what ``footfall features`` wrote.
        morning: what else counts.

    Raises:
        ConfigError: a trigger, a name or a day is not as it should be.
        DataError: ``features`` is no feature directory, or holds no consents.
    """
    if not features.is_dir():
        raise ConfigError(f"{features}: expected a feature directory, found none; run `footfall features` first.")
    shop, log = ShopSettings.load(features), EventLog.open(features / EVENT_LOG_FILE)
    stored = CustomerTable.load(features / CUSTOMERS_FILE)
    triggers = _triggers(features, stored, shop, morning)
    needed = {POINTS, *HOURS, *(name for one in triggers for name in columns_of(one.rule.when))}
    customers = customers_as_of(features, morning.day or stored.as_of, columns=needed, engine=morning.engine)
    now_us = instant_us(morning.now)
    as_of_us = min(end_of_day_us(customers.as_of, shop.zone), now_us)
    items, stock = features / ITEMS_FILE, features / STOCK_FILE
    with RuleSession.open(
        log, items, customers, shop=shop, purpose=c.PERSONALISATION, engine=morning.engine, as_of_us=as_of_us
    ) as session:
        ids = [user for (user,) in session.connection.sql("SELECT DISTINCT user_id FROM rule_rows").fetchall()]
        allowed = _allowed(features, ids, shop, morning, now_us=now_us)
        sent, strangers = _sent(features, session, ids, shop, morning)
        facts = item_facts(session, items, stock=stock if customers.as_of == stored.as_of else None)
        write_us = now_us if morning.day is None else as_of_us
        writing = Writing(allowed=allowed, sent=sent, limits=morning.limits, when=morning.when, write_us=write_us)
        plan = plan_messages(session, triggers, facts, writing, profiles=customers.frame, zone=shop.zone)
    if morning.day is None and now_us - as_of_us > OLD_DAYS * DAY_US:
        logger.warning("messages: the log ends on %s; build the features again before you write", customers.as_of)
    known = {*ids, *customers.frame[c.USER_ID]}
    return MorningPlan(
        plan=plan, as_of_us=as_of_us, num_customers=len(known), num_allowed=len(allowed), num_strangers=strangers
    )


def _triggers(features: Path, stored: CustomerTable, shop: ShopSettings, morning: Morning) -> tuple[Trigger, ...]:
    own = features / TRIGGERS_FILE
    path = morning.rules or (own if own.is_file() else LIBRARY)
    columns = columns_at_hand(stored.frame)
    found = read_triggers(path, minor_units=shop.minor_units, columns=columns, parameters=morning.parameters)
    return only_named(found, morning.only)


def _allowed(
    features: Path, ids: Sequence[str], shop: ShopSettings, morning: Morning, *, now_us: int
) -> frozenset[str]:
    """Those who consent to personalisation at this moment and have not been forgotten."""
    book = consents_of_features(features, shop=shop, newer=morning.consents, engine=morning.engine)
    holds = book.holding(np.array(ids, dtype=object), c.PERSONALISATION, now_us)
    return frozenset(user for user, held in zip(ids, holds, strict=True) if held and user not in morning.erased)


def _sent(
    features: Path, session: RuleSession, ids: Sequence[str], shop: ShopSettings, morning: Morning
) -> tuple[dict[str, Sent], int]:
    """What each customer was sent by log and earlier plans, and how many of these went to nobody that is known."""
    sent = sent_messages(session)
    if morning.earlier is None:
        return sent, 0
    plans = morning.earlier.assign(user_id=_users_of(features, morning.earlier, ids, morning.names))
    known = plans[plans[c.USER_ID].isin(set(ids))]
    for user, rows in rows_of_plan(known, morning.limits.medium).items():
        sent[user] = sent.get(user, Sent()).with_planned(rows, shop.zone)
    return sent, len(plans) - len(known)


def _users_of(features: Path, plans: pd.DataFrame, ids: Sequence[str], names: Sequence[Pseudonyms]) -> Any:
    """Whom rows of earlier plans were for, under their present ids."""
    of_name = {scope.of(user): user for scope in names for user in ids} if plans["pseudonym"].notna().any() else {}
    users = plans[c.USER_ID].where(plans[c.USER_ID].notna(), plans["pseudonym"].map(of_name))
    path = features / IDENTITY_DIRECTORY / MAP_FILE
    if not path.is_file():
        return users
    known = users[users.notna()].unique()
    return users.map(dict(zip(known, IdentityMap.load(path).resolve(list(known)), strict=True)))
