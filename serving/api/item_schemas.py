"""Requests and answers about items: what the release knows of them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from msgspec import Meta

from serving.api.schemas import Answer, Id, Request


class ItemSearch(Request, frozen=True, kw_only=True):
    """Items whose id or title holds some words."""

    search: Annotated[str, Meta(max_length=256, description="in any case; every item where blank")] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class ItemsRequest(Request, frozen=True, kw_only=True):
    """Items to look up."""

    item_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=1000)]


class Item(Answer, frozen=True, kw_only=True):
    """One item of the catalogue; what is not known is null."""

    item_id: str
    title: str | None
    category: Annotated[str | None, Meta(description="a path, such as `a/b/c`")]
    brand: str | None
    labels: Annotated[list[str], Meta(description="whatever else describes it")]
    price: Annotated[int | None, Meta(description="minor units")]
    available: Annotated[bool, Meta(description="whether it may be shown")]
    created_at: dt.datetime | None
    stock: Annotated[float | None, Meta(description="units on the shelf when the customers part was made")]
    cycle_days: Annotated[float | None, Meta(description="median days between two purchases by one customer")]


class ItemsAnswer(Answer, frozen=True, kw_only=True):
    """Items in the order asked for, or the best match first; ``unknown`` lists ids that the release does not know."""

    items: list[Item]
    unknown: list[str]
    currency: Annotated[str | None, Meta(description="ISO 4217 code of prices")]
    minor_units: Annotated[int, Meta(description="minor units in one unit of the currency")]
    release_id: str
