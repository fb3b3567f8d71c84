"""A running server goes from release to release, whatever is promoted, damaged, asked for or killed meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.soak import soak
from benchmarks.soak_world import World, parts_of, workers_of
from features.files import write_json
from features.release import PartKind, Release, ReleaseStore
from features.repeats.blend import ForYouBlend
from tests.serving.server_process import Server, error_of
from tests.serving.tiny_release import build

pytestmark = pytest.mark.xdist_group("server")
ADMIN = "/v1/admin/release"


class Shop:
    """A store whose parts are joined anew, and the server that follows it."""

    def __init__(self, store: ReleaseStore, server: Server) -> None:
        self.store, self.server = store, server
        self.parts = parts_of(store)

    def release(self, **numbers: int) -> Release:
        """Join parts, each by its number; none where it is -1."""
        chosen: dict[PartKind, Any] = {kind: of[numbers.get(kind, 0)] for kind, of in self.parts.items()}
        return self.store.create({kind: part for kind, part in chosen.items() if numbers.get(kind) != -1})

    def promote(self, **numbers: int) -> str:
        release = self.release(**numbers)
        self.store.set_current(release.release_id)
        return release.release_id

    def status(self) -> dict[str, Any]:
        return httpx.get(f"{self.server.url}{ADMIN}").json()

    def ask(self, **request: object) -> httpx.Response:
        return httpx.post(f"{self.server.url}{ADMIN}", json=request, timeout=30)

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while not holds(status := self.status()):
            assert time.monotonic() < deadline, status
            time.sleep(0.05)
        return status

    def until_served(self, release_id: str) -> dict[str, Any]:
        return self.until(lambda status: status["release_id"] == release_id)

    def answered_by(self) -> set[str]:
        """Which releases answer, over several connections, so that each worker is likely to be asked."""
        ask = {"user_id": "user-3"}
        return {httpx.post(f"{self.server.url}/v1/recommend", json=ask).json()["release_id"] for _ in range(6)}


@pytest.fixture(scope="module")
def shop(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("swaps") / "store"
    for seed in range(2):
        tiny = build(root, seed=seed, blend=ForYouBlend.plain())
    server = start_server(root, releases={"poll_seconds": 0.05, "replay": 5, "max_empty_share": 1.0}).wait_until_ready()
    yield Shop(tiny.store, server)
    assert server.stop() == 0


def test_soak_when_releases_change_and_a_worker_dies_then_no_customer_sees_it(shop: Shop) -> None:
    shop.until(lambda status: sum(worker["state"] == "serving" for worker in status["workers"]) == 2)
    world = World(
        port=shop.server.settings.port,
        pid=shop.server.process.pid,
        store=shop.store,
        parts=shop.parts,
        num_users=30,
        num_items=200,
        rate=60,
        num_clients=8,
    )
    seen = asyncio.run(soak(world, seconds=6, swaps=3, kills=1))
    assert not seen.problems(slope=1e6), (seen.statuses, seen.broken)
    assert (len(seen.acknowledged) > 0, len(seen.rollback_s)) == (True, 1)
    assert (len(seen.swaps), seen.kills) == (3, 1)
    assert len(world.order) == 4


def test_rollback_when_asked_then_it_holds_until_something_newer_is_promoted(shop: Shop) -> None:
    older, newer = shop.promote(), None
    shop.until_served(older)
    newer = shop.promote(retrieval=1)
    shop.until_served(newer)
    answer = shop.ask(action="rollback")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["release_id"], told["followed"], told["held"], told["done"]) == (older, newer, True, True)
    assert shop.answered_by() == {older}
    # Asked twice, as an impatient finger does, it does not go forward again; nor does a promotion of the same release.
    assert error_of(shop.ask(action="rollback"))[:2] == (409, "release_held")
    shop.store.set_current(newer)
    time.sleep(0.3)
    assert shop.answered_by() == {older}
    newest = shop.promote(retrieval=1, customers=1)
    assert shop.until_served(newest)["held"] is False
    assert shop.answered_by() == {newest}


def test_serve_when_named_then_all_workers_follow_and_follow_goes_back_to_what_is_promoted(shop: Shop) -> None:
    promoted = shop.promote()
    shop.until_served(promoted)
    other = shop.release(retrieval=1).release_id
    assert shop.ask(release_id=other).json()["release_id"] == other
    assert shop.answered_by() == {other}
    assert shop.ask(action="follow").json()["release_id"] == promoted
    assert error_of(shop.ask(release_id="nowhere"))[:2] == (404, "unknown_release")
    assert error_of(shop.ask())[:2] == (422, "release_id_missing")


@pytest.mark.parametrize("how", ["flipped bit", "missing file", "no retrieval part"])
def test_promote_when_the_release_is_no_good_then_the_old_one_serves_on(shop: Shop, how: str) -> None:
    good = shop.promote()
    shop.until_served(good)
    bad, file, content = shop.release(demand=1, retrieval=-1 if how == "no retrieval part" else 1), None, b""
    if how != "no retrieval part":
        file = shop.parts["retrieval"][1].path("index.faiss")
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1])) if how == "flipped bit" else file.unlink()
    try:
        write_json(Path(shop.store.root) / "current.json", {"release_id": bad.release_id})
        status = shop.until(lambda status: any(one["release_id"] == bad.release_id for one in status["refusals"]))
        said = {"flipped bit": "damaged; expected sha256", "missing file": "missing file"}.get(how, "a retrieval part")
        assert said in status["refusals"][-1]["reason"]
        assert status["release_id"] == good
        assert shop.answered_by() == {good}
        assert error_of(shop.ask(release_id=bad.release_id))[:2] == (409, "release_refused")
        assert shop.status()["held"] is False
    finally:
        if file is not None:
            file.write_bytes(content)
    metrics = httpx.get(f"{shop.server.url}/metrics").text
    assert f'footfall_release_served{{release_id="{good}"}} 1.0' in metrics
    assert f'release_id="{good}"}} 1.0' in metrics.partition("footfall_model_info{")[2].partition("\n")[0]
    assert "footfall_release_refusals_total " in metrics


def test_promote_when_twice_in_a_row_or_during_a_swap_then_the_last_is_served(shop: Shop) -> None:
    shop.promote(retrieval=1)
    shop.promote(customers=1)
    last = shop.promote(demand=1)
    shop.until_served(last)
    assert shop.answered_by() == {last}


@pytest.mark.parametrize("file", ["current.json", "hold.json"])
def test_follow_when_a_file_of_the_store_is_damaged_then_what_serves_goes_on(shop: Shop, file: str) -> None:
    served = shop.promote(retrieval=1)
    shop.until_served(served)
    path = Path(shop.store.root) / file
    path.write_text('{"release')
    assert str(path) in shop.until(lambda status: bool(status["trouble"]))["trouble"]
    assert shop.answered_by() == {served}
    path.unlink()
    newer = shop.promote()
    assert shop.until_served(newer)["trouble"] == ""


def test_parts_when_rewritten_to_forget_somebody_then_no_worker_keeps_the_old_files(shop: Shop) -> None:
    release = shop.release(customers=0)
    shop.store.set_current(release.release_id)
    shop.until_served(release.release_id)
    old, new = shop.parts["customers"]
    swaps = shop.status()["swaps"]
    try:
        shop.store.replace_part(old, by=new)
        status = shop.until(lambda status: status["swaps"] > swaps and status["candidate"] is None)
        assert status["release_id"] == release.release_id
        assert status["back_to"] != release.release_id
        deadline = time.monotonic() + 10
        while any(str(old.directory) in maps for maps in _maps(shop.server)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert any(str(new.directory) in maps for maps in _maps(shop.server))
    finally:
        shop.parts = parts_of(shop.store)


def test_stop_when_a_request_is_under_way_then_it_is_answered_and_nobody_new_is_let_in(shop: Shop) -> None:
    port, body = shop.server.settings.port, b'{"user_id": "user-3"}'
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as begun:
        begun.sendall(head % len(body) + body[:5])
        time.sleep(0.3)  # it has arrived
        shop.server.process.terminate()
        deadline = time.monotonic() + 10
        while _lets_in(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        begun.sendall(body[5:])
        assert begun.recv(15) == b"HTTP/1.1 200 OK"
    assert shop.server.process.wait(timeout=20) == 0


def _lets_in(port: int) -> bool:
    """Whether somebody who comes now is answered."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False


def _maps(server: Server) -> list[str]:
    """Which files each worker has mapped."""
    return [Path(f"/proc/{worker.pid}/maps").read_text() for worker in workers_of(server.process.pid)]
