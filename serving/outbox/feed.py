"""What goes into the outbox: triggers that opened for customers who did something, and alerts of a demand part."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from features.rules.conditions import ColumnTest, OpenTest, leaves
from features.triggers.trigger import Trigger
from serving.api.customer_schemas import CustomerTrigger
from serving.api.demand_schemas import Alert, AlertsAnswer, AlertsRequest
from serving.api.errors import RequestError
from serving.engine import Engine
from serving.outbox.marks import Mark, Marks
from serving.outbox.messages import DAY_US, Draft, Messages
from serving.outbox.settings import WebhookSettings
from serving.surfaces.clock import wall_clock_us

_log = logging.getLogger(__name__)
_ALERTS_FACT: Final = "alerts_of"
_MOST_ALERTS: Final = 1000
_PAGE: Final = 100
_HOUR_US: Final = 3_600_000_000
_WAIT_GRID_US: Final = 600_000_000
_encode: Final = msgspec.json.Encoder().encode
Sent = tuple[str, str]  # user_id, event_type


class Noticed:
    """Customers whose events were acknowledged in this process and are not marked yet; a call costs about a microsecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[Sent, None] = {}

    def add(self, sent: Iterable[Sent]) -> None:
        """Notice customers and what they did."""
        with self._lock:
            self._sent.update(dict.fromkeys(sent))

    def take(self) -> list[Sent]:
        """Return who was noticed since the last call."""
        with self._lock:
            taken, self._sent = self._sent, {}
        return list(taken)


class Feed:
    """Fills the outbox.

    Args:
        settings: of the outbox.
        messages: where they are kept.
        marks: customers to look at.
        engine: returns what answers now.
        wall: the present, UTC microseconds.
        sleep: waits some seconds; returns whether the process ends.
        tell: told how many customers are due, before each page of them.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        messages: Messages,
        marks: Marks,
        engine: Callable[[], Engine],
        *,
        wall: Callable[[], int] = wall_clock_us,
        sleep: Callable[[float], bool] = lambda _: False,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._messages = messages
        self._marks = marks
        self._engine = engine
        self._wall = wall
        self._sleep = sleep
        self._tell = tell
        self._alerts_of = ""

    def mark(self, sent: Sequence[Sent]) -> None:
        """Keep customers to look at: soon, and when what they did has waited as long as some trigger asks."""
        if not sent or not any(one.triggers for one in self._settings.endpoints):
            return
        now_us, waits = self._wall(), _waits(self._engine().triggers)
        settle_us = max(1, int(self._settings.settle_seconds * 1e6))
        rows: set[Mark] = {(_up(now_us, settle_us), user_id) for user_id, _ in sent}
        rows |= {
            (_up(now_us + int(hours * _HOUR_US), _WAIT_GRID_US), user_id)
            for user_id, event_type in sent
            for hours in waits.get(event_type, ())
        }
        self._marks.add(rows)

    def mark_everyone(self) -> None:
        """Look at everyone with recent events: who was noticed by a process that died is among them."""
        now_us = self._wall()
        self._marks.add((now_us, user_id) for user_id in self._engine().live_users())

    def run_once(self, keeps_going: Callable[[], bool] = lambda: True) -> int:
        """Look at everyone who is due and at new alerts; return how many messages were added.

        Args:
            keeps_going: asked before each page of customers, such as whether the lease is still held.
        """
        num_added = self._alerts()
        while keeps_going():
            self._tell(self._marks.num_due(self._wall()))
            marks = self._marks.due(self._wall(), limit=_PAGE)
            if not marks:
                break
            by_user: dict[str, list[Mark]] = defaultdict(list)
            for mark in marks:
                by_user[mark[1]].append(mark)
            for user_id, of_user in by_user.items():
                num_added += self._look(user_id)
                self._marks.done(of_user)
        return num_added

    def tidy(self, is_gone: Callable[[str], bool]) -> int:
        """Drop what is about customers who are gone, and forget what is long done; return how many were dropped."""
        self._marks.withdraw(is_gone)
        dropped = self._messages.withdraw(is_gone)
        self._messages.forget_before(self._wall() - int(self._settings.keep_days * DAY_US))
        return dropped

    def _look(self, user_id: str) -> int:
        """Add what is open for a customer, and rest so that the share of a core is kept to."""
        started = time.thread_time()
        num_added = self._add(self._drafts_of(user_id))
        used_s = time.thread_time() - started
        self._sleep(used_s * (1 / self._settings.cpu_share - 1))
        return num_added

    def _add(self, drafts: Sequence[Draft]) -> int:
        if not drafts:
            return 0
        again_us = int(self._settings.again_days * DAY_US)
        return self._messages.add(drafts, now_us=self._wall(), again_us=again_us)

    def _drafts_of(self, user_id: str) -> list[Draft]:
        engine = self._engine()
        try:
            found = engine.customer(user_id).open_triggers
        except RequestError:  # erased, without consent, or gone meanwhile
            return []
        rules = {one.rule.name: one for one in engine.triggers}
        at = _text(self._wall())
        return [
            Draft(
                endpoint=endpoint.name,
                about=("trigger", one.trigger, user_id, one.item_id or "" if rules[one.trigger].per == "item" else ""),
                occasion=_occasion(rules[one.trigger], one),
                body=_encode({"type": "trigger.opened", "timestamp": at, "data": _trigger_data(user_id, one, engine)}),
                subject=user_id,
            )
            for one in found
            if not one.held_back and one.trigger in rules
            for endpoint in self._settings.endpoints
            if endpoint.wants_trigger(one.trigger)
        ]

    def _alerts(self) -> int:
        """Add the alerts of the demand part that is served now, once."""
        engine = self._engine()
        if engine.release_id == self._alerts_of or not any(one.alerts for one in self._settings.endpoints):
            return 0
        self._alerts_of = engine.release_id
        try:
            found = engine.alerts(AlertsRequest(limit=_MOST_ALERTS))
        except RequestError:  # a release without alerts
            return 0
        if self._messages.fact(_ALERTS_FACT) == found.model_version:
            return 0
        added = self._add([*self._alert_drafts(found)])
        self._messages.note(_ALERTS_FACT, found.model_version)
        _log.info(
            "webhooks: %d messages about %d alerts of demand part %s", added, len(found.alerts), found.model_version
        )
        return added

    def _alert_drafts(self, found: AlertsAnswer) -> Iterable[Draft]:
        at = _text(self._wall())
        for alert in found.alerts:
            body = _encode({"type": "demand.alert", "timestamp": at, "data": _alert_data(alert, found)})
            for endpoint in self._settings.endpoints:
                if endpoint.wants_alert(alert.kind):
                    about = ("alert", alert.kind, alert.item_id)
                    yield Draft(
                        endpoint=endpoint.name, about=about, occasion=found.as_of or found.model_version, body=body
                    )


def _waits(triggers: Iterable[Trigger]) -> Mapping[str, set[float]]:
    """Return after how many hours an event of a type may open a trigger by waiting in vain."""
    found: dict[str, set[float]] = defaultdict(set)
    for trigger in triggers:
        for leaf in leaves(trigger.rule.when):
            if isinstance(leaf, OpenTest) and leaf.for_hours > 0:
                for event_type in leaf.events:
                    found[event_type].add(leaf.for_hours)
    return found


def _occasion(trigger: Trigger, found: CustomerTrigger) -> str:
    """Since when it is open; blank where it rests on the customer table alone, of which nobody knows that."""
    if all(isinstance(leaf, ColumnTest) for leaf in leaves(trigger.rule.when)):
        return ""
    return "" if found.due_at is None else found.due_at.isoformat()


def _trigger_data(user_id: str, one: CustomerTrigger, engine: Engine) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in one.__struct_fields__ if name not in ("why", "held_back")}
    return {"user_id": user_id, **fields, "release_id": engine.release_id}


def _alert_data(alert: Alert, found: AlertsAnswer) -> dict[str, Any]:
    return {**msgspec.structs.asdict(alert), "as_of": found.as_of, "model_version": found.model_version}


def _up(at_us: int, grid_us: int) -> int:
    """Return the next instant of a grid.

    >>> _up(12, 5), _up(15, 5)
    (15, 20)
    """
    return (at_us // grid_us + 1) * grid_us


def _text(at_us: int) -> str:
    return dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
