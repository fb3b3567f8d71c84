"""The examples of the documents, run as they stand."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serving.outbox.signing import Signer, new_secret
from serving.process.settings import ServeSettings
from tests.conftest import require
from tests.serving.server_process import ROOT, Server, free_port

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


# Installing the package may start a server for everyone on this machine, so it is not asked for where tests have to run.
@pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("openssl")), reason="no nginx and openssl on PATH")
def test_nginx_when_asked_for_another_name_then_nothing_comes_back(server: Server, tmp_path: Path) -> None:
    """`Host: localhost` from outside would else pass for a call from the machine itself."""
    tls, plain = free_port(), free_port()
    key, certificate, pid = (tmp_path / name for name in ("key.pem", "certificate.pem", "pid"))
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=footfall.example", "-addext", "subjectAltName=DNS:footfall.example"]
    subprocess.run([*make, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
    text = (EXAMPLES / "nginx.conf").read_text()
    for ours, here in {
        "/etc/ssl/private/footfall.example.key": str(key),
        "/etc/ssl/footfall.example.pem": str(certificate),
        "/var/log/nginx": str(tmp_path),
        "127.0.0.1:3000": httpx.URL(server.url).netloc.decode(),
        "listen 443": f"listen 127.0.0.1:{tls}",
        "listen 80": f"listen 127.0.0.1:{plain}",
    }.items():
        assert ours in text
        text = text.replace(ours, here)
    paths = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = f"daemon off; master_process off; pid {pid}; error_log {tmp_path}/errors;\nevents {{}}\nhttp {{\n{paths}{text}\n}}\n"
    (tmp_path / "nginx.conf").write_text(whole)
    process = subprocess.Popen(["nginx", "-c", tmp_path / "nginx.conf", "-p", tmp_path], stderr=subprocess.DEVNULL)
    try:
        until(pid.exists, process)
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=context, trust_env=False) as client:
            at, sni = f"https://127.0.0.1:{tls}/healthz", {"sni_hostname": "footfall.example"}
            assert client.get(at, headers={"host": "footfall.example"}, extensions=sni).status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(at, headers={"host": "localhost"}, extensions=sni)
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(f"http://127.0.0.1:{plain}/", headers={"host": "localhost"})
            with pytest.raises(httpx.ConnectError):  # by its address, without a name
                client.get(at)
    finally:
        process.terminate()
        process.wait(timeout=10)


def until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
