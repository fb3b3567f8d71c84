"""What a customer may ask for: consent, a copy of all that is stored, and to be forgotten."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serving.api.schemas import Answer, Id, Instant, Label, Purpose, Request


class ConsentRequest(Request, frozen=True, kw_only=True):
    """A customer's yes or no to a purpose; what is known from the release is joined with it by the instants."""

    user_id: Id
    purpose: Purpose
    granted: bool
    at: Annotated[Instant | None, Meta(description="time of receipt where left out")] = None


class PurposeConsent(Answer, frozen=True, kw_only=True):
    """How a customer's consent to one purpose stands."""

    holds: Annotated[bool, Meta(description="now")]
    since: Annotated[
        dt.datetime | None, Meta(description="from which on events count; null where none do, or all ever did")
    ]


class ConsentAnswer(Answer, frozen=True, kw_only=True):
    """What holds with the change; it is on disk, and the next answer follows it."""

    consents: dict[str, PurposeConsent]
    live_events_deleted: Annotated[int, Meta(description="events sent here that no purpose may use any more")]


class HistoryEvent(Answer, frozen=True, kw_only=True):
    """One event of a customer's history."""

    event_type: str
    item_id: str
    ts: dt.datetime | None
    title: str | None = None
    live: Annotated[bool, Meta(description="sent to this service since the release was made")] = False


class ExportRequest(Request, frozen=True, kw_only=True):
    """Who asks for an export, and why; both are recorded."""

    who: Label | None = None
    why: Label | None = None


class LiveConsent(Answer, frozen=True, kw_only=True):
    """One change of consent that was sent to this service."""

    user_id: str
    purpose: str
    granted: bool
    at: dt.datetime | None


class LiveEventRow(Answer, frozen=True, kw_only=True):
    """One event that was sent to this service, as it is kept: as live state, or for the next feature build."""

    user_id: str
    event_type: str
    item_id: str | None
    ts: dt.datetime | None
    more: Annotated[dict[str, Any], Meta(description="what else was sent with it")] = msgspec.field(
        default_factory=dict
    )


class ExportAnswer(Answer, frozen=True, kw_only=True):
    """All that is stored about one customer, whatever they consented to."""

    user_id: str
    ids: Annotated[list[str], Meta(description="all ids that were linked to the customer")]
    profile: dict[str, Any] | None
    history: Annotated[list[HistoryEvent], Meta(description="stored in the release, newest first")]
    live_events: list[LiveEventRow]
    consents: dict[str, PurposeConsent]
    live_consents: list[LiveConsent]
    activity: Annotated[
        list[dict[str, Any]] | None,
        Meta(description="rows of the shop's tables; null where no data directory is served"),
    ]
    as_of: str | None
    release_id: str
    exported_at: dt.datetime
    exposures: Annotated[
        list[dict[str, Any]], Meta(description="what was shown in experiments: rows of the contract's table")
    ] = msgspec.field(default_factory=list)
    webhooks: Annotated[
        list[dict[str, Any]],
        Meta(
            description="messages that wait or were given up, with their content, and when triggers are looked at next"
        ),
    ] = msgspec.field(default_factory=list)


class ErasureAnswer(Answer, frozen=True, kw_only=True):
    """A customer was forgotten."""

    erased: bool
    live_events_deleted: int
    ids: Annotated[int, Meta(description="how many ids were linked to the customer, and are forgotten with it")] = 1
