"""Requests and answers about customers: one as they are now, labels of many, audiences."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from msgspec import Meta

from serving.api.rights_schemas import HistoryEvent
from serving.api.schemas import Answer, Id, Request


class CustomerTag(Answer, frozen=True, kw_only=True):
    """A tag that a customer carries."""

    tag: str
    title: str
    since: Annotated[dt.datetime | None, Meta(description="from when on its rule has held without a break")]
    until: Annotated[dt.datetime | None, Meta(description="when it lapses without further events; null: not known")]
    evidence: Annotated[list[Any], Meta(description="a condition each: what was asked and what was found")]
    version: str
    source: Annotated[str, Meta(description="rule, or the column of the users table that it came from")]


class CustomerTrigger(Answer, frozen=True, kw_only=True):
    """A reason to write to a customer now."""

    trigger: str
    title: str
    item_id: str | None
    reason: Annotated[str, Meta(description="a sentence for people")]
    why: Annotated[str, Meta(description="the rule, and how many events it was read from")]
    priority: int
    due_at: dt.datetime | None
    until: Annotated[dt.datetime | None, Meta(description="until when it stays open without further events")]
    best_hour: Annotated[int, Meta(description="local hour of the shop")]
    send_at: Annotated[dt.datetime | None, Meta(description="the next best hour outside quiet ones")]
    held_back: Annotated[str, Meta(description="what holds a message back, such as a cap; blank where it may go")]
    version: str


class CartItem(Answer, frozen=True, kw_only=True):
    """An item that was put into the cart, and neither bought nor taken out since."""

    item_id: str
    title: str | None
    since: dt.datetime | None
    live: Annotated[bool, Meta(description="sent to this service since the release was made")]


class IntentReason(Answer, frozen=True, kw_only=True):
    """What sets this visit apart from the mean one."""

    reason: str
    odds_factor: Annotated[float, Meta(description="how many times the odds are what they would be without it")]


class PurchaseIntentNow(Answer, frozen=True, kw_only=True):
    """How likely the visit that is under way still ends in a purchase."""

    probability: Annotated[
        float | None, Meta(description="calibrated on past visits; null where none can be given, and `note` says why")
    ]
    as_of: Annotated[dt.datetime | None, Meta(description="the instant of looking: it falls while nothing happens")]
    session_started_at: dt.datetime | None = None
    last_event_at: dt.datetime | None = None
    because: Annotated[tuple[IntentReason, ...], Meta(description="the most telling first")] = ()
    note: str


class CustomerAnswer(Answer, frozen=True, kw_only=True):
    """What is known of one customer."""

    user_id: str
    profile: Annotated[dict[str, Any] | None, Meta(description="the customer table's row; null for someone new")]
    segments: Annotated[dict[str, Any], Meta(description="the profile's labels")]
    tags: list[CustomerTag]
    open_triggers: Annotated[
        list[CustomerTrigger],
        Meta(description="reasons to write now, by all events so far; none without consent to personalisation"),
    ]
    cart: list[CartItem]
    purchase_intent: Annotated[
        PurchaseIntentNow, Meta(description="of the visit under way, by all events so far; none without consent")
    ]
    best_hour: Annotated[int | None, Meta(description="local hour at which this customer is around most")] = None
    personalised: Annotated[bool, Meta(description="whether the customer consents to personalisation")] = True
    history: Annotated[list[HistoryEvent], Meta(description="newest first")]
    as_of: Annotated[
        str | None, Meta(description="of profile, segments and tags; triggers, cart and history are of now")
    ]
    age_seconds: Annotated[int | None, Meta(description="how long ago the end of that day was")] = None
    currency: Annotated[str | None, Meta(description="ISO 4217 code of the profile's money")]
    minor_units: Annotated[int, Meta(description="minor units, in which money counts, in one unit of the currency")]
    release_id: str


class SegmentsRequest(Request, frozen=True, kw_only=True):
    """Users to look up."""

    user_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=10_000)]


class SegmentsAnswer(Answer, frozen=True, kw_only=True):
    """Segments and tags by user, ``tags`` among them; ``unknown`` lists users without a row."""

    segments: dict[str, dict[str, Any]]
    unknown: list[str]
    without_consent: Annotated[list[str], Meta(description="users who have not consented to analytics")]
    as_of: str | None
    release_id: str


class AudienceSummary(Answer, frozen=True, kw_only=True):
    """An audience: a saved rule, evaluated when the customers part was made."""

    name: str
    title: str
    description: str
    rule: Annotated[str, Meta(description="in words; blank where it asks for parameters first")]
    version: str
    size: Annotated[int | None, Meta(description="members as of `as_of`; null where too few to be shown")]
    note: str
    parameters: list[str]


class AudiencesAnswer(Answer, frozen=True, kw_only=True):
    """The shop's audiences."""

    audiences: list[AudienceSummary]
    as_of: str | None
    age_seconds: int
    release_id: str


class MembersRequest(Request, frozen=True, kw_only=True):
    """Which page of an audience."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    after: Annotated[Id | None, Meta(description="the last id of the page before; the first page where left out")] = (
        None
    )


class MembersAnswer(Answer, frozen=True, kw_only=True):
    """A page of members, by id; those erased, or without consent to personalisation by now, are left out."""

    audience: AudienceSummary
    user_ids: list[str]
    next_after: Annotated[str | None, Meta(description="`after` of the next page; null behind the last")]
    as_of: str | None
    age_seconds: int
    release_id: str


class PreviewRequest(Request, frozen=True, kw_only=True):
    """A rule over columns of the customer table, as audience files have it; money in major units."""

    rule: Annotated[
        dict[str, Any],
        Meta(
            description='such as {"all": [{"column": "lifecycle", "is": "active"}, {"column": "tags", "contains": '
            '"cart_left"}]}; `tags` are the customer\'s tags'
        ),
    ]


class PreviewAnswer(Answer, frozen=True, kw_only=True):
    """How many customers a rule means, of those who may be written to."""

    rule: Annotated[str, Meta(description="in words, money in minor units")]
    size: Annotated[int | None, Meta(description="null where so few are in it, or outside it, that it says who")]
    of: int
    share: float | None
    note: str
    as_of: str | None
    age_seconds: int
    release_id: str
