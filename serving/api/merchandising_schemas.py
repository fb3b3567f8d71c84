"""Requests and answers of live stock, and of rules and experiments."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from serving.api.schemas import Answer, Id, Instant, Label, Request


class ItemStock(Request, frozen=True, kw_only=True):
    """How many of an item there are now."""

    item_id: Id
    stock: Annotated[int, Meta(ge=0, description="0: not shown from the next answer on")]
    region: Annotated[Label | None, Meta(description="there alone; everywhere where left out")] = None
    at: Annotated[Instant | None, Meta(description="time of receipt where left out; an older one changes nothing")] = (
        None
    )


class StockRequest(Request, frozen=True, kw_only=True):
    """Stock of some items."""

    items: Annotated[tuple[ItemStock, ...], Meta(min_length=1, max_length=10_000)]


class StockAnswer(Answer, frozen=True, kw_only=True):
    """Stock was told; it is on disk, and the next answer of every worker follows it."""

    changed: Annotated[int, Meta(description="rows that told something newer than what was known")]
    unknown_items: Annotated[
        list[str], Meta(description="items that the release does not know; kept for one that does")
    ]


class RuleSummary(Answer, frozen=True, kw_only=True):
    """One merchandising rule."""

    name: str
    title: str
    effect: str
    in_force: Annotated[bool, Meta(description="now, for some customer on some surface")]


class ExperimentSummary(Answer, frozen=True, kw_only=True):
    """One experiment."""

    name: str
    layer: str
    share: float
    running: bool
    variants: Annotated[dict[str, float], Meta(description="share of those who take part, by variant")]
    missing_releases: Annotated[
        list[str], Meta(description="that not every worker holds yet; until then its customers get what others get")
    ]


class WishTrouble(Answer, frozen=True, kw_only=True):
    """A version of the files that is not served."""

    version: str
    reason: str
    at: str


class RulesAnswer(Answer, frozen=True, kw_only=True):
    """The rules and experiments that hold, and what is wrong with the files."""

    version: Annotated[str, Meta(description="of all files together; blank where there are none")]
    since: str
    rules: list[RuleSummary]
    experiments: list[ExperimentSummary]
    holdout: float
    problems: Annotated[list[str], Meta(description="what rules name and the release does not know")]
    refused: Annotated[list[WishTrouble], Meta(description="newest last; what held before goes on")]
    trouble: Annotated[str, Meta(description="why the files cannot be read now; blank where they can")]
