"""Requests and answers: one definition validates them, documents them and writes them as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from features.columns import EVENT_TYPES, PURPOSES

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Label = Annotated[str, Meta(min_length=1, max_length=1024)]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
Days = Annotated[int, Meta(ge=1, le=366)]
Share = Annotated[float, Meta(ge=0, le=1)]
Instant = Annotated[dt.datetime, Meta(tz=True, description="ISO 8601 with an offset, such as 2026-11-22T10:15:00Z")]
EventType = Literal[EVENT_TYPES]  # type: ignore[valid-type]
Purpose = Literal[PURPOSES]  # type: ignore[valid-type]
Surface = Literal["for_you", "similar", "upgrade", "bought_together", "buy_it_again", "new_arrivals", "trending"]
Repeat = Literal["allow", "discount", "exclude"]
Strategy = Literal[
    "history",
    "session",
    "segment",
    "stage",
    "favourites",
    "similar",
    "upgrade",
    "bought_together",
    "complements",
    "buy_it_again",
    "new_arrivals",
    "trending",
    "pinned",
]


class Request(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The base of every request body: a field that is not known is refused."""


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """The base of every answer."""


class InlineEvent(Request, frozen=True, kw_only=True):
    """An event of the session at hand, used for this answer and not stored."""

    event_type: EventType
    item_id: Id
    ts: Annotated[Instant | None, Meta(description="now where left out")] = None


class Filters(Request, frozen=True, kw_only=True):
    """Which items may be answered; all that are given must hold."""

    category: Annotated[Label | None, Meta(description="a path; `a/b` holds all of `a/b/c`")] = None
    brand: Label | None = None
    min_price: Annotated[int, Meta(ge=0)] | None = None
    max_price: Annotated[int | None, Meta(description="in minor units; items without a price are left out")] = None
    in_stock: Annotated[
        bool, Meta(description="only items whose stock was told and is above 0; what was told to be out is never shown")
    ] = False
    region: Annotated[
        Label | None,
        Meta(
            description="items sold there: without a label `region:...`, or with this one's, and not out of stock there"
        ),
    ] = None
    not_seen_days: Annotated[Days | None, Meta(description="not in the history of the last so many days")] = None
    not_purchased_days: Annotated[Days | None, Meta(description="not bought in the last so many days")] = None


class RecommendRequest(Request, frozen=True, kw_only=True):
    """Whom to recommend to, and where: a user, a session's events, or both, on a surface of the app."""

    user_id: Id | None = None
    events: Annotated[tuple[InlineEvent, ...], Meta(max_length=500)] = ()
    surface: Annotated[
        Surface,
        Meta(
            description="for_you: the home page; similar, upgrade (one step up in price), bought_together: beside "
            "item_id; buy_it_again: what is due; new_arrivals, trending: nearest to the user, or their category, first"
        ),
    ] = "for_you"
    item_id: Annotated[Id | None, Meta(description="required by similar, upgrade and bought_together")] = None
    k: Annotated[int, Meta(ge=1, le=1000)] = 20
    exclude_seen: Annotated[
        bool, Meta(description="leave out items that the history holds; buy_it_again does not read it")
    ] = False
    repeat: Annotated[
        Repeat | None,
        Meta(
            description="items bought before: allow (they compete), discount (and are held back until they are due), "
            "exclude; the shop's own setting where left out"
        ),
    ] = None
    filters: Filters | None = None
    diversity: Annotated[
        Share | None, Meta(description="0 to 1: how much items should differ from each other, at the cost of fit")
    ] = None
    session_id: Annotated[Id | None, Meta(description="who takes part in experiments where nobody is named")] = None
    explain: Annotated[bool, Meta(description="say why for each item: history, rules, strategy")] = False
    preview: Annotated[
        bool,
        Meta(
            description="someone looks who is not the customer: the answer is not logged as shown; so are all answers to "
            "keys without the role app"
        ),
    ] = False
    release_id: Annotated[
        Id | None,
        Meta(
            description="ask a release that is held, of GET /v1/releases; for people who look (analyst, admin): such an "
            "answer is not logged as shown to the customer"
        ),
    ] = None


class RuleTouch(Answer, frozen=True, kw_only=True):
    """A rule that had a part in where an item stands."""

    rule: Annotated[str, Meta(description="its name; `request` where the request itself asked for it")]
    effect: Literal["pin", "boost", "bury", "freshness", "diversity", "cap", "fill", "explore"]


class RecommendedItem(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One item of a ranked answer."""

    item_id: str
    score: float
    title: str | None = None
    reason: str | None = None
    strategy: Annotated[Strategy | None, Meta(description="what chose it, where that is not the answer's")] = None
    because: Annotated[
        tuple[str, ...], Meta(description="items of the history, or the page's, that speak most for it")
    ] = ()
    rules: Annotated[tuple[RuleTouch, ...], Meta(description="what moved it; none where it stands by its score")] = ()


class RecommendAnswer(Answer, frozen=True, kw_only=True):
    """Items, best first; shorter than ``k`` where fewer may be shown."""

    items: list[RecommendedItem]
    strategy: Annotated[
        Strategy,
        Meta(
            description="what chose the first item. history: stored events; session: recent events only; segment, "
            "stage: customers alike or a category's favourites; favourites: the shop's; complements: bestsellers of "
            "categories that go with the item's; the others are named after their surface"
        ),
    ]
    release_id: str
    model_version: str
    unknown_items: Annotated[list[str], Meta(description="inline events' items that the release does not know")] = []
    unread_event_types: Annotated[
        list[str], Meta(description="inline events' types that the model was not trained on and does not read")
    ] = []
    personalised: Annotated[
        bool,
        Meta(description="false where the customer has not consented to personalisation, and nothing of them was used"),
    ] = True
    live_state: Annotated[
        bool,
        Meta(
            description="false where events and consents sent here could not be read just now: the answer knows the "
            "release alone, and is personalised only where no consent was ever changed through this service"
        ),
    ] = True
    degraded: Annotated[
        bool | msgspec.UnsetType,
        Meta(description="true where the answer took too long, and the shop's favourites stand in for it"),
    ] = msgspec.UNSET
    filled: Annotated[
        int | msgspec.UnsetType,
        Meta(description="so many of the last items are fallbacks, since the surface had no more"),
    ] = msgspec.UNSET
    experiments: Annotated[
        dict[str, str] | msgspec.UnsetType,
        Meta(description="the variant of each experiment that this answer is part of"),
    ] = msgspec.UNSET
    rules_version: Annotated[
        str | msgspec.UnsetType, Meta(description="of the merchandising rules that were in force, with explain")
    ] = msgspec.UNSET


class NewEvent(Request, frozen=True, kw_only=True):
    """An event to keep; sent again under the same ``event_id`` it counts once.

    What stands below ``event_id`` is kept for the next feature build, under the names of the data contract.
    """

    user_id: Id
    event_type: EventType
    item_id: Id | None = None
    ts: Annotated[Instant | None, Meta(description="time of receipt where left out")] = None
    event_id: Annotated[
        Id | None,
        Meta(description="made from user, type, item and ts where left out; without ts too, each sending counts"),
    ] = None
    session_id: Id | None = None
    quantity: Annotated[Count | None, Meta(description="units; 1 or more of a purchase or refund")] = None
    price: Annotated[Count | None, Meta(description="of one unit, in minor units of the shop's currency")] = None
    order_id: Id | None = None
    channel: Annotated[Label | None, Meta(description="such as app, web, store")] = None
    device_id: Id | None = None
    region: Label | None = None
    dwell_ms: Annotated[Count | None, Meta(description="how long it was looked at")] = None
    section: Annotated[Label | None, Meta(description="of the page, such as a shelf of the home page")] = None
    query: Annotated[Label | None, Meta(description="what was searched for")] = None
    slot: Annotated[Label | None, Meta(description="where on the page the item was shown")] = None
    source: Label | None = None
    medium: Label | None = None
    campaign: Label | None = None
    term: Label | None = None
    content: Label | None = None
    campaign_id: Id | None = None
    variant: Label | None = None
    coupon_id: Id | None = None


class EventsRequest(Request, frozen=True, kw_only=True):
    """A batch of events; each row is judged by itself."""

    events: Annotated[tuple[Any, ...], Meta(min_length=1, max_length=1000, description="rows of NewEvent")]


class RejectedEvent(Answer, frozen=True, kw_only=True):
    """A row that was set aside, and why."""

    row: int
    reason: str


class EventsAnswer(Answer, frozen=True, kw_only=True):
    """What became of the batch; accepted rows are kept when this is sent."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent] = []
    without_consent: Annotated[
        int, Meta(description="rows of customers who consented to no purpose; they were not kept")
    ] = 0
    unread_event_types: Annotated[
        list[str], Meta(description="accepted types that this release's model was not trained on and does not read")
    ] = []
    unknown_items: Annotated[
        list[str],
        Meta(
            description="accepted items that this release does not know: kept for the next feature build, not read now"
        ),
    ] = []


class CustomersRequest(Request, frozen=True, kw_only=True):
    """Which ids of customers to list."""

    prefix: Annotated[
        Annotated[str, Meta(min_length=1, max_length=256)] | None,
        Meta(description="how they begin; spread over all where left out"),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 12


class CustomersAnswer(Answer, frozen=True, kw_only=True):
    """Ids of some customers."""

    user_ids: list[str]


class ReleasesAnswer(Answer, frozen=True, kw_only=True):
    """Releases that can be asked now."""

    release_id: Annotated[str, Meta(description="answers where no other is named")]
    held: Annotated[list[str], Meta(description="all that `release_id` of a recommend request may name")]


class ErrorDetail(Answer, frozen=True, kw_only=True):
    """What went wrong, in a word for programs and a sentence for people."""

    code: str
    message: str


class ErrorAnswer(Answer, frozen=True, kw_only=True):
    """The body of every answer outside 2xx."""

    error: ErrorDetail
