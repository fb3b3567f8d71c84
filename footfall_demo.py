"""The main job from end to end on a real shop's log, as a user would type it: ``footfall demo``.

Each stage is one of the README's commands in a process of its own; what is printed at the end came
over HTTP from the service that the last of them started.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.commands.parsing import run_command
from features.errors import FootfallError
from features.files import write_json

log = logging.getLogger(__name__)

READY_SECONDS: Final = 120
NUM_CUSTOMERS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Directories of one demo."""

    root: Path

    @property
    def data(self) -> Path:
        """Contract tables."""
        return self.root / "data"

    @property
    def features(self) -> Path:
        """Tables, sequences, panel."""
        return self.root / "features"

    @property
    def store(self) -> Path:
        """Parts, releases, runs."""
        return self.root / "store"


def demo(out: Path = Path("demo"), port: int = 0) -> dict[str, Any]:
    """Run the main job on the Complete Journey data: features, both models, reports, a release, a running service.

    Args:
        out: directory to work in; stages that are already there are not run again.
        port: TCP port of the service; a free one where 0.
    """
    started = time.monotonic()
    work = Workspace(root=out)
    _stage("1 of 6  data", work.data, ["data", "complete-journey", str(work.data)])
    _warn_of_source(work.data)
    _stage("2 of 6  features", work.features, ["features", str(work.data), str(work.features)])
    retrieval = _train("3 of 6  retrieval model", work, "retrieval")
    demand = _train("4 of 6  demand model", work, "demand")
    reports = _evaluate(work, retrieval, demand)
    release = _footfall("6 of 6  release", ["promote", str(work.store), "--features", str(work.features)])
    with _service(work.store, port or _free_port()) as url:
        _show(url, work)
    minutes = (time.monotonic() - started) / 60
    _say("")
    _say(f"Reports: {', '.join(reports)}")
    _say(f"Done in {minutes:.1f} minutes. To serve for good: footfall serve {work.store} --port 3000")
    return {"release_id": release["release_id"], "reports": reports, "minutes": round(minutes, 2)}


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall demo``."""
    return run_command(demo, argv, prog="footfall demo")


def _train(title: str, work: Workspace, kind: str) -> dict[str, Any]:
    result = work.store / f"{kind}.json"
    if result.exists():
        _say(f"\n== {title}: there already ({result})")
        return dict(json.loads(result.read_text(encoding="utf-8")))
    trained = _footfall(title, ["train", kind, str(work.features), str(work.store)])
    write_json(result, trained)
    return trained


def _evaluate(work: Workspace, retrieval: Mapping[str, Any], demand: Mapping[str, Any]) -> list[str]:
    pages = []
    for kind, trained in (("retrieval", retrieval), ("demand", demand)):
        words = ["evaluate", kind, str(work.features), str(work.store), "--run_id", str(trained["run_id"])]
        result = _footfall(f"5 of 6  evaluation: {kind}", words)
        pages.append(str(result["report"]))
    return pages


def _stage(title: str, output: Path, words: Sequence[str]) -> None:
    if output.exists():
        _say(f"\n== {title}: there already ({output})")
        return
    _footfall(title, words)


def _footfall(title: str, words: Sequence[str]) -> dict[str, Any]:
    """Run one command of the front door; its progress goes to our stderr, its JSON result comes back."""
    _say(f"\n== {title}\n$ footfall {' '.join(words)}")
    started = time.monotonic()
    done = subprocess.run(_command(words), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise FootfallError(
            f"`footfall {' '.join(words)}` ended with exit code {done.returncode}; its message is above."
        )
    _say(f"   {time.monotonic() - started:.0f} s")
    return dict(json.loads(done.stdout))


def _command(words: Sequence[str]) -> list[str]:
    # -P: a folder called features in the working directory must not hide the package
    return [sys.executable, "-P", "-m", "footfall", *words]


def _warn_of_source(data: Path) -> None:
    about = json.loads((data / "about.json").read_text(encoding="utf-8"))
    if about["warning"]:
        _say(f"   Note of the source: {about['warning']}")


@contextlib.contextmanager
def _service(store: Path, port: int) -> Iterator[str]:
    """Start the service, wait until it is ready, and stop it in the end."""
    url = f"http://127.0.0.1:{port}"
    words = ["serve", str(store), "--port", str(port)]
    _say(f"\n== service\n$ footfall {' '.join(words)}")
    log_path = store / "service.log"
    with log_path.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(_command(words), stdout=output, stderr=output, start_new_session=True)
        try:
            _wait_until_ready(url, server, log_path)
            yield url
        finally:
            _stop(server)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log_path: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < READY_SECONDS:
        if server.poll() is not None:
            raise FootfallError(f"the service ended with exit code {server.returncode}; see {log_path}.")
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{url}/readyz"):
            _say(f"   ready after {time.monotonic() - started:.1f} s at {url}")
            return
        time.sleep(0.2)
    raise FootfallError(f"the service was not ready within {READY_SECONDS} s; see {log_path}.")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _call(url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise FootfallError(f"{url}: answered {error.code}: {error.read().decode(errors='replace')}") from None


def _show(url: str, work: Workspace) -> None:
    items = pd.read_parquet(work.data / "items.parquet").set_index(c.ITEM_ID)
    events = pd.read_parquet(work.features / "event_log.parquet", columns=[c.USER_ID, c.ITEM_ID, c.EVENT_TYPE])
    bought = events[events[c.EVENT_TYPE] == c.PURCHASE]
    for user in _example_users(bought):
        _show_customer(url, user, bought, items)
    _show_forecast(url, bought, items)


def _example_users(bought: pd.DataFrame) -> list[str]:
    """Three customers: a light, a usual and a heavy one, by purchases."""
    counts = bought[c.USER_ID].value_counts(sort=False).sort_index().sort_values(kind="stable")
    return [str(counts.index[int(share * (len(counts) - 1))]) for share in (0.2, 0.5, 0.9)][:NUM_CUSTOMERS]


def _show_customer(url: str, user: str, bought: pd.DataFrame, items: pd.DataFrame) -> None:
    customer = _call(f"{url}/v1/customers/{urllib.parse.quote(user, safe='')}")
    answer = _call(f"{url}/v1/recommend", {"user_id": user, "k": 5})
    history = bought[bought[c.USER_ID] == user].tail(5)[c.ITEM_ID]
    _say(f"\nCustomer {user}: {_segment(customer)}")
    _say(f"  bought last    {'; '.join(_title(items, item) for item in history)}")
    _say(f"  recommended    {'; '.join(_title(items, row['item_id']) for row in answer['items'])}")


def _segment(customer: Mapping[str, Any]) -> str:
    profile = customer["profile"] or {}
    names = ("recency", "frequency", "monetary")
    scores = " ".join(f"{name} {profile.get(f'{name}_score', '?')}" for name in names)
    return f"{profile.get('lifecycle', 'unknown')}; scores of 5: {scores}; likes {profile.get('favourite_category')}"


def _show_forecast(url: str, bought: pd.DataFrame, items: pd.DataFrame) -> None:
    for item in bought[c.ITEM_ID].value_counts().index[:20]:
        answer = _call(f"{url}/v1/demand", {"item_ids": [item]})
        if not answer["items"]:
            continue
        row = answer["items"][0]
        _say(f"\nItem {item} ({_title(items, item)}): units expected")
        for day in row["forecast"][:7]:
            low, middle, high = (day["quantiles"][level] for level in ("0.1", "0.5", "0.9"))
            _say(f"  {day['day']}  median {middle:.0f}, four days in five between {low:.0f} and {high:.0f}")
        _say(f"  {_decision(row['decision'])}")
        return


def _decision(decision: Mapping[str, float] | None) -> str:
    if not decision:
        return "no reorder point"
    return (
        f"order when {decision['reorder_point_90']:.0f} are left: that covers the {decision['lead_time_days']:.0f} days "
        "until delivery nine times in ten"
    )


def _title(items: pd.DataFrame, item: Any) -> str:
    title = items[c.TITLE].get(item)
    return " ".join(str(title).split()) if pd.notna(title) and title else f"item {item}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
