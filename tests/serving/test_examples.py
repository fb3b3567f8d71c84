"""The examples of the documents, run as they stand."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from serving.outbox.signing import Signer, new_secret
from serving.process.settings import ServeSettings
from tests.conftest import require
from tests.serving.server_process import ROOT, Server

pytestmark = pytest.mark.xdist_group("server")
EXAMPLES = ROOT / "docs/examples"


def run(server: Server, *command: str) -> str:
    done = subprocess.run(
        command, cwd=EXAMPLES, env=os.environ | {"FOOTFALL": server.url, "KEY": ""}, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_curl_when_run_then_each_call_answers_and_the_event_counts(server: Server, http: httpx.Client) -> None:
    require(shutil.which("curl"), "no curl on PATH")
    answers = [json.loads(line) for line in run(server, "sh", "curl.sh", "curled", "item-4").splitlines() if line]
    sent, listed, together, customer, items = answers
    assert sent["accepted"] == 1
    assert len(listed["items"]) == len(together["items"]) == 5
    assert [one["item_id"] for one in customer["cart"]] == ["item-4"]
    assert items["items"][0]["title"] == "Thing number 4"


def test_javascript_when_run_then_it_lists_items(server: Server) -> None:
    require(shutil.which("node"), "no node on PATH")
    assert len(json.loads(run(server, "node", "recommend.mjs", "user-1"))) == 12


def test_receiver_when_a_message_is_signed_then_it_is_taken_and_otherwise_not() -> None:
    spec = importlib.util.spec_from_file_location("receive_webhooks", EXAMPLES / "receive_webhooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    secret, body = new_secret(), b'{"type": "trigger.opened"}'
    headers = Signer.parse(f"{new_secret()} {secret}", where="here").headers("msg_1", body, at_s=1000)
    assert module.is_signed(headers, body, secret, 1299.0)
    assert not module.is_signed(headers, body, secret, 1301.0)
    assert not module.is_signed(headers, body + b" ", secret, 1000.0)
    assert not module.is_signed({}, body, secret, 1000.0)


def test_webhook_settings_when_read_then_they_are_as_the_example_says(tmp_path: Path) -> None:
    webhooks = ServeSettings.read(EXAMPLES / "webhooks.yaml", {}).webhooks
    assert [(one.name, one.wants_alert("reorder_now")) for one in webhooks.endpoints] == [
        ("crm", False),
        ("purchasing", True),
    ]
