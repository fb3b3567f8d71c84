"""From requests to questions: what is known of the user, which item is meant, what may not be shown."""

from __future__ import annotations

from collections.abc import Callable

from features.columns import ANALYTICS, PERSONALISATION
from features.vocabulary import UNKNOWN
from serving.api.errors import RequestError
from serving.api.schemas import RecommendRequest
from serving.history.known_events import KnownEvents
from serving.history.stored import NOTHING, UserEvents
from serving.privacy.consents import ConsentWatch, UserConsent
from serving.release.state import ReleaseState
from serving.surfaces.answers import ABOUT_AN_ITEM
from serving.surfaces.clock import Clock, wall_clock_us
from serving.surfaces.question import Question
from serving.surfaces.tables import check_held


class Preparation:
    """Turns requests into questions.

    Args:
        state: the release.
        known: users' events.
        is_erased: whether a user is to be forgotten.
        consents: what a user's rows may be used for.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self,
        state: ReleaseState,
        known: KnownEvents,
        *,
        is_erased: Callable[[str], bool],
        consents: ConsentWatch,
        wall: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._state = state
        self._known = known
        self._is_erased = is_erased
        self._consents = consents
        self._clock = Clock(as_of_us=state.surfaces.as_of_us, wall=wall)

    def question(self, request: RecommendRequest) -> Question:
        """Return the question that a request asks.

        Raises:
            RequestError: an item, category or brand is missing or unknown, or the release lacks what the surface needs.
        """
        state = self._state
        check_held(state.surfaces, request.surface)
        item = self._item(request)
        inline, unknown = self._known.inline(request)
        consent = self._consent(request.user_id)
        personalised = consent is None or consent.allows(PERSONALISATION)
        stored = merged = NOTHING
        if personalised:
            stored = self._known.stored(request.user_id, consent)
            merged = UserEvents.merged(stored, self._known.live(request.user_id, consent), inline)
        history = merged.where(merged.item > UNKNOWN)
        model = state.surfaces.repurchase
        return Question(
            request=request,
            user_id=request.user_id if consent and personalised and consent.allows(ANALYTICS) else None,
            personalised=personalised,
            events=history.where(state.knows_event_type[history.event_type]),
            history=history,
            all_are_purchases=model is not None and model.all_are_purchases,
            has_stored=len(stored) > 0,
            item=item,
            repeat=request.repeat or state.surfaces.repeat,
            now_us=self._clock.now_us(history),
            allowed=None if request.filters is None else state.filters.codes(request.filters),
            unknown_items=unknown,
            unread_event_types=self._unread(request),
        )

    def _unread(self, request: RecommendRequest) -> list[str]:
        """Return the types of the request's events that the tower does not read."""
        sent = {event.event_type for event in request.events}
        return sorted(event_type for event_type in sent if not self._known.reads(event_type))

    def _consent(self, user_id: str | None) -> UserConsent | None:
        """Return a user's consents; an erased one is nobody, and has none."""
        return None if user_id is None or self._is_erased(user_id) else self._consents.of(user_id)

    def _item(self, request: RecommendRequest) -> int | None:
        if request.surface not in ABOUT_AN_ITEM:
            return None
        if request.item_id is None:
            raise RequestError(
                422,
                "item_id_missing",
                f"item_id: surface {request.surface!r} expects the item that the page shows, found none; add its id.",
            )
        code = self._state.item_codes.get(request.item_id)
        if code is None:
            raise RequestError(
                422,
                "unknown_item",
                f"item_id: the release knows no item {request.item_id!r}; check the id, or train again where it is new.",
            )
        return code
