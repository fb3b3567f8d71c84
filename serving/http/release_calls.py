"""The calls about releases: what is served, and another in its place."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from functools import partial
from typing import Final

from serving.api.errors import RequestError
from serving.api.release_schemas import ReleaseAnswer, ReleaseRequest
from serving.engines import Engines
from serving.release.desk import ReleaseDesk

_POLL_SECONDS: Final = 0.05


async def served_release(engines: Engines, executor: Executor) -> ReleaseAnswer:
    """Return what is served; of one engine for good there is nothing to tell.

    Raises:
        RequestError: this process follows no releases.
    """
    return await asyncio.get_running_loop().run_in_executor(executor, _desk(engines).answer)


async def change_release(
    engines: Engines, request: ReleaseRequest, executor: Executor, *, most_seconds: float
) -> ReleaseAnswer:
    """Ask for another release and wait until every worker serves it, or until ``most_seconds`` have passed.

    Raises:
        RequestError: there is no such release, or it was refused; the message says why.
    """
    desk, loop = _desk(engines), asyncio.get_running_loop()
    deadline = time.monotonic() + min(request.wait_seconds, most_seconds)
    number = await loop.run_in_executor(executor, desk.ask, request)
    while not (done := await loop.run_in_executor(executor, desk.is_done, number)) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    return await loop.run_in_executor(executor, partial(desk.answer, done=done))


def _desk(engines: Engines) -> ReleaseDesk:
    if engines.desk is None:
        raise RequestError(409, "releases_fixed", "This process serves one release for good.")
    return engines.desk
