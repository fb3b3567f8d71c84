"""Live state: events and consents that were sent to the service, behind one interface.

Carts, triggers and purchase intent follow from the events. ``SqliteStore`` keeps them in one file that the workers of one
machine share, ``RedisStore`` where several machines serve; the same tests hold for both:

    acknowledged     kept when ``add`` returns, whoever is killed then
    event_id         counts once, while the event is kept
    order            by time of event; of one instant, by arrival; late and out of order is accepted
    read             all that was acknowledged before the call, whoever acknowledged it; nothing past its age
    judged           in the same atomic step as the writing, so that an erasure or withdrawal misses nothing
    log              every event that was kept, until the next feature build has taken it

A wall clock that is set back changes the order of none of them: an event without an instant is stamped with the store's
own time, which does not go back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

from features import columns as c
from features.contract.tables import EVENTS
from serving.api.errors import RequestError

LiveRow = tuple[int, str, str | None]  # ts_us, event_type, item_id
# What an event may carry beyond the five fields that live state reads: kept for the log.
MORE_COLUMNS: Final = tuple(
    name for name in EVENTS.column_names if name not in (c.USER_ID, c.EVENT_TYPE, c.TS, c.ITEM_ID, c.EVENT_ID)
)
# A store's time that runs ahead of the wall clock by more than this was wrong, and the wall clock counts again.
BELIEVED_US: Final = 86_400_000_000


class LiveEvent(NamedTuple):
    """One event as it is kept.

    Args:
        event_id: never empty.
        user_id: as it was sent.
        ts_us: UTC microseconds; 0 on its way in stands for the moment of receipt.
        event_type: of the contract.
        item_id: of the contract.
        more: further contract columns as a JSON object, ``None`` where there are none.
    """

    event_id: str
    user_id: str
    ts_us: int
    event_type: str
    item_id: str | None
    more: str | None = None


class ConsentChange(NamedTuple):
    """One row of the contract's ``consents``; the instant is UTC microseconds."""

    user_id: str
    purpose: str
    granted: bool
    at_us: int


class LoggedEvent(NamedTuple):
    """One event of the log, and where it stands in it."""

    position: str
    event: LiveEvent


class Arrived(NamedTuple):
    """What came since a position.

    Args:
        events: in order of arrival.
        position: from where to go on.
        is_whole: whether nothing is missing between the position that was asked about and the first of them.
    """

    events: list[LoggedEvent]
    position: str
    is_whole: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveUser:
    """What one id sent.

    Args:
        events: oldest first, those of one instant in order of arrival.
        consents: in order of arrival.
    """

    events: Sequence[LiveRow] = ()
    consents: Sequence[ConsentChange] = ()


@dataclass(frozen=True, kw_only=True)
class AddedEvents:
    """What became of a batch: row numbers are positions in it."""

    num_accepted: int
    num_duplicates: int
    refused_rows: tuple[int, ...]
    num_withheld: int = 0


Verdict = Literal["kept", "refused", "withheld"]
Judge = Callable[[Sequence[LiveEvent]], Sequence[Verdict]]


class LiveStore(Protocol):
    """Where live state is kept; safe to use from several threads and processes.

    Every method raises ``LiveStateError`` where the store cannot be reached, and then has changed nothing that it
    acknowledged.
    """

    @property
    def place(self) -> str:
        """Where it is, in words for a log: no passwords."""
        ...

    @property
    def holds_consents(self) -> bool:
        """Whether anyone ever changed a consent here, as of the last read; true where nothing was read yet."""
        ...

    def add(self, events: Sequence[LiveEvent], *, judge: Judge) -> AddedEvents:
        """Keep a batch of events; they are kept when this returns.

        Args:
            events: in any order.
            judge: of each event, whether it may be kept: ``refused`` where its customer was erased, ``withheld`` where no
                purpose may use it. It is asked in the same atomic step, perhaps more than once.
        """
        ...

    def add_together(self, batches: Sequence[Sequence[LiveEvent]], *, judge: Judge) -> list[AddedEvents]:
        """Keep several callers' batches at the cost of one: all are kept when this returns, or none is told so."""
        ...

    def add_consent(self, change: ConsentChange) -> None:
        """Keep a change of consent, also past a power cut; one sent again counts once."""
        ...

    def read(self, user_ids: Iterable[str]) -> dict[str, LiveUser]:
        """Return what some ids sent, of those that sent anything."""
        ...

    def consents_of(self, user_ids: Iterable[str]) -> dict[str, list[ConsentChange]]:
        """Return what ``read`` tells of consents alone, of those who changed any; quicker for many ids."""
        ...

    def kept_of(self, user_ids: Sequence[str]) -> list[LiveEvent]:
        """Return all that is kept of some ids' events, live or in the log; an event may come twice. For looks, not for answers."""
        ...

    def users(self) -> list[str]:
        """Return all ids that anything is kept of."""
        ...

    def consents(self) -> Iterator[dict[str, list[ConsentChange]]]:
        """Yield what ``consents_of`` tells of all who changed any, some hundreds at a time; an id may come twice."""
        ...

    def delete_user(self, user_id: str) -> int:
        """Forget one id's events, log and consents; return how many live events that were."""
        ...

    def keep_only(self, user_id: str, may_serve: Callable[[int], bool]) -> int:
        """Delete an id's events of instants that nothing may use; return how many live events that were."""
        ...

    def logged(self, *, after: str = "", limit: int = 10_000) -> list[LoggedEvent]:
        """Return the events of the log, in order of arrival, from one position on."""
        ...

    def arrived(self, *, after: str, limit: int) -> Arrived:
        """Return the events that came after a position of the log, whether or not the log was taken meanwhile.

        Events of types that are for the log alone may be missing; ``is_whole`` speaks of the others.
        """
        ...

    def forget_logged(self, upto: str) -> None:
        """Drop the log up to a position: whoever reads it has it on disk. Live events stay."""
        ...

    def risk(self) -> str:
        """Return how this store, as it is set, may lose what it acknowledged; empty where it is as durable as asked."""
        ...

    def close(self) -> None:
        """Let go of what this thread holds open."""
        ...


class LiveStateError(RequestError):
    """The store of live state cannot be reached; nothing of the request was acknowledged.

    The message says whether nothing was kept, or whether that is not known.
    """

    @classmethod
    def busy(cls, place: str) -> LiveStateError:
        """Others hold the store for too long."""
        message = f"{place} is held by other writers; nothing was kept. Send the same request again in a moment."
        return cls(503, "live_state_busy", message, retry_after=1)

    @classmethod
    def unavailable(cls, why: str) -> LiveStateError:
        """The store does not answer, or cannot write.

        Args:
            why: in words, without ids of users.
        """
        message = f"Live state cannot be reached ({why}); nothing was kept. Send the same request again in a moment."
        return cls(503, "live_state_unavailable", message, retry_after=1)

    @classmethod
    def unsure(cls, why: str) -> LiveStateError:
        """The store was written to, and its answer never came: all, some or nothing of it was kept.

        Args:
            why: in words, without ids of users.
        """
        message = (
            f"Live state cannot be reached ({why}); what was sent may have been kept or not. Send the same request again "
            "in a moment: an event with an event_id or a ts counts once, one with neither may count twice."
        )
        return cls(503, "live_state_unavailable", message, retry_after=1)


def content_id(user_id: str, event_type: str, item_id: str | None, ts_us: int) -> str:
    """Return the id of an event that came without one: the same content has the same id."""
    text = "\x1f".join((user_id, event_type, item_id or "", str(ts_us)))
    return "content-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def receipt_us(wall_us: int, newest_us: int) -> int:
    """Return the instant of receipt: the wall clock's, unless the store has been further already.

    >>> receipt_us(1_000, 1_500), receipt_us(2_000, 1_500)
    (1500, 2000)
    """
    return newest_us if 0 <= newest_us - wall_us <= BELIEVED_US else wall_us


def judged(events: Sequence[LiveEvent], judge: Judge, *, now_us: int) -> tuple[list[LiveEvent], dict[str, Any]]:
    """Return the events that may be kept, as they came, and what ``AddedEvents`` says of the others.

    Args:
        events: in any order.
        judge: asked with the moment of receipt in place of a missing instant.
        now_us: that moment.
    """
    verdicts = judge(stamped(events, now_us))
    kept = [event for event, verdict in zip(events, verdicts, strict=True) if verdict == "kept"]
    return kept, {
        "refused_rows": tuple(row for row, verdict in enumerate(verdicts) if verdict == "refused"),
        "num_withheld": sum(verdict == "withheld" for verdict in verdicts),
    }


def stamped(events: Sequence[LiveEvent], now_us: int) -> list[LiveEvent]:
    """Return the events with the moment of receipt where they came without an instant."""
    return [event if event.ts_us else event._replace(ts_us=now_us) for event in events]
