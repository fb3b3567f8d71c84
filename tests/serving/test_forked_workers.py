"""Workers that are forked: whose children they are, what they are handed, and what happens without their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.serving.server_process import ROOT, Server, workers_of
from tests.serving.tiny_release import build

_ASKS: str = """
import os, socket, sys, threading
from serving.process.fork_parent import WORKER_NAME, ForkParent

def run(arguments, files):
    with socket.socket(fileno=files[0]) as given:
        name = open("/proc/self/comm").read().strip()
        given.send(" ".join([*arguments, os.environ["GIVEN"], os.getcwd(), name, str(os.getppid())]).encode())
    sys.exit(7)

parent = ForkParent(prepare=lambda: __import__("fractions"), run=run)
parent.wait()
mine, theirs = socket.socketpair()
worker = parent.fork(["a", "b"], environment=os.environ | {"GIVEN": "g"}, directory="/", files=[theirs.fileno()])
said, (_, status) = mine.recv(1000).decode(), os.waitpid(worker, 0)
assert said == f"a b g / {WORKER_NAME} {os.getpid()}", said
assert os.waitstatus_to_exitcode(status) == 7, status
assert threading.active_count() == 1
parent.close()
try:
    parent.fork(["a"], environment={}, directory="/", files=[theirs.fileno()])
except OSError:
    print("over")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="adopting orphans is Linux's")
def test_fork_when_a_worker_is_asked_for_then_it_is_a_child_of_the_asking_process() -> None:
    # In a process of its own: this one has threads.
    done = subprocess.run(
        [sys.executable, "-c", _ASKS],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout.strip()) == (0, "over"), done.stderr


@pytest.mark.xdist_group("server")
def test_worker_when_it_is_killed_then_another_is_forked_and_without_their_parent_started_by_its_command(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(build(tmp_path / "store", num_items=20, num_users=3).store.root).wait_until_ready()
    assert "loaded release" in server.log.read_text()  # a forked worker's log is heard
    first = _both(server, lambda: workers_of(server))
    [parent] = [one for one in psutil.Process(server.process.pid).children() if one not in first]
    first[0].send_signal(signal.SIGKILL)
    second = _both(server, lambda: workers_of(server), besides=first[0])
    assert [one.cmdline() for one in second] == [parent.cmdline()] * 2  # forked: of no command of their own
    parent.send_signal(signal.SIGKILL)
    second[0].send_signal(signal.SIGKILL)
    third = _both(server, lambda: psutil.Process(server.process.pid).children(), besides=second[0])
    assert "_bentoml_impl.worker.service" in third[-1].cmdline()
    assert httpx.post(f"{server.url}/v1/recommend", json={}, timeout=30).status_code == 200
    assert server.stop() == 0


def _both(
    server: Server, found: Callable[[], list[psutil.Process]], *, besides: psutil.Process | None = None
) -> list[psutil.Process]:
    """Return two workers that live, by age, once there are two and not that one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        alive = [one for one in found() if one != besides and one.status() != psutil.STATUS_ZOMBIE]
        if len(alive) == 2 and all(map(_accepts, alive)):
            return sorted(alive, key=lambda one: one.create_time())
        time.sleep(0.05)
    raise AssertionError(server.log.read_text())


def _accepts(worker: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in worker.net_connections(kind="tcp"))
