"""schemathesis against the OpenAPI document: what is documented is what the real server does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.access.guarded import Guarded
from tests.serving.server_process import ROOT

pytestmark = pytest.mark.xdist_group("server")
# Ours stands in for positive_data_acceptance, which knows no answer to a request that fits its schema and makes no sense.
_REPLACED = "positive_data_acceptance"


def run(url: str, key: str, directory: Path, *options: str) -> str:
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--no-color"]
    command += ["--header", f"Authorization: Bearer {key}", "--generation-database", "none", "--continue-on-failure"]
    command += ["--exclude-checks", _REPLACED, "--warnings", "off", *options]
    here = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.serving.access.schemathesis_checks"}
    done = subprocess.run(
        command, cwd=directory, env=os.environ | here, capture_output=True, text=True, timeout=280, check=False
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr)
    return done.stdout


def test_document_when_schemathesis_reads_it_then_every_answer_is_as_it_says(guarded: Guarded, tmp_path: Path) -> None:
    said = run(guarded.server.url, guarded.key, tmp_path, "--phases", "coverage", "--seed", "1", "--max-examples", "1")
    found = re.search(r"(\d+) generated", said)
    assert found is not None
    assert int(found[1]) > 500
