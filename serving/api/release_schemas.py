"""Which release is served, and how it is changed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from serving.api.schemas import Answer, Id, Request


class ReleaseRequest(Request, frozen=True, kw_only=True):
    """Serve another release, in all workers at one instant."""

    action: Annotated[
        Literal["serve", "rollback", "follow"],
        Meta(
            description="serve: release_id, whatever is promoted, until something newer is; rollback: what was served "
            "before; follow: what is promoted, again"
        ),
    ] = "serve"
    release_id: Annotated[Id | None, Meta(description="required by serve")] = None
    wait_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="how long to wait for it; capped by the service's deadline")
    ] = 30.0


class RefusedRelease(Answer, frozen=True, kw_only=True):
    """A release that was not served."""

    release_id: str
    reason: str
    at: str


class WorkerReleases(Answer, frozen=True, kw_only=True):
    """What one worker holds."""

    pid: int
    state: str
    releases: Annotated[list[str], Meta(description="in memory, ready to answer")]
    compared: Annotated[
        dict[str, float] | None,
        Meta(
            description="the last comparison of a new release with the one before, on this worker's recent requests: "
            "requests, errors, empty, overlap"
        ),
    ] = None


class ReleaseAnswer(Answer, frozen=True, kw_only=True):
    """What is served, and what is under way."""

    release_id: Annotated[str, Meta(description="answers now, in every worker")]
    since: str
    done: Annotated[bool, Meta(description="false where what was asked for is still being loaded")]
    followed: Annotated[str, Meta(description="what is promoted")]
    held: Annotated[bool, Meta(description="whether an operator's choice is served in its place")]
    back_to: Annotated[str, Meta(description="what a rollback goes to; empty where there is nothing")]
    candidate: Annotated[str | None, Meta(description="being loaded and compared")]
    also: Annotated[list[str], Meta(description="held by every worker beside, for experiments and comparisons")]
    swaps: Annotated[int, Meta(description="since the start")]
    trouble: Annotated[str, Meta(description="why what is followed cannot be read; empty where it can")]
    refusals: list[RefusedRelease]
    workers: list[WorkerReleases]
    releases: Annotated[list[str], Meta(description="that the store holds, newest first, at most 20")]
