"""The real server when a process dies, a file is damaged, or its port is taken."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.serving.server_process import Server, error_of, view, workers_of
from tests.serving.tiny_release import build

pytestmark = pytest.mark.xdist_group("server")


def test_events_when_the_server_is_killed_after_the_answer_then_they_are_kept(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    older = build(tmp_path / "store", seed=1)
    newer = build(tmp_path / "store", seed=2)
    first = start_server(older.store.root).wait_until_ready()
    answer = httpx.post(f"{first.url}/v1/recommend", json={"user_id": "user-1"}).json()
    assert answer["release_id"] == newer.release.release_id
    sent = {"events": [view("kept", f"item-{n}", event_id=f"kept-{n}") for n in range(6)]}
    assert httpx.post(f"{first.url}/v1/events", json=sent).json()["accepted"] == 6
    httpx.delete(f"{first.url}/v1/customers/user-1").raise_for_status()
    # What an operator went back to is served after the next start too, though another is promoted.
    told = httpx.post(f"{first.url}/v1/admin/release", json={"release_id": older.release.release_id}, timeout=30).json()
    assert (told["release_id"], told["held"]) == (older.release.release_id, True)
    first.kill()

    second = start_server(older.store.root).wait_until_ready()
    answer = httpx.post(f"{second.url}/v1/recommend", json={"user_id": "kept"}).json()
    assert answer["release_id"] == older.release.release_id
    assert answer["strategy"] == "session"
    assert httpx.post(f"{second.url}/v1/events", json=sent).json()["duplicates"] == 6
    assert error_of(httpx.get(f"{second.url}/v1/customers/user-1"))[:2] == (404, "unknown_user")
    # The supervisor alone dies: its workers follow, and the port is free again.
    workers = workers_of(second)
    second.process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_serve_when_the_supervisor_dies_while_its_workers_start_then_they_end_too(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(build(tmp_path / "store", num_items=20, num_users=3).store.root)
    deadline = time.monotonic() + 60
    while len(workers := workers_of(server)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(workers) == 2
    server.process.send_signal(signal.SIGKILL)  # seconds before a worker has imported the service
    _, alive = psutil.wait_procs(workers, timeout=30)
    for worker in alive:
        worker.kill()
    assert not alive


def test_serve_when_a_file_is_damaged_then_it_refuses_to_start_and_names_it(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    tiny = build(tmp_path / "store", num_items=20, num_users=3)
    index = tiny.release.parts["retrieval"].path("index.faiss")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 16
    index.write_bytes(content)
    server = start_server(tiny.store.root)
    assert server.process.wait(timeout=60) == 4
    assert f"{index}: damaged; expected sha256" in server.log.read_text()


def test_serve_when_the_port_is_taken_then_it_says_so(server: Server, start_server: Callable[..., Server]) -> None:
    second = start_server(Path(server.settings.store), port=server.settings.port)
    assert second.process.wait(timeout=60) == 2
    assert f"{server.settings.port}: cannot listen there" in second.log.read_text()
