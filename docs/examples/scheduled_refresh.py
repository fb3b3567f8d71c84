#!/usr/bin/env python3
"""Bring everything up to date on a schedule: one job at a time, and on from where a failed one stopped.

scheduled_refresh.py daily   DATA FEATURES STORE     events that were served into DATA, features, customers
scheduled_refresh.py weekly  DATA FEATURES STORE     the same, both models, promotion by the rule, the page of customers
scheduled_refresh.py monthly DATA FEATURES STORE     as weekly, after a search for better settings

Stages that are done are noted in STORE/schedule/JOB.json. Run again within the same day, week or month, a job begins at
the stage that failed; when all are done it does nothing. While one job runs, another gives up at once.

Exit codes: 0 done, 75 another job is running (try again later), else that of the stage that failed: 2 and 3 need a person
(usage, data), others may pass.
"""

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BUSY, KEPT_BACK = 75, 4  # EX_TEMPFAIL; a part that did not earn its place
PERIODS = {"daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}
TRIALS, MINUTES = "30", "120"


def main() -> int:
    """Run one job, or say that another runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=PERIODS)
    for name in ("data", "features", "store"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--footfall", default="footfall", help="the command; a path where it is not on PATH")
    found = parser.parse_args()
    notes = found.store / "schedule"
    notes.mkdir(parents=True, exist_ok=True)
    with (notes / "lock").open("w", encoding="utf-8") as lock:  # the system lets go of it when this process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{found.job}: another job is running on {found.store}.", file=sys.stderr)
            return BUSY
        return run(found.job, found.data, found.features, found.store, footfall=found.footfall)


def run(job: str, data: Path, features: Path, store: Path, *, footfall: str) -> int:
    """Run the stages of a job that are not done yet; return 0, or the exit code of the one that failed."""
    notes, period = store / "schedule" / f"{job}.json", dt.datetime.now(dt.UTC).strftime(PERIODS[job])
    done = done_in(notes, period)
    for name, words in stages(job, data, features, store, period):
        if name in done:
            continue
        code = subprocess.run([footfall, *words], check=False).returncode
        if name == "promote" and code == KEPT_BACK and served(store):
            # What is served stays, and its customers are brought up to date all the same.
            print(f"{job}: a model did not earn its place; the one before is served.", file=sys.stderr)
            code = subprocess.run([footfall, *words, *served(store)], check=False).returncode
        if code:
            print(f"{job}: stage {name!r} ended with {code}; run again to go on from it.", file=sys.stderr)
            return code
        done.append(name)
        note(notes, period, done)
    return 0


def stages(job: str, data: Path, features: Path, store: Path, period: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the words of each command, in order; what an earlier one wrote is looked for when it is due."""
    there, into = str(features), str(store)
    # Where live state is in Redis, add --settings and the file that `footfall serve --config` reads.
    yield "served", ["live", "export", into, "--to", str(data)]
    yield "features", ["features", str(data), there]
    if job == "daily":
        if served(store):  # otherwise a weekly job makes the first release
            yield "customers", ["promote", into, "--features", there, *served(store)]
        return
    for model in ("retrieval", "demand"):
        if job == "monthly":
            study = ["--study", f"{model}-{period}", "--trials", TRIALS, "--timeout", MINUTES]
            yield f"tune {model}", ["tune", model, there, into, *study]
        yield f"train {model}", ["train", model, there, into, *best_settings(store, model)]
    yield "promote", ["promote", into, "--features", there]
    yield "page", ["report", "customers", there, str(store / "schedule" / "customers.html")]


def best_settings(store: Path, model: str) -> list[str]:
    """Return the option that names the newest study's best settings; nothing where there was no search."""
    found = sorted(store.glob(f"tuning/{model}*/best.yaml"), key=lambda path: path.stat().st_mtime)
    return ["--config", str(found[-1])] if found else []


def served(store: Path) -> list[str]:
    """Return the options that name the models of the release that is served; nothing before the first."""
    try:
        release = json.loads((store / "current.json").read_text(encoding="utf-8"))["release_id"]
    except FileNotFoundError:
        return []
    parts = json.loads((store / "releases" / f"{release}.json").read_text(encoding="utf-8"))["parts"]
    names = [name for name in ("retrieval", "demand") if name in parts]
    return [word for name in names for word in (f"--{name}", parts[name]["version"])]


def done_in(notes: Path, period: str) -> list[str]:
    """Return the stages that are done in this period."""
    try:
        found = json.loads(notes.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return list(found["done"]) if found["period"] == period else []


def note(notes: Path, period: str, done: list[str]) -> None:
    """Write down what is done, whole or not at all."""
    aside = notes.with_suffix(".new")
    aside.write_text(json.dumps({"period": period, "done": done}), encoding="utf-8")
    aside.replace(notes)


if __name__ == "__main__":
    sys.exit(main())
