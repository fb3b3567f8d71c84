"""The engines of one worker: which release answers now, and which others are at hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import msgspec
from prometheus_client.core import InfoMetricFamily, Metric

from serving.api.errors import RequestError
from serving.api.merchandising_schemas import RulesAnswer
from serving.api.schemas import EventsAnswer, EventsRequest, RecommendRequest
from serving.engine import Answered, Engine
from serving.experiments.arm import Arm
from serving.experiments.desk import WishDesk
from serving.experiments.wishes import Wishes
from serving.release.desk import ReleaseDesk
from serving.release.followed import Followed


@dataclass(frozen=True, kw_only=True, eq=False)
class Routed:
    """A recommend request and who answers it.

    Args:
        engine: over the release that was chosen for the customer when the request arrived.
        request: as it came, with what its variants want where it says nothing.
        arm: what the experiments want of the answer.
    """

    engine: Engine
    request: RecommendRequest
    arm: Arm | None = None


class Engines:
    """Engines by release id, one of which answers where nothing else is asked.

    Args:
        current: answers: one engine for good, or what is followed.
        recent: how many requests are kept, in memory alone, to compare the next release with.
        want: asks for releases to be held beside.
        desk: where operators ask for another release; ``None`` where there is only one.
        wishes: the shop's rules and experiments as they are now; ``None`` where it has none.
        wish_desk: tells of them.
    """

    def __init__(
        self,
        current: Engine | Followed[Engine],
        *,
        recent: int = 0,
        want: Callable[[Iterable[str]], None] = lambda _: None,
        desk: ReleaseDesk | None = None,
        wishes: Wishes | None = None,
        wish_desk: WishDesk | None = None,
    ) -> None:
        self.desk = desk
        self.wishes = wishes
        self._wish_desk = wish_desk or WishDesk(wishes or Wishes())
        self._followed = current if isinstance(current, Followed) else None
        self._only = None if isinstance(current, Followed) else current
        self._want = want
        self._recent = deque[bytes](maxlen=recent)  # as they came: of one held as objects each would have to be let go

    @property
    def current(self) -> Engine:
        """The engine that answers now; a request keeps the one that it began with."""
        if self._followed is not None:
            return self._followed.current
        assert self._only is not None, "one or the other is given"
        return self._only

    def route(self, request: RecommendRequest, *, body: bytes = b"", looks: bool = False) -> Routed:
        """Return who answers a request: from the instant of a swap on, in every worker, the new release.

        Args:
            request: as it came.
            body: that it was read from; such a request is compared with the next release, others are not.
            looks: someone looks at the answer who is not the customer, so that it is not kept as shown.
        """
        if looks or request.preview or request.release_id is not None:
            return self._looked(request)
        if body:
            self._recent.append(body)
        return self._assigned(request)

    def _assigned(self, request: RecommendRequest) -> Routed:
        """Return who answers by the experiments that a request takes part in."""
        engine = self.current
        if self.wishes is None:
            return Routed(engine=engine, request=request)
        asked, arm = self.wishes.assign(request, customer_of=engine.customer_of, is_held=self._holds)
        if arm is not None and arm.release_id and arm.release_id != engine.release_id:
            held = self.of(arm.release_id)
            # Let go since it was asked about: nobody is part of the experiment any more.
            return (
                Routed(engine=engine, request=request) if held is None else Routed(engine=held, request=asked, arm=arm)
            )
        return Routed(engine=engine, request=asked, arm=arm)

    def _looked(self, request: RecommendRequest) -> Routed:
        """Answer someone who looks: with the customer's variants, by the release they name, and without an exposure."""
        release_id = request.release_id
        if release_id is None:
            routed = self._assigned(request)
            return routed if routed.arm is None else replace(routed, arm=replace(routed.arm, is_logged=False))
        engine = self.of(release_id)
        if engine is None:
            known = ", ".join(self.ids())
            message = (
                f"release_id: expected one that is held ({known}), found {release_id!r}; `releases.also` holds more."
            )
            raise RequestError(404, "unknown_release", message)
        if self.wishes is None:
            return Routed(engine=engine, request=request)
        asked, arm = self.wishes.assign(request, customer_of=engine.customer_of, is_held=self._holds)
        return Routed(engine=engine, request=asked, arm=None if arm is None else replace(arm, is_logged=False))

    def of(self, release_id: str) -> Engine | None:
        """Return the engine over a release, ``None`` until every worker holds it; see ``want``."""
        current = self.current
        if current.release_id == release_id:
            return current
        return None if self._followed is None else self._followed.by_name(release_id)

    def _holds(self, release_id: str) -> bool:
        return self.of(release_id) is not None

    def ids(self) -> list[str]:
        """Return the releases that ``of`` knows, the one that answers first."""
        return [self.current.release_id] if self._followed is None else self._followed.names

    def want(self, release_ids: Iterable[str]) -> None:
        """Have all workers hold these releases beside the one that answers, up to ``releases.max_also``.

        They are loaded in the background; ``of`` knows one once every worker has it. What was wanted before and is not
        named again is let go.
        """
        self._want(release_ids)

    def rules(self) -> RulesAnswer:
        """Return the rules and experiments that hold."""
        return self._wish_desk.answer(self.current.merchandiser, held=self.ids())

    def recent(self) -> list[RecommendRequest]:
        """Return the newest requests, oldest first."""
        return [msgspec.json.decode(body, type=RecommendRequest) for body in self._recent.copy()]

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus sees of the model that answers; the same from whichever worker."""
        state = self.current.state
        words = {"release_id": state.release_id, "model_version": state.model_version}
        yield InfoMetricFamily("footfall_model", "The model that answers", value=words)


def add_events_routed(questions: Sequence[tuple[Engine, EventsRequest]]) -> list[EventsAnswer | RequestError]:
    """Keep the events of several requests, those of one engine together."""
    return [
        answer
        for engine, same in groupby(questions, key=lambda one: one[0])
        for answer in engine.add_events_together([request for _, request in same])
    ]


def recommend_routed(questions: Sequence[Routed]) -> list[Answered | RequestError]:
    """Answer several requests at once, those of one engine together."""
    answers: dict[int, Answered | RequestError] = {}
    rows = sorted(range(len(questions)), key=lambda row: id(questions[row].engine))
    for _, same in groupby(rows, key=lambda row: id(questions[row].engine)):
        chosen = list(same)
        found = questions[chosen[0]].engine.answered(
            [questions[row].request for row in chosen], [questions[row].arm for row in chosen]
        )
        answers.update(zip(chosen, found, strict=True))
    return [answers[row] for row in range(len(questions))]


def kind_of(routed: Routed, *, is_remote: bool) -> Hashable | None:
    """Return what tells how long a request takes to answer: two of a kind take about as long.

    Args:
        routed: the request.
        is_remote: whether live state is read over the network, where a customer is named: such a read may take as long as
            it is waited for, so that nothing can be said (``None``).
    """
    request = routed.request
    if is_remote and request.user_id is not None:
        return None
    shown = (request.filters, request.exclude_seen, request.repeat, request.diversity is None, request.explain)
    rules = routed.engine.merchandiser.version(routed.arm)
    length = (request.k.bit_length(), len(request.events).bit_length(), request.user_id is None)
    return (routed.engine.release_id, request.surface, rules, shown, length)
