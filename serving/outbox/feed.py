"""What goes into the outbox: triggers that opened for customers who did something, and alerts of a demand part."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from features.rules.conditions import ColumnTest, OpenTest, leaves
from features.triggers.trigger import Trigger
from serving.api.customer_schemas import CustomerTrigger
from serving.api.demand_schemas import Alert, AlertsAnswer, AlertsRequest
from serving.api.errors import RequestError
from serving.demand.alerts import AlertBook
from serving.engine import Engine
from serving.live.store import LiveEvent
from serving.outbox.marks import Mark, Marks
from serving.outbox.messages import DAY_US, Draft, Messages
from serving.outbox.settings import WebhookEndpoint, WebhookSettings
from serving.surfaces.clock import wall_clock_us

_log = logging.getLogger(__name__)
_ALERTS_FACT: Final = "alerts_of"
_PAGE: Final = 100
_EVENTS: Final = 1000
_HOUR_US: Final = 3_600_000_000
_WAIT_GRID_US: Final = 600_000_000
_encode: Final = msgspec.json.Encoder().encode


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

    def follow(self, keeps_going: Callable[[], bool] = lambda: True) -> None:
        """Mark the customers of events that were kept since the last call, whoever kept them."""
        if not any(one.triggers for one in self._settings.endpoints):
            return
        engine = self._engine()
        waits, read_to = _waits(engine.triggers), self._marks.read_to()
        while keeps_going():
            found = engine.arrived(after=read_to, limit=_EVENTS)
            if not found.is_whole:
                self.mark_everyone()
            if found.position != read_to:
                self._marks.add(self._marks_of([one.event for one in found.events], waits), read_to=found.position)
            read_to = found.position
            if len(found.events) < _EVENTS:
                break

    def mark_everyone(self) -> None:
        """Look at everyone with recent events."""
        now_us = self._wall()
        self._marks.add((now_us, user_id) for user_id in self._engine().live_users())

    def _marks_of(self, events: Sequence[LiveEvent], waits: Mapping[str, set[float]]) -> set[Mark]:
        """Soon, and when what was done has waited as long as some trigger asks."""
        now_us, settle_us = self._wall(), max(1, int(self._settings.settle_seconds * 1e6))
        later = {
            (_up(event.ts_us + int(hours * _HOUR_US), _WAIT_GRID_US), event.user_id)
            for event in events
            for hours in waits.get(event.event_type, ())
        }
        soon = {(_up(now_us, settle_us), event.user_id) for event in events}
        return soon | {mark for mark in later if mark[0] > now_us}

    def run_once(self, keeps_going: Callable[[], bool] = lambda: True) -> int:
        """Add new alerts, follow events, and look at everyone who is due; return how many messages were added.

        Args:
            keeps_going: asked before each customer, such as whether the lease is still held.
        """
        num_added = self._alerts()
        self.follow(keeps_going)
        while keeps_going():
            self._tell(self._marks.num_due(self._wall()))
            marks = self._marks.due(self._wall(), limit=_PAGE)
            if not marks:
                break
            by_user: dict[str, list[Mark]] = defaultdict(list)
            for mark in marks:
                by_user[mark[1]].append(mark)
            for user_id, of_user in by_user.items():
                if not keeps_going():
                    break
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
        endpoints = self._open_endpoints()
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
            for endpoint in endpoints
            if endpoint.wants_trigger(one.trigger)
        ]

    def _alerts(self) -> int:
        """Add the alerts of the demand part that is served now, once."""
        engine = self._engine()
        if engine.release_id == self._alerts_of or not any(one.alerts for one in self._settings.endpoints):
            return 0
        demand = engine.state.demand
        book = None if demand is None else demand.alerts
        added = 0 if book is None else self._alerts_in(book)
        self._alerts_of = engine.release_id  # last: what fails before is tried again
        return added

    def _alerts_in(self, book: AlertBook) -> int:
        if self._messages.fact(_ALERTS_FACT) == book.part.version:
            return 0
        drafts, added = self._alert_drafts(book), 0
        while page := list(itertools.islice(drafts, _PAGE)):
            added += self._add(page)
        self._messages.note(_ALERTS_FACT, book.part.version)
        _log.info("webhooks: %d messages about %d alerts of demand part %s", added, len(book.alerts), book.part.version)
        return added

    def _alert_drafts(self, book: AlertBook) -> Iterator[Draft]:
        at, endpoints = _text(self._wall()), self._open_endpoints()
        found = book.answer(AlertsRequest(limit=1))
        for alert in book.alerts:
            wanted = [one.name for one in endpoints if one.wants_alert(alert.kind)]
            body = _encode({"type": "demand.alert", "timestamp": at, "data": _alert_data(alert, found)})
            about = ("alert", alert.kind, alert.item_id)
            for name in wanted:
                yield Draft(endpoint=name, about=about, occasion=found.as_of or found.model_version, body=body)

    def _open_endpoints(self) -> list[WebhookEndpoint]:
        """Return the receivers that have not said that they are gone."""
        return [one for one in self._settings.endpoints if not self._messages.is_gone(one.name)]


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
