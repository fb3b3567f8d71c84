"""What a customer may ask of the service: consent, a copy of all that is stored, and to be forgotten."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from features.columns import PURPOSES
from features.live_log.archive import LiveLog
from features.privacy.access_log import ACCESS_FILE, AccessLog
from features.privacy.activity import connect
from features.privacy.consents import ALWAYS, NEVER
from features.privacy.person import Person
from serving.api.errors import RequestError
from serving.api.rights_schemas import (
    ConsentAnswer,
    ConsentRequest,
    ErasureAnswer,
    ExportAnswer,
    ExportRequest,
    HistoryEvent,
    LiveConsent,
    LiveEventRow,
    PurposeConsent,
)
from serving.customers.book import CustomerBook
from serving.experiments.exposures import ExposureWriter
from serving.history.stored import to_instant, to_microseconds
from serving.live.kept import kept_events
from serving.live.store import ConsentChange, LiveStore
from serving.outbox.held import HeldMessages
from serving.privacy.consents import ConsentWatch, UserConsent
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from serving.surfaces.clock import MOST_AHEAD_US

_EVERY_ROW: Final = 1 << 31


class CustomerRights:
    """Consent, access and erasure over what the service holds.

    Args:
        state: the release.
        live: where what is sent to this service is kept.
        erased: the erasure list.
        consents: what may serve what.
        data: the shop's data directory, whose rows an export holds too.
        exposures: what was shown in experiments.
        outbox: webhooks, sent today or not.
    """

    def __init__(
        self,
        state: ReleaseState,
        live: LiveStore,
        erased: ErasureWatch,
        consents: ConsentWatch,
        *,
        data: Path | None = None,
        exposures: ExposureWriter | None = None,
        outbox: HeldMessages | None = None,
    ) -> None:
        self._state = state
        self._live = live
        self._erased = erased
        self._consents = consents
        self._data = data
        self._exposures, self._outbox = exposures, outbox
        self._record = AccessLog(path=erased.path.parent / ACCESS_FILE)

    def consent(self, request: ConsentRequest) -> ConsentAnswer:
        """Keep a change of consent; the next answer of every worker follows it.

        Raises:
            RequestError: the customer was erased, or the instant is none that has passed.
        """
        if request.user_id in self._erased:
            raise RequestError(
                422, "customer_erased", "user_id: this customer was erased; nothing is kept under this id."
            )
        now_us = self._consents.of(request.user_id).now_us
        at_us = now_us if request.at is None else to_microseconds(request.at)
        if not 0 < at_us <= now_us + MOST_AHEAD_US:
            raise RequestError(422, "invalid_request", f"at: expected an instant that has passed, found {request.at}.")
        change = ConsentChange(request.user_id, str(request.purpose), request.granted, at_us)
        after = self._consents.add(change)
        ids = self._consents.ids_of(request.user_id)
        deleted = 0 if request.granted else sum(self._live.keep_only(id_, after.may_serve) for id_ in ids)
        return ConsentAnswer(consents=_stand(after), live_events_deleted=deleted)

    def erase(self, user_id: str) -> ErasureAnswer:
        """Forget a customer under all linked ids, from now on and whatever release is loaded."""
        ids = self._consents.ids_of(user_id)
        for id_ in ids:
            self._erased.add(id_)
        deleted = sum(self._live.delete_user(id_) for id_ in ids)
        return ErasureAnswer(erased=True, live_events_deleted=deleted, ids=len(ids))

    def erase_elsewhere(self, user_id: str) -> None:
        """Remove what was shown and what waits to be sent of an erased customer; this may read files for seconds."""
        ids = self._consents.ids_of(user_id)
        if self._outbox is not None:
            self._outbox.erase(ids)
        if self._exposures is not None:
            self._exposures.erase(ids)

    def export(self, user_id: str, history: Sequence[HistoryEvent], request: ExportRequest) -> ExportAnswer:
        """Return all that is stored about a customer, once it is recorded who asked.

        Raises:
            RequestError: nothing is stored.
        """
        ids = [] if user_id in self._erased else self._consents.ids_of(user_id)
        book = self._state.customers
        rows = kept_events(self._live, LiveLog.of_store(self._erased.path.parent), ids)
        changes = self._consents.changes(ids)
        consent = self._consents.of(user_id)
        activity = self._activity(user_id, ids)
        shown = [] if self._exposures is None or not ids else self._exposures.of(ids)
        webhooks = [] if self._outbox is None else self._outbox.of(ids)
        profile = next((found for id_ in ids if (found := _profile(book, id_)) is not None), None)
        if not ids or not (profile or history or rows or activity or shown or webhooks or consent.is_named):
            raise RequestError(404, "unknown_user", "Nothing is stored under this id; check it.")
        self._record.record("customer exported over HTTP", ids=ids, who=request.who or "", why=request.why or "")
        return ExportAnswer(
            user_id=user_id,
            ids=list(ids),
            profile=profile,
            history=list(history),
            live_events=[
                LiveEventRow(
                    user_id=one.user_id,
                    event_type=one.event_type,
                    item_id=one.item_id,
                    ts=to_instant(one.ts_us),
                    more=msgspec.json.decode(one.more) if one.more else {},
                )
                for one in rows
            ],
            consents=_stand(consent),
            live_consents=[
                LiveConsent(user_id=c.user_id, purpose=c.purpose, granted=c.granted, at=to_instant(c.at_us))
                for c in changes
            ],
            activity=activity,
            exposures=shown,
            webhooks=webhooks,
            as_of=None if book is None else book.as_of,
            release_id=self._state.release_id,
            exported_at=dt.datetime.now(dt.UTC),
        )

    def _activity(self, user_id: str, ids: Sequence[str]) -> list[dict[str, Any]] | None:
        if self._data is None or not ids:
            return None
        with connect(self._data, person=Person(user_id=user_id, ids=tuple(ids))) as activity:
            return activity.rows(_EVERY_ROW)


def _profile(book: CustomerBook | None, user_id: str) -> dict[str, Any] | None:
    return None if book is None else book.profile(user_id)


def _stand(consent: UserConsent) -> dict[str, PurposeConsent]:
    return {
        purpose: PurposeConsent(holds=consent.allows(purpose), since=_since(consent.by_purpose[purpose].from_us))
        for purpose in PURPOSES
    }


def _since(from_us: int) -> dt.datetime | None:
    return None if from_us in (ALWAYS, NEVER) else to_instant(from_us)
