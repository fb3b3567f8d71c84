"""One server with a key and tight limits for all tests that are rude to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving.access.keys import KeyFile
from tests.serving.access.guarded import Guarded
from tests.serving.server_process import Server
from tests.serving.tiny_release import build

LIMITS = {
    "header_seconds": 1.0,
    "body_seconds": 0.6,
    "max_header_bytes": 16_384,
    "max_connections": 200,
    "max_wait_seconds": 0.02,
}


@pytest.fixture(scope="session")
def guarded(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    tiny = build(tmp_path_factory.mktemp("guarded") / "store", num_items=40, num_users=8)
    key = KeyFile(tiny.store.root / "api_keys.json").add(name="test", role="admin").secret
    logs = {"access": "all"}
    server = start_server(tiny.store.root, workers=1, limits=LIMITS, logs=logs)
    return Guarded(server.wait_until_ready(), key)
