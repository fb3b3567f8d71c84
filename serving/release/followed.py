"""One topic's contents in one worker: what answers now is read from the word that all workers share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from features.errors import FootfallError
from serving.release.board import TOPICS, Board, Content, Held, Plan

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Refused(Exception):
    """A content that was loaded, and answers worse than what serves.

    Args:
        reason: in words.
        report: what the comparison found.
    """

    def __init__(self, reason: str, report: Mapping[str, float]) -> None:
        super().__init__(reason)
        self.report = dict(report)


class Followed(Generic[T]):
    """Contents by number, one of which serves.

    Args:
        board: where the supervisor says which.
        topic: one of ``board.TOPICS``.
        load: makes a content, given what it is and what is held, whose pieces may be used again; what serves is first.
        compare: given what serves and what is to serve, returns a report; raises ``Refused``.
        changed: told of all that is held, whenever that changes.
    """

    def __init__(
        self,
        board: Board,
        topic: str,
        *,
        load: Callable[[Content, Sequence[T]], T],
        compare: Callable[[T, T], dict[str, float]] | None = None,
        changed: Callable[[list[T]], None] = lambda _: None,
    ) -> None:
        self.topic = topic
        self._board = board
        self._words, self._slot = board.words, TOPICS[topic]
        self._load, self._compare, self._changed = load, compare, changed
        self._held: dict[int, T] = {}
        self._notes: dict[int, Held] = {}
        self._plan: Plan | None = None
        self._number = self._lacking = 0
        self._current: T | None = None

    @property
    def current(self) -> T:
        """What serves at this instant; a request keeps what it began with."""
        if self._words[self._slot] != self._number:
            self._turn()
        assert self._current is not None, "a worker answers once its contents are loaded"
        return self._current

    @property
    def plan(self) -> Plan | None:
        """The plan as it was last seen."""
        return self._plan

    @property
    def notes(self) -> tuple[Held, ...]:
        """What to say of each content."""
        return tuple(self._notes.copy().values())

    @property
    def is_ready(self) -> bool:
        """Whether what the word names is loaded, and so serves from now on."""
        self._turn()
        return self._words[self._slot] == self._number

    def by_name(self, name: str) -> T | None:
        """Return what serves under a name, or is held by every worker; ``None`` where none is."""
        current, plan = self.current, self._plan
        for content in plan.contents if plan is not None else ():
            if content.name == name:
                if content.number == self._number:
                    return current
                if plan is not None and content.number in plan.everywhere:
                    return self._held.get(content.number)
        return None

    @property
    def names(self) -> list[str]:
        """What ``by_name`` knows, what serves first."""
        plan = self._plan
        found = [one.name for one in plan.contents if self.by_name(one.name) is not None] if plan is not None else []
        return list(dict.fromkeys(found))

    def sync(self, plan: Plan) -> bool:
        """Load one content that the plan names and drop what it no longer names; return whether anything was done.

        What serves is loaded first, and failing at it is an error; failing at another is noted.

        Raises:
            FootfallError: what serves cannot be loaded.
        """
        self._plan = plan
        self._turn()  # where no request came since a swap, what served before would be kept
        wanted = {one.number for one in plan.contents} | {self._words[self._slot]}
        gone = [number for number in self._notes if number not in wanted]
        for number in gone:
            del self._notes[number]
            self._held.pop(number, None)
        missing = [one for one in plan.contents if one.number not in self._notes]
        if missing:
            self._take(missing[0], plan)
        if gone or missing:
            self._changed(list(self._held.values()))
        return bool(gone or missing)

    def _take(self, content: Content, plan: Plan) -> None:
        serving = self._held.get(plan.serving.number)
        try:
            found = self._load(content, sorted(self._held.values(), key=lambda one: one is not serving))
            report = {}
            if content == plan.candidate and serving is not None and self._compare is not None:
                report = self._compared(serving, found, plan)
        except Refused as error:
            self._notes[content.number] = Held(
                number=content.number, state="refused", reason=str(error), report=error.report
            )
        except Exception as error:
            if content.number == plan.serving.number:
                raise
            known = isinstance(error, FootfallError)
            _log.warning("%s %s: not loaded (%s)", self.topic, content.name, error, exc_info=not known)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            self._notes[content.number] = Held(
                number=content.number, state="refused", reason=reason, passing=_may_pass(error)
            )
        else:
            self._held[content.number] = found
            self._notes[content.number] = Held(number=content.number, state="ready", report=report)

    def _compared(self, serving: T, found: T, plan: Plan) -> dict[str, float]:
        assert self._compare is not None
        try:
            return self._compare(serving, found)
        except Refused as error:
            if plan.compare:
                raise
            return error.report

    def _turn(self) -> None:
        number = self._words[self._slot]
        found = self._held.get(number)
        if number == self._number:
            return
        if found is not None:
            self._current = found  # first: whoever sees the number finds it
            self._number = number
        elif self._current is not None and number != self._lacking:  # said once, not at every request
            self._lacking = number
            _log.error(
                "%s %d serves, but this worker does not hold it; it goes on with %d", self.topic, number, self._number
            )


def _may_pass(error: BaseException | None) -> bool:
    """Whether an error, or what brought it about, is of the machine and not of the content."""
    return error is not None and (isinstance(error, MemoryError | OSError) or _may_pass(error.__cause__))
