"""Live state in Redis, shared by several machines.

    PREFIX:events:USER    sorted set: ts_us -> arrival, ts_us, type, item
    PREFIX:consents:USER  sorted set: arrival -> purpose, granted, at_us
    PREFIX:consenting     set of users
    PREFIX:id:SHA1        an event_id that was kept, until it is too old to matter
    PREFIX:log            stream of what was kept, for the next feature build
    PREFIX:logged:USER    set of the user's entries in it
    PREFIX:users          set of users that anything is kept of
    PREFIX:meta           generation, arrival, newest_us, taken, and from which instant ages count

Each write is one Lua script, and so one atomic step. Erasures and consents are judged here and not in Redis; a judgement
is made of one generation, and a script that meets another one keeps nothing and has it judged again. Not for a Redis
Cluster, which would spread the keys of one step over machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from serving.live.redis_link import RedisLink
from serving.live.redis_log import RedisLog, named_script, order_of
from serving.live.settings import LiveSettings
from serving.live.store import (
    BELIEVED_US,
    AddedEvents,
    Arrived,
    ConsentChange,
    Judge,
    LiveEvent,
    LiveRow,
    LiveStateError,
    LiveUser,
    LoggedEvent,
    judged,
)
from serving.surfaces.clock import wall_clock_us

_DAY_US: Final = 86_400_000_000
_DAY_SECONDS: Final = 86_400
_PAGE: Final = 1_000
_MOST_JUDGEMENTS: Final = 20


class RedisStore:
    """The store; safe to use from several threads and processes.

    Args:
        settings: where, and caps and ages.
        wall: the present, UTC microseconds.
    """

    def __init__(self, settings: LiveSettings, *, wall: Callable[[], int] = wall_clock_us) -> None:
        self._settings = settings
        self._wall = wall
        self._prefix = settings.prefix
        self._link = RedisLink(
            settings.url, read_seconds=settings.timeout_ms / 1000, write_seconds=settings.busy_seconds
        )
        self._log = RedisLog(self._link, settings.prefix)
        self._add, self._read, self._consent, self._delete = (
            named_script(self._link, name) for name in ("add", "read", "consent", "delete")
        )
        self._generation = "0"
        self._holds_consents = True

    @property
    def place(self) -> str:
        """The address, without a password."""
        return self._link.place

    @property
    def holds_consents(self) -> bool:
        """Whether anyone ever changed a consent here, as of the last read."""
        return self._holds_consents

    def risk(self) -> str:
        """Return how Redis, as it is set, may lose what was acknowledged."""
        with self._link.explained():
            found = {name: _config(self._link.client, name) for name in ("appendonly", "appendfsync")}
        if found["appendonly"] == "no":
            return "appendonly is off: what was acknowledged since its last snapshot is lost when Redis ends"
        if found["appendfsync"] == "no":
            return "appendfsync is no: a power cut loses what the system has not written yet, often 30 seconds"
        if found["appendfsync"] == "everysec" and self._settings.durability == "power":
            return "appendfsync is everysec: a power cut loses up to 2 seconds; durability: power asks for always"
        return "" if found["appendonly"] else "its settings may not be read (CONFIG GET): see that appendonly is on"

    def add(self, events: Sequence[LiveEvent], *, judge: Judge) -> AddedEvents:
        """Keep a batch of events; see ``LiveStore``."""
        return self.add_together([events], judge=judge)[0]

    def add_together(self, batches: Sequence[Sequence[LiveEvent]], *, judge: Judge) -> list[AddedEvents]:
        """Keep several callers' batches with one message there and back."""
        done: dict[int, AddedEvents] = {}
        for _ in range(_MOST_JUDGEMENTS):
            # Before the judgement: another thread may meet a newer generation while this one judges.
            wall_us, generation = self._wall(), self._generation
            asked = [row for row in range(len(batches)) if row not in done]
            found = {row: judged(batches[row], judge, now_us=wall_us) for row in asked}
            answers = self._written([kept for kept, _ in found.values()], self._limits(wall_us, generation))
            for (row, (kept, others)), (held, current, *accepted) in zip(found.items(), answers, strict=True):
                self._generation = current
                if held:
                    done[row] = AddedEvents(num_accepted=accepted[0], num_duplicates=len(kept) - accepted[0], **others)
            if len(done) == len(batches):
                return [done[row] for row in range(len(batches))]
        raise LiveStateError.unsure("consents and erasures change faster than events are judged")

    def _written(self, batches: Sequence[Sequence[LiveEvent]], limits: Sequence[object]) -> list[Any]:
        if len(batches) == 1:
            with self._link.explained(is_write=True):
                return [self._add(args=[*limits, *(field for event in batches[0] for field in self._fields(event))])]
        with self._link.explained(is_write=True), self._link.client.pipeline(transaction=False) as pipeline:
            for events in batches:
                self._add(
                    args=[*limits, *(field for event in events for field in self._fields(event))], client=pipeline
                )
            answers: list[Any] = pipeline.execute()
        return answers

    def add_consent(self, change: ConsentChange) -> None:
        """Keep a change of consent, as durably as Redis is set to."""
        said = "\x1f".join((change.purpose, str(int(change.granted)), str(change.at_us)))
        with self._link.explained(is_write=True):
            self._consent(args=[self._prefix, change.user_id, said])

    def read(self, user_ids: Iterable[str]) -> dict[str, LiveUser]:
        """Return what some ids sent, of those that sent anything."""
        oldest_us = self._wall() - int(self._settings.max_age_days * _DAY_US)
        with self._link.explained():
            holds, *found = self._read(args=[self._prefix, oldest_us, *user_ids], client=self._link.reader)
        self._holds_consents = bool(holds)
        return {
            user: LiveUser(events=[_row(member) for member in events], consents=_changes(user, consents))
            for user, events, consents in zip(found[::3], found[1::3], found[2::3], strict=True)
        }

    def consents_of(self, user_ids: Iterable[str]) -> dict[str, list[ConsentChange]]:
        """Return the changes of consent of those who made any."""
        ids = list(user_ids)
        if not ids:
            return {}
        with self._link.explained():
            changed = self._link.client.smismember(f"{self._prefix}:consenting", ids)
        return self._said([id_ for id_, is_member in zip(ids, changed, strict=True) if is_member])

    def _said(self, ids: Sequence[str]) -> dict[str, list[ConsentChange]]:
        with self._link.explained(), self._link.client.pipeline(transaction=False) as pipeline:
            for id_ in ids:
                pipeline.zrange(f"{self._prefix}:consents:{id_}", 0, -1)
            rows = pipeline.execute()
        return {id_: _changes(id_, members) for id_, members in zip(ids, rows, strict=True) if members}

    def kept_of(self, user_ids: Sequence[str]) -> list[LiveEvent]:
        """Return all that is kept of some ids' events; live ones know their id only while they are in the log too."""
        logged = [one.event for one in self._log.of(user_ids)]
        live = self.read(user_ids)
        return [*logged, *(LiveEvent("", id_, *row) for id_, user in live.items() for row in user.events)]

    def users(self) -> list[str]:
        """Return all ids that anything is kept of."""
        return self._log.users()

    def consents(self) -> Iterator[dict[str, list[ConsentChange]]]:
        """Yield the changes of consent of all who made any, page by page."""
        cursor: object = 0
        while True:
            with self._link.explained():
                cursor, ids = self._link.client.sscan(f"{self._prefix}:consenting", cursor, count=_PAGE)
            if ids:
                yield self._said(ids)
            if not int(str(cursor)):
                return

    def delete_user(self, user_id: str) -> int:
        """Forget one id's events, log and consents; return how many live events that were."""
        self._log.prepare()
        with self._link.explained(is_write=True):
            return int(self._delete(args=[self._prefix, user_id]))

    def keep_only(self, user_id: str, may_serve: Callable[[int], bool]) -> int:
        """Delete an id's events of instants that nothing may use; return how many live events that were."""
        key = f"{self._prefix}:events:{user_id}"
        with self._link.explained(is_write=True):
            client = self._link.client
            client.hincrby(f"{self._prefix}:meta", "generation", 1)  # what is judged already is judged again
            gone = [member for member in client.zrange(key, 0, -1) if not may_serve(_row(member)[0])]
            if gone:
                client.zrem(key, *gone)
        logged = self._log.of([user_id])
        self._log.drop(user_id, [one.position for one in logged if not may_serve(one.event.ts_us)])
        return len(gone)

    def logged(self, *, after: str = "", limit: int = 10_000) -> list[LoggedEvent]:
        """Return the events of the log, in order of arrival, from one position on."""
        return self._log.page(after=after, limit=limit)

    def arrived(self, *, after: str, limit: int) -> Arrived:
        """Return the events that came after a position; what was taken of the log before that is missing."""
        events = self.logged(after=after, limit=limit)
        with self._link.explained():
            taken = self._link.client.hget(f"{self._prefix}:meta", "taken")
        is_whole = taken is None or order_of(taken) <= order_of(after)
        return Arrived(events, events[-1].position if events else after if is_whole else taken, is_whole)

    def forget_logged(self, upto: str) -> None:
        """Drop the log up to a position; live events stay."""
        with self._link.explained(is_write=True):
            self._link.client.hset(f"{self._prefix}:meta", "taken", upto)  # first: who reads meanwhile must see that
        self._log.forget(upto)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._link.close()

    def _limits(self, wall_us: int, generation: str) -> list[object]:
        settings = self._settings
        age_us, log_us = (int(days * _DAY_US) for days in (settings.max_age_days, settings.log_days))
        seconds = int((settings.max_age_days + 1) * _DAY_SECONDS)
        return [
            *(self._prefix, generation, wall_us, BELIEVED_US, age_us),
            *(settings.max_events, seconds, log_us, _DAY_US),
        ]

    def _fields(self, event: LiveEvent) -> list[object]:
        is_live = int(event.event_type not in self._settings.logged_only)
        return [
            *(event.event_id, event.user_id, event.ts_us, event.event_type),
            *(event.item_id or "", is_live, event.more or ""),
        ]


def _config(client: Any, name: str) -> str:
    try:
        found = client.config_get(name)
    except Exception as error:
        if type(error).__name__ in ("ResponseError", "NoPermissionError"):
            return ""  # a server in other hands may not tell
        raise
    return str(next(iter(found.values()), ""))


def _row(member: str) -> LiveRow:
    _, ts_us, kind, item = member.split("\x1f", 3)
    return int(ts_us), kind, item or None


def _changes(user_id: str, members: Iterable[str]) -> list[ConsentChange]:
    rows = [member.split("\x1f") for member in members]
    return [ConsentChange(user_id, purpose, granted == "1", int(at_us)) for purpose, granted, at_us in rows]
