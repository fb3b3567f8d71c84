"""The supervisor's side of a swap: verify, have every worker load and compare, then let all of them turn at once."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from features.errors import FootfallError
from serving.release.board import TOPICS, Board, Content, Held, Plan, Refusal, WorkerNote
from serving.release.setbacks import Deaths, Retries
from serving.release.sources import Source, Wanted

_log = logging.getLogger(__name__)
_KEPT_REFUSALS: Final = 10
# A worker that dies while it loads may have been killed for another reason: its successor may try.
_DEATHS: Final = 2
# Turned so much later than aligned, it would be alone among the machines: it waits for the next instant.
_LATE_SECONDS: Final = 1.0


class Coordinator:
    """Keeps one topic's plan.

    Args:
        board: where workers read it.
        topic: one of ``board.TOPICS``.
        source: what should be served.
        keep_previous: whether what served before stays loaded.
        load_timeout_seconds: how long a worker may take to load.
        align_seconds: swap at multiples of this on the clock, 0 at once.
        poll_seconds: how often the source is asked; at once where a worker rings.
        retry_seconds: after how long a content that was refused for a reason that may pass is tried again; twice as long
            after each further time.
        clock: the present, seconds since 1970.
    """

    def __init__(
        self,
        board: Board,
        topic: str,
        source: Source,
        *,
        keep_previous: bool = True,
        load_timeout_seconds: float = 300.0,
        align_seconds: float = 0.0,
        poll_seconds: float = 1.0,
        retry_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._board, self._topic, self._source = board, topic, source
        self._keep_previous, self._timeout, self._align = keep_previous, load_timeout_seconds, align_seconds
        self._poll, self._clock = poll_seconds, clock
        self._looked, self._rung = -poll_seconds, 0
        self._last_number = 0
        self._wanted: Wanted | None = None
        self._begun = self._due = 0.0
        self._named, self._overtaken = "", 0
        self._at_begin: frozenset[int] = frozenset()
        self._deaths, self._retries = Deaths(topic), Retries(retry_seconds)
        self._turned: Plan | None = None  # the word says so already, the plan not yet
        self._plan: Plan | None = None

    def start(self, wanted: Wanted, *, back_to: str = "") -> None:
        """Write the first plan: ``wanted``, which was verified, serves."""
        serving = self._content(wanted)
        self._write(
            Plan(
                serving=serving,
                since=_now(),
                asked=wanted.asked,
                followed=wanted.followed,
                held=wanted.name != wanted.followed,
                back_to=back_to,
            )
        )
        self._board.note_asked(wanted.asked)
        self._board.words[TOPICS[self._topic]] = serving.number

    def keep(self) -> None:
        """Write down what serves, for a later start."""
        self._source.swapped(self.plan)

    @property
    def plan(self) -> Plan:
        """What serves, and what is to be served next."""
        assert self._plan is not None, "started before it is asked"
        return self._plan

    def tick(self) -> None:
        """Look at what should be served and at what the workers say, and go one step on."""
        if self._turned is not None:
            self._finish(self._turned)
        rung, now = self._board.rung(), time.monotonic()
        if now - self._looked < self._poll and rung == self._rung and self.plan.candidate is None:
            return
        self._looked, self._rung = now, rung
        wanted = self._look()
        if wanted is not None and wanted.name != self._named:  # promoted anew, it may be tried anew
            self._retries.forget(wanted.name)
            self._named = wanted.name
        living = self._board.workers()
        self._deaths.look(self.plan, living)
        workers = [one for one in living if one.state == "serving"]
        candidate = self.plan.candidate
        if candidate is not None and wanted is not None and not _same(candidate, wanted):
            _log.info("%s %s: given up for %s", self._topic, candidate.name, wanted.name)
            self._write(replace(self.plan, candidate=None))
        if self.plan.candidate is None and wanted is not None and self._is_new(wanted):
            self._begin(wanted, workers)
        if self.plan.candidate is not None:
            self._advance(self.plan.candidate, workers)
        self._hold_also(workers)
        if self.plan.previous is not None and self._source.is_stale(self.plan.previous):
            self._write(replace(self.plan, previous=None))
        if wanted is not None:
            self._tell(wanted)

    def _look(self) -> Wanted | None:
        try:
            wanted, trouble = self._source.wanted(), ""
            self._overtaken = max(self._overtaken, wanted.overtaken)
        except FootfallError as error:
            wanted, trouble = None, str(error)
        if trouble and trouble != self.plan.trouble:
            _log.error("%s: %s; what serves goes on", self._topic, trouble)
        if trouble != self.plan.trouble:
            self._write(replace(self.plan, trouble=trouble))
        return wanted

    def _tell(self, wanted: Wanted) -> None:
        """Write down what is followed; last, so that whoever reads that a request was seen sees what came of it too."""
        held, asked = wanted.name != wanted.followed, max(wanted.asked, self.plan.asked)
        seen = replace(self.plan, asked=asked, followed=wanted.followed, held=held)
        if self._overtaken > asked:
            seen = replace(seen, asked=self._overtaken, overtaken=self._overtaken)
        if seen != self.plan:
            self._write(seen)

    def _is_new(self, wanted: Wanted) -> bool:
        return self._retries.may(wanted) and not _same(self.plan.serving, wanted)

    def _begin(self, wanted: Wanted, workers: Sequence[WorkerNote]) -> None:
        self._wanted, self._begun, self._due = wanted, time.monotonic(), 0.0
        self._at_begin = frozenset(one.pid for one in workers)
        held = next((one for one in self.plan.contents if _same(one, wanted)), None)
        if held is None:
            try:
                self._source.verify(wanted)
            except FootfallError as error:
                self._refuse(wanted, str(error), passing=True)  # a file may be put right
                return
        _log.info("%s %s: to be served; workers load it", self._topic, wanted.name)
        # Two at a time are in memory: what served before makes room for what comes.
        self._write(
            replace(
                self.plan,
                candidate=held or self._content(wanted),
                previous=self.plan.previous if held is not None and held != self.plan.previous else None,
                compare=wanted.compare,
            )
        )

    def _advance(self, candidate: Content, workers: Sequence[WorkerNote]) -> None:
        assert self._wanted is not None, "a candidate was wanted"
        notes = [(worker.pid, worker.of(self._topic, candidate.number)) for worker in workers]
        for pid, held in notes:
            if held is not None and held.state == "refused":
                self._refuse(self._wanted, f"worker {pid}: {held.reason}", passing=held.passing)
                return
        dead = self._deaths.of(candidate.number)
        if len(dead) >= _DEATHS:
            self._refuse(self._wanted, f"worker {dead[-1]} died while loading, as worker {dead[0]} did")
        elif self._all_hold(notes, dead):
            if self._is_due(self._wanted):
                self._swap(candidate)
        elif time.monotonic() - self._begun > self._timeout:
            late = ", ".join(str(pid) for pid, held in notes if held is None) or "any"
            self._refuse(self._wanted, f"not loaded within {self._timeout:g} s by worker {late}", passing=True)

    def _all_hold(self, notes: Sequence[tuple[int, Held | None]], dead: Sequence[int]) -> bool:
        """Whether whoever serves holds the candidate, at least one, and the successor of one that died of it too."""
        succeeded = not dead or any(pid not in self._at_begin for pid, _ in notes)
        return bool(notes) and succeeded and all(held is not None for _, held in notes)

    def _is_due(self, wanted: Wanted) -> bool:
        """Whether the clock is where swaps are, counted from when all workers were ready."""
        if wanted.asked or not self._align:
            return True
        now = self._clock()
        if not self._due or now > self._due + _LATE_SECONDS:
            self._due = -(-now // self._align) * self._align
        return now >= self._due

    def _swap(self, candidate: Content) -> None:
        """Turn all workers at once, unless one that lacks the candidate has begun to answer meanwhile."""
        before = self.plan
        kept = self._keep_previous and before.serving.name != candidate.name
        after = replace(
            before,
            serving=candidate,
            since=_now(),
            candidate=None,
            # Of the same name but another content: parts were rewritten to forget somebody. Nothing goes back to it.
            previous=before.serving if kept else None,
            back_to=before.serving.name if before.serving.name != candidate.name else before.back_to,
            swaps=before.swaps + 1,
        )
        with self._board.gate():
            workers = [one for one in self._board.workers() if one.state == "serving"]
            held = [one.of(self._topic, candidate.number) for one in workers]
            if not held or any(one is None or one.state != "ready" for one in held):
                return
            self._turned = after
            self._board.words[TOPICS[self._topic]] = candidate.number
        _log.info(
            "%s %s: served by %d workers, %.2f s after it was found; before: %s",
            *(self._topic, candidate.name, len(workers), time.monotonic() - self._begun, before.serving.name),
        )
        self._finish(after)

    def _finish(self, plan: Plan) -> None:
        """Write down what the word says; where the disk is full, before anything else at the next step."""
        self._write(plan)
        self._turned = None
        self._source.swapped(plan)

    def _refuse(self, wanted: Wanted, reason: str, *, passing: bool = False) -> None:
        self._source.refused(self._note_refusal(wanted, reason, passing=passing))
        self._write(replace(self.plan, candidate=None))

    def _note_refusal(self, wanted: Wanted, reason: str, *, passing: bool = False) -> Refusal:
        _log.error("%s %s: refused, %s serves on: %s", self._topic, wanted.name, self.plan.serving.name, reason)
        refusal = Refusal(name=wanted.name, digest=wanted.digest, reason=reason, at=_now(), asked=wanted.asked)
        refusals = (*self.plan.refusals, refusal)[-_KEPT_REFUSALS:]
        self._write(replace(self.plan, refusals=refusals, refused=self.plan.refused + 1))
        self._retries.note(wanted, passing=passing)
        return refusal

    def _hold_also(self, workers: Sequence[WorkerNote]) -> None:
        """Have the workers hold what is wanted beside, and tell them which contents all of them hold."""
        self._refuse_also(workers)
        plan, held = self.plan, {one.name for one in self.plan.also}
        # Those that are held go first: a customer of theirs shall not change sides for one that comes.
        asked = sorted({name for worker in workers for name in worker.also}, key=lambda name: (name not in held, name))
        also = tuple(content for one in self._source.also(asked) if (content := self._beside(one)) is not None)
        everywhere = tuple(
            one.number
            for one in plan.contents
            if all((said := w.of(self._topic, one.number)) and said.state == "ready" for w in workers)
        )
        if not workers:  # nobody answers: whoever starts loads what the others held
            also, everywhere = plan.also, plan.everywhere
        if (also, everywhere) != (plan.also, plan.everywhere):
            self._write(replace(plan, also=also, everywhere=tuple(sorted(set(everywhere)))))

    def _refuse_also(self, workers: Sequence[WorkerNote]) -> None:
        """Give up what kills the workers, and try again later what one could not load for a reason that may pass."""
        for one in self.plan.also:
            dead = self._deaths.of(one.number)
            said = [note for worker in workers if (note := worker.of(self._topic, one.number)) is not None]
            reason = next((note.reason for note in said if note.state == "refused" and note.passing), "")
            if len(dead) >= _DEATHS:
                self._give_up(one, f"worker {dead[-1]} died while loading, as worker {dead[0]} did", passing=False)
            elif reason:
                self._give_up(one, reason, passing=True)

    def _give_up(self, one: Content, reason: str, *, passing: bool) -> None:
        self._note_refusal(Wanted(name=one.name, digest=one.digest), reason, passing=passing)
        self._write(replace(self.plan, also=tuple(other for other in self.plan.also if other != one)))

    def _beside(self, wanted: Wanted) -> Content | None:
        held = next((one for one in self.plan.contents if _same(one, wanted)), None)
        if held is not None or not self._is_new(wanted):
            return held
        try:
            self._source.verify(wanted)
        except FootfallError as error:
            self._note_refusal(wanted, str(error), passing=True)
            return None
        return self._content(wanted)

    def _content(self, wanted: Wanted) -> Content:
        self._last_number += 1
        return Content(number=self._last_number, name=wanted.name, digest=wanted.digest)

    def _write(self, plan: Plan) -> None:
        self._board.write_plan(self._topic, plan)  # first: where the disk is full, the step is tried again
        self._plan = plan


def _same(content: Content, wanted: Wanted) -> bool:
    return content.name == wanted.name and content.digest == wanted.digest


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
