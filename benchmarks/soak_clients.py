"""Clients that ask a server for everything, again and again, and note what does not fit; see benchmarks/soak.py."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.soak_world import World

SURFACES: Final = ("for_you", "similar", "upgrade", "bought_together", "buy_it_again", "new_arrivals", "trending")
EXPERIMENT: Final = "soak"
OTHER: Final = "other"
_PATIENCE_SECONDS: Final = 30.0


class Client:
    """One connection that asks one thing after the other."""

    def __init__(self, world: World, number: int) -> None:
        self._world, self._number = world, number
        self._random = random.Random(number)
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._sent = 0

    async def run(self) -> None:
        """Ask until it is over."""
        pause = self._world.num_clients / self._world.rate
        await asyncio.sleep(self._random.random() * pause)
        while not self._world.is_over:
            began = time.monotonic()
            await self._one()
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
        self._hang_up()

    async def check_events(self, events: Sequence[dict[str, Any]]) -> int:
        """Send acknowledged events again; return how many the server did not know any more."""
        unknown = 0
        for at in range(0, len(events), 500):
            answer = await self._ask("POST", "/v1/events", {"events": list(events[at : at + 500])})
            unknown += len(events[at : at + 500]) - answer["duplicates"]
        self._hang_up()
        return unknown

    async def release(self) -> dict[str, Any]:
        """Return what the server says of its releases, over a connection of its own: it would be idle for too long."""
        told = await self._ask("GET", "/v1/admin/release", None)
        self._hang_up()
        return told

    async def roll_back(self) -> dict[str, Any]:
        """Have the server go back to the release before."""
        told = await self._ask("POST", "/v1/admin/release", {"action": "rollback"})
        self._hang_up()
        return told

    async def _one(self) -> None:
        draw = self._random.random()
        if draw < 0.7:
            await self._recommend()
        elif draw < 0.85:
            await self._events()
        elif draw < 0.9:
            await self._ask("GET", f"/v1/customers/{self._user()}", None, as_="GET /v1/customers/{user_id}")
        elif draw < 0.95:
            await self._ask("POST", "/v1/segments", {"user_ids": [self._user() for _ in range(50)]})
        else:
            items = [f"item-{self._random.randrange(20)}" for _ in range(20)]  # those that have a forecast
            await self._ask("POST", "/v1/demand", {"item_ids": items, "days": 7})

    async def _recommend(self) -> None:
        surface = self._random.choice(SURFACES)
        body = {"user_id": self._user(), "surface": surface, "k": 20}
        if surface in {"similar", "upgrade", "bought_together"}:
            body["item_id"] = f"item-{self._random.randrange(self._world.num_items)}"
        floor, tried, began = self._world.newest, self._world.is_tried, time.monotonic()
        answer = await self._ask("POST", "/v1/recommend", body)
        self._world.seen.latencies.append((began, time.monotonic() - began))
        if self._world.beside and surface == "trending":
            self._check_variant(body["user_id"], answer, tried=tried)
        if answer.get("release_id") in self._world.order:
            place = self._world.order[answer["release_id"]]
            self._world.seen.went_back += place < floor
            self._world.newest = max(self._world.newest, place)

    def _check_variant(self, user: str, answer: dict[str, Any], *, tried: bool) -> None:
        """Note whether a customer stays with a variant, and its release with the variant.

        Args:
            user: who asked.
            answer: what came.
            tried: whether the experiment ran when the request was sent.
        """
        variant = (answer.get("experiments") or {}).get(EXPERIMENT, "")
        before = self._world.variants.get(user) or (variant if variant or not tried else "one of the experiment")
        is_right = variant == before and (variant == OTHER) == (answer.get("release_id") == self._world.beside)
        self._world.seen.flipped += not is_right
        self._world.seen.in_experiment[variant or "none"] += 1
        if variant:
            self._world.variants[user], self._world.is_tried = variant, True

    async def _events(self) -> None:
        self._sent += 1
        events = [
            {
                "user_id": self._user(),
                "event_type": self._random.choice(["view", "cart"]),
                "item_id": f"item-{self._random.randrange(self._world.num_items)}",
                "event_id": f"soak-{self._number}-{self._sent}-{row}",
            }
            for row in range(self._random.randrange(1, 4))
        ]
        answer = await self._ask("POST", "/v1/events", {"events": events})  # sent again where nobody answered
        if answer.get("accepted", 0) + answer.get("duplicates", 0) == len(events):
            self._world.seen.acknowledged |= {event["event_id"]: event for event in events}

    def _user(self) -> str:
        """Return one of this client's own customers: each is asked for by one client, so one request after the other."""
        number = self._number + self._world.num_clients * self._random.randrange(
            max(1, self._world.num_users // self._world.num_clients)
        )
        return f"user-{number}"

    async def _ask(self, method: str, path: str, body: Any, *, as_: str = "") -> dict[str, Any]:
        """Ask until somebody answers; a connection that breaks is noted and made anew."""
        while True:
            port = 0
            try:
                reader, writer = await self._connected()
                port = writer.get_extra_info("sockname")[1]
                writer.write(_request(method, path, body))
                status, content = await asyncio.wait_for(_response(reader), _PATIENCE_SECONDS)
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._hang_up()
                if port in self._world.doomed:
                    self._world.seen.broken_by_kill += 1
                else:
                    self._world.seen.broken.append(f"{method} {path}: {error!r}")
                await asyncio.sleep(0.05)
                continue
            self._world.seen.statuses[f"{as_ or f'{method} {path}'} {status}"] += 1
            return content

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream is None:
            self._stream = await asyncio.open_connection("127.0.0.1", self._world.port)
        return self._stream

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None


def _request(method: str, path: str, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _response(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length))
