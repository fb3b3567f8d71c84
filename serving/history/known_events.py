"""What is known of a user's behaviour: stored in the release, sent here since, and sent with the request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from features import columns as c
from features.vocabulary import UNKNOWN
from serving.api.errors import RequestError
from serving.api.rights_schemas import HistoryEvent
from serving.api.schemas import RecommendRequest
from serving.history.stored import NOTHING, UserEvents, to_instant, to_microseconds
from serving.live.reads import LiveReads
from serving.live.store import LiveUser
from serving.privacy.consents import ConsentWatch, UserConsent
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState

_EVENT_TYPE_NAMES: Final = {code: name for name, code in c.EVENT_TYPE_CODES.items()}
_SHOWN_EVENTS: Final = 50


class KnownEvents:
    """Reads users' events in the release's codes; an erased user has none.

    Args:
        state: stored histories and codes.
        live: reads events sent to this service.
        erased: the erasure list.
        consents: what may serve what.
    """

    def __init__(self, state: ReleaseState, live: LiveReads, erased: ErasureWatch, consents: ConsentWatch) -> None:
        self._state = state
        self._live = live
        self._erased = erased
        self._consents = consents
        self._encoded_users: WeakKeyDictionary[LiveUser, UserEvents] = WeakKeyDictionary()

    def reads(self, event_type: str) -> bool:
        """Whether the release's tower was trained on an event type."""
        return bool(self._state.knows_event_type[c.EVENT_TYPE_CODES[event_type]])

    def stored(self, user_id: str | None, consent: UserConsent | None = None) -> UserEvents:
        """Return a user's events in the release that may serve personalisation; unknown items are UNKNOWN.

        Args:
            user_id: whose.
            consent: of a user who is known not to be erased; looked up where left out.
        """
        histories = self._state.histories
        if user_id is None or histories is None or self._is_erased(user_id, consent):
            return NOTHING
        events = histories.of_user(user_id)
        consent = consent or self._consents.of(user_id)
        return events.where(consent.mask(c.PERSONALISATION, events.ts))

    def live(
        self,
        user_id: str | None,
        consent: UserConsent | None = None,
        *,
        purposes: Sequence[str] = (c.PERSONALISATION,),
    ) -> UserEvents:
        """Return a user's events that were sent to this service, may serve a purpose, and are of known items.

        Those of the customer's other ids are the user's: what was looked at before the login, on the same phone.

        Args:
            user_id: whose.
            consent: as in ``stored``.
            purposes: any of them.
        """
        if user_id is None or self._is_erased(user_id, consent):
            return NOTHING
        users = self._live.of(self._consents.ids_of(user_id)).values()
        sent = [self._encoded_once(user) for user in users if user.events]
        if not sent:
            return NOTHING
        events = sent[0] if len(sent) == 1 else UserEvents.in_order(sent)
        consent = consent or self._consents.of(user_id)
        masks = [consent.mask(purpose, events.ts) for purpose in purposes]
        return events.where(masks[0] if len(masks) == 1 else np.logical_or.reduce(masks))

    def inline(self, request: RecommendRequest) -> tuple[UserEvents, list[str]]:
        """Return the request's events and its unknown items; events without an instant are now.

        Raises:
            RequestError: nobody is named, and the release knows none of the items.
        """
        if not request.events:
            return NOTHING, []
        known = self._state.item_codes
        now = to_microseconds(dt.datetime.now(dt.UTC))
        codes = [known.get(event.item_id, UNKNOWN) for event in request.events]
        kinds = [c.EVENT_TYPE_CODES[event.event_type] for event in request.events]
        instants = [now if event.ts is None else to_microseconds(event.ts) for event in request.events]
        encoded = self._of_known_items(codes, kinds, instants)
        if len(encoded) == len(codes):
            return encoded, []
        unknown = sorted({event.item_id for event in request.events if event.item_id not in known})
        if not len(encoded) and request.user_id is None:
            raise RequestError(
                422,
                "unknown_item",
                f"events: expected at least one item of the release, found none, such as {unknown[0]!r}; "
                "check the ids, or leave the events out for the shop's favourites.",
            )
        return encoded, unknown

    def stored_history(self, user_id: str) -> list[HistoryEvent]:
        """Return all events of a user in the release, newest first, whatever may be done with them."""
        histories = self._state.histories
        if histories is None or user_id in self._erased:
            return []
        return self._shown(histories.of_user(user_id), set())

    def history(self, user_id: str) -> list[HistoryEvent]:
        """Return a user's newest events, newest first."""
        stored, live = self.stored(user_id), self.live(user_id, purposes=c.PURPOSES)
        both = UserEvents.merged(stored, live)
        was_live = set(zip(live.ts.tolist(), live.item.tolist(), strict=True))
        was_live -= set(zip(stored.ts.tolist(), stored.item.tolist(), strict=True))
        return self._shown(both, was_live)[:_SHOWN_EVENTS]

    def _is_erased(self, user_id: str, consent: UserConsent | None) -> bool:
        """Whether a user is to be forgotten; one whose consent is at hand is not."""
        return consent is None and user_id in self._erased

    def _shown(self, events: UserEvents, live: Container[tuple[int, int]]) -> list[HistoryEvent]:
        """Return events of known items as they are shown, newest first; ``live`` holds (ts, item) of those sent here."""
        return [
            HistoryEvent(
                event_type=_EVENT_TYPE_NAMES.get(int(events.event_type[row]), "unknown"),
                item_id=self._state.item_ids[events.item[row]],
                ts=to_instant(events.ts[row]),
                title=self._state.catalog.title[events.item[row]] or None,
                live=(int(events.ts[row]), int(events.item[row])) in live,
            )
            for row in np.flatnonzero(events.item > UNKNOWN)[::-1]
        ]

    def _encoded_once(self, user: LiveUser) -> UserEvents:
        """Encode what one id sent; live state gives the same object again until the id sends more."""
        found = self._encoded_users.get(user)
        if found is None:
            rows = [(kind, item, ts) for ts, kind, item in user.events if item is not None]
            self._encoded_users[user] = found = self._encoded(rows)
        return found

    def _encoded(self, rows: Sequence[tuple[str, str, int]]) -> UserEvents:
        """Encode ``(event_type, item_id, ts)``, oldest first; items that the release does not know are left out."""
        known = self._state.item_codes
        return self._of_known_items(
            [known.get(item, UNKNOWN) for _, item, _ in rows],
            [c.EVENT_TYPE_CODES[kind] for kind, _, _ in rows],
            [ts for _, _, ts in rows],
        )

    def _of_known_items(self, codes: list[int], kinds: list[int], instants: list[int]) -> UserEvents:
        """Return events in order of time, those of one instant as they came; UNKNOWN items are left out."""
        item, kind, ts = np.array(codes, np.int32), np.array(kinds, np.int8), np.array(instants, np.int64)
        if len(ts) > 1 and (ts[1:] < ts[:-1]).any():
            order = np.argsort(ts, kind="stable")
            item, kind, ts = item[order], kind[order], ts[order]
        bands = self._state.catalog.price_band[item].astype(np.int8, copy=False)
        return UserEvents(item=item, event_type=kind, ts=ts, price_band=bands).where(item != UNKNOWN)
