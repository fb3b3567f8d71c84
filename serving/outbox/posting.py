"""One attempt: a POST that is over in time, whatever the receiver does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import httpx

_READ_BYTES: Final = 65_536


class Posted(NamedTuple):
    """What a receiver answered; never its words."""

    status: int
    headers: Mapping[str, str]


class Poster:
    """Posts over one connection, of one thread; follows no redirect, and reads no proxy or password from its surroundings.

    Args:
        timeout_seconds: of a whole attempt: looking up the name, connecting, sending, and the answer's headers.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Post once.

        Raises:
            httpx.HTTPError: there was no answer.
            TimeoutError: there was none in time.
        """
        self._loop = self._loop or asyncio.new_event_loop()
        return self._loop.run_until_complete(self._posted(url, body, headers))

    def close(self) -> None:
        """Close the connection; the next post opens another."""
        if self._loop is not None:
            self._loop.run_until_complete(self._hang_up())
            self._loop.close()  # waits for no name that is still looked up, as a runner would
            self._loop = None

    async def _posted(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        try:
            # httpx allows each read as long again: who sends a byte a second would never be late.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(url, body, headers)
        except TimeoutError:
            await self._hang_up()
            raise

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        if self._client is None:
            limits = httpx.Limits(max_connections=1, keepalive_expiry=30.0)
            self._client = httpx.AsyncClient(
                timeout=self._timeout_seconds, limits=limits, trust_env=False, follow_redirects=False
            )
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            length = response.headers.get("content-length", "")
            if length.isdecimal() and int(length) <= _READ_BYTES:
                await _drain(response)
            return Posted(response.status_code, response.headers)


async def _drain(response: httpx.Response) -> None:
    """Read a short answer, as it came, so that the connection can be used again."""
    async for _ in response.aiter_raw():
        pass
