"""ONNX models as the service runs them."""

from __future__ import annotations

import os
import subprocess
import sys

from features.release import layout
from serving.onnx_session import session_of
from tests.serving.server_process import ROOT
from tests.serving.tiny_release import TinyRelease

_COUNT_THREADS = """
import sys, psutil
from serving.process.threads import one_thread_each
one_thread_each()
from serving.onnx_session import session_of
session_of(sys.argv[1])
print(psutil.Process().num_threads())
"""


def test_session_when_a_batch_was_large_then_its_memory_is_not_pooled(tiny: TinyRelease) -> None:
    session = session_of(tiny.release.parts["retrieval"].path(layout.USER_TOWER))
    assert not session.get_session_options().enable_cpu_mem_arena


def test_session_when_it_is_made_then_no_thread_reports_to_anybody(tiny: TinyRelease) -> None:
    path = tiny.release.parts["retrieval"].path(layout.USER_TOWER)
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_THREADS, str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "1"
