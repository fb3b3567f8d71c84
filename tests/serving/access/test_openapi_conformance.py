"""schemathesis against the OpenAPI document: what is documented is what the real server does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.access.keys import KeyFile
from tests.serving.server_process import ROOT, Server
from tests.serving.tiny_release import build

pytestmark = pytest.mark.xdist_group("server")
# Ours stands in for positive_data_acceptance, which knows no answer to a request that fits its schema and makes no sense.
_REPLACED = "positive_data_acceptance"


def run(server: Server, key: str, *options: str) -> str:
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json", "--no-color"]
    command += ["--header", f"Authorization: Bearer {key}", "--generation-database", "none", "--continue-on-failure"]
    command += ["--exclude-checks", _REPLACED, "--warnings", "off", *options]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.serving.access.schemathesis_checks"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    return done.stdout


def test_document_when_schemathesis_reads_it_then_every_answer_is_as_it_says(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    tiny = build(tmp_path / "store", num_items=40, num_users=8)
    key = KeyFile(tiny.store.root / "api_keys.json").add(name="test", role="admin").secret
    server = start_server(tiny.store.root, workers=1).wait_until_ready()
    said = run(server, key, "--phases", "coverage", "--seed", "1", "--max-examples", "1")
    found = re.search(r"(\d+) generated", said)
    assert found is not None
    assert int(found[1]) > 500
