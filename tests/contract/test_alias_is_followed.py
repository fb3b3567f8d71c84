"""The registry's alias is followed by a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from mlflow import MlflowClient

from features.release.registry import RELEASE_ID_TAG, RELEASE_MODEL, tracking_uri
from serving.release.sources import AliasFile

ROOT = Path(__file__).parents[2]
# The watcher ends with its parent: this one starts it and waits to be killed.
_PARENT = "import subprocess, sys, time; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); time.sleep(99)"


def test_alias_when_it_moves_then_the_file_follows_and_the_watcher_ends_with_its_parent(tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri(tmp_path))
    client.create_registered_model(RELEASE_MODEL)
    for release_id in ("first", "second"):
        client.create_model_version(RELEASE_MODEL, source=str(tmp_path), tags={RELEASE_ID_TAG: release_id})
    client.set_registered_model_alias(RELEASE_MODEL, "serving", "1")
    file, environment = tmp_path / "alias.json", os.environ | {"PYTHONPATH": str(ROOT)}
    watch = [sys.executable, "-m", "serving.commands.alias", str(tmp_path), "serving", str(file), "0.05"]
    command = [sys.executable, "-c", _PARENT, *watch]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            pid, alias = int(parent.stdout.readline()), AliasFile(file)
            assert alias.wait(60) == "first"
            client.set_registered_model_alias(RELEASE_MODEL, "serving", "2")
            until(lambda: alias() == "second")
        finally:
            parent.kill()
    until(lambda: not Path(f"/proc/{pid}/stat").exists())


def until(holds) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
