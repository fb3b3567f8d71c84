"""What operators may ask of the releases, and what they are told: any worker answers, from the board."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from features.release import ReleaseStore
from serving.api.errors import RequestError
from serving.api.release_schemas import RefusedRelease, ReleaseAnswer, ReleaseRequest, WorkerReleases
from serving.release.board import Board, Plan, WorkerNote
from serving.release.hold import Hold, HoldFile

_SHOWN: Final = 20


class ReleaseDesk:
    """Passes an operator's requests on to the supervisor.

    Args:
        board: where supervisor and workers meet.
        store: the releases that may be asked for.
        hold: where requests are kept.
    """

    def __init__(self, board: Board, store: ReleaseStore, hold: HoldFile) -> None:
        self._board, self._store, self._hold = board, store, hold

    def ask(self, request: ReleaseRequest) -> int:
        """Write a request down, for good; return its number. Nothing has changed yet when this returns.

        Raises:
            RequestError: there is no such release, nothing to go back to, or no room to write it down.
        """
        with self._board.gate():
            plan = self._board.plan("release")
            release_id = self._release_id(request, plan)
            number = plan.asked + 1
            if (seen := self._board.asked()) >= number:
                number = seen + 1
            at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            self._write(Hold(release_id=release_id, instead_of=plan.followed, asked=number, at=at))
            self._board.note_asked(number)
        self._board.ring()
        return number

    def is_done(self, number: int) -> bool:
        """Return whether a request took effect, or gave way to a later one.

        Raises:
            RequestError: it was refused, or something was promoted at the same time; the message says so.
        """
        plan = self._board.plan("release")
        if plan.overtaken == number:
            message = (
                f"{plan.followed} was promoted at the same time and is served instead; ask again to go back from it."
            )
            raise RequestError(409, "overtaken", message)
        for refusal in plan.refusals:
            if refusal.asked == number:
                raise RequestError(409, "release_refused", f"{refusal.name}: {refusal.reason}")
        return plan.asked >= number and plan.candidate is None

    def answer(self, *, done: bool = True) -> ReleaseAnswer:
        """Return what is served, and what is under way."""
        plan, workers = self._board.plan("release"), self._board.workers()
        names = {one.number: one.name for one in plan.contents}
        return ReleaseAnswer(
            release_id=plan.serving.name,
            since=plan.since,
            done=done and plan.candidate is None,
            followed=plan.followed,
            held=plan.held,
            back_to=plan.back_to,
            candidate=None if plan.candidate is None else plan.candidate.name,
            also=[one.name for one in plan.also if one.number in plan.everywhere],
            swaps=plan.swaps,
            trouble=plan.trouble,
            refusals=[RefusedRelease(release_id=one.name, reason=one.reason, at=one.at) for one in plan.refusals],
            workers=[_worker(one, names) for one in workers],
            releases=self._store.release_ids()[::-1][:_SHOWN],
        )

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus sees of releases, as its registries ask for it; the same from whichever worker."""
        plan, workers = self._board.plan("release"), self._board.workers()
        served = GaugeMetricFamily("footfall_release_served", "1 for the release that answers", labels=["release_id"])
        served.add_metric([plan.serving.name], 1)
        yield served
        yield CounterMetricFamily("footfall_release_swaps", "Swaps since the start", value=plan.swaps)
        yield CounterMetricFamily("footfall_release_refusals", "Releases refused since the start", value=plan.refused)
        behind = not plan.held and plan.followed != plan.serving.name
        yield GaugeMetricFamily(
            "footfall_release_behind", "1 while something else is served than what is promoted", value=behind
        )
        yield GaugeMetricFamily("footfall_release_held", "1 while an operator's choice is served", value=plan.held)
        loading = plan.candidate is not None
        yield GaugeMetricFamily("footfall_release_loading", "1 while a release is loaded to be served", value=loading)
        trouble = bool(plan.trouble)
        yield GaugeMetricFamily("footfall_release_trouble", "1 while what is followed cannot be read", value=trouble)
        number = sum(one.state == "serving" for one in workers)
        yield GaugeMetricFamily("footfall_workers", "Workers that answer", value=number)

    def _write(self, hold: Hold) -> None:
        try:
            self._hold.write(hold)
        except OSError as error:
            raise RequestError(
                503,
                "hold_not_written",
                f"{self._hold.path.name}: cannot be written ({error.strerror}), so nothing was changed; free some space "
                "in the store and ask again.",
            ) from None

    def _release_id(self, request: ReleaseRequest, plan: Plan) -> str:
        if request.action == "follow":
            return ""
        if request.action == "rollback":
            return _before(plan)
        if request.release_id is None:
            raise RequestError(422, "release_id_missing", "release_id: action 'serve' expects one, found none.")
        known = self._store.release_ids()
        if request.release_id not in known:
            newest = ", ".join(known[::-1][:3]) or "none"
            raise RequestError(
                404, "unknown_release", f"release_id: the store holds no {request.release_id!r}; its newest: {newest}."
            )
        return request.release_id


def _before(plan: Plan) -> str:
    """Return what a rollback goes to; asked twice, it must not go forward again."""
    if plan.held:
        raise RequestError(
            409,
            "release_held",
            f"{plan.serving.name} is served at an operator's request already, in place of {plan.followed}; name the "
            "release_id to serve another, or follow what is promoted.",
        )
    if not plan.back_to:
        raise RequestError(
            409, "nothing_before", "No release was served before this one; name the release_id to serve."
        )
    return plan.back_to


def _worker(note: WorkerNote, names: dict[int, str]) -> WorkerReleases:
    held: Iterable[tuple[str, dict[str, float]]] = [
        (names[one.number], one.report)
        for one in note.held.get("release", ())
        if one.state == "ready" and one.number in names
    ]
    report = next((report for _, report in held if report), None)
    return WorkerReleases(pid=note.pid, state=note.state, releases=[name for name, _ in held], compared=report)
