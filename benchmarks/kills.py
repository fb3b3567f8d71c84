"""Each long command killed with SIGKILL at a random moment, five times, and run again: what it ends with, what was repeated.

python benchmarks/kills.py --json OUT --work DIR
python benchmarks/kills.py --json OUT --work DIR --commands "features, anew" "tune retrieval" --kills 2

Real processes, whole process groups. A moment is uniform over the time that the command takes undisturbed; one at which the
process had ended already is drawn again. The same words are then run again, and what comes out has to be what two
undisturbed runs agree on; what these two differ in (times, ids of runs) is no part of it and is counted. ``lost_s`` is what the
kill cost: time until the kill, and of the rerun, less that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.kill_commands import FEATURES, Command, Outcome, commands, training_words
from benchmarks.result import write_result
from features.engine import private_connection, sql_text
from features.settings import EngineSettings

ROOT: Final = Path(__file__).resolve().parents[1]
_MAPPING: Final = """description: the simulated shop's events, as CSV
tables:
  events:
    files: "events.csv"
    columns: {user_id: user_id, event_type: event_type, ts: ts, item_id: item_id, event_id: event_id}
"""
_PREPARED: Final = "prepared"
_LIVE: Final = "live"
_DRAWS: Final = 10  # of a moment, before a command counts as too short to be killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="keep the shop, its features and a store here")
    parser.add_argument("--commands", nargs="+", default=[], metavar="NAME", help="some of them; all where left out")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--users", type=int, default=3_000)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--days", type=int, default=150)
    arguments = parser.parse_args()
    known = commands(users=arguments.users, items=arguments.items, days=arguments.days)
    if unknown := set(arguments.commands) - known.keys():
        parser.error(f"--commands: expected some of {', '.join(known)}; found {', '.join(sorted(unknown))}")
    bench = Bench(work=arguments.work.resolve(), kills=arguments.kills, seed=arguments.seed)
    bench.prepare(users=arguments.users, items=arguments.items, days=arguments.days)
    rows = [bench.row(name, known[name]) for name in arguments.commands or known]
    shutil.rmtree(bench.live, ignore_errors=True)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="kills",
            data=f"simulated shop of {arguments.users} customers, {arguments.items} items, {arguments.days} days",
            protocol=f"{arguments.kills} times SIGKILL to the whole process group at a moment uniform over the undisturbed time, "
            "then the same command again; the outcome is compared with what two undisturbed runs agree on; one thread",
            seeds=[arguments.seed],
            results=rows,
        )
    return 0 if all(row["metrics"]["equal"] == row["metrics"]["kills"] for row in rows) else 1


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A process that ended: by itself, or killed.

    Args:
        seconds: it lived.
        code: of its exit; negative the number of a signal.
        said: on stderr.
    """

    seconds: float
    code: int
    said: str

    def expect_done(self, words: tuple[str, ...]) -> Ended:
        """Return it, once it is sure that the command did what it should."""
        if self.code:
            raise RuntimeError(
                f"footfall {' '.join(words)}: expected exit code 0, found {self.code}:\n{self.said[-3000:]}"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where commands run, each time from the same start at the same place.

    Args:
        work: holds what is prepared, and where commands run.
        kills: of each command.
        seed: of the moments.
    """

    work: Path
    kills: int
    seed: int

    @property
    def live(self) -> Path:
        """Where commands run."""
        return self.work / _LIVE

    @property
    def prepared(self) -> Path:
        """What they start from."""
        return self.work / _PREPARED

    def prepare(self, *, users: int, items: int, days: int) -> None:
        """Make the shop, its features before and after its last days, and a store; those that are there stay."""
        if (self.prepared / "done").exists():
            return
        for directory in (self.live, self.prepared):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        self.run(("data", "synth", "data", f"--users={users}", f"--items={items}", f"--days={days}", "--seed=0"))
        self._write_files()
        shutil.copytree(self.live / "data", self.prepared / "data")
        self._forget_last_days(days=2)
        self.run(("features", "data", "features", *FEATURES))
        (self.live / "features").rename(self.prepared / "features_before")
        self._begin({"data": "data"})
        self.run(("features", "data", "features", *FEATURES))
        shutil.copytree(self.live / "features", self.prepared / "features")
        for words in training_words():
            self.run(words)
        shutil.copytree(self.live / "store", self.prepared / "store")
        (self.prepared / "done").touch()

    def row(self, name: str, command: Command) -> dict[str, Any]:
        """Kill one command again and again; return the row of the result."""
        runs, outcomes = zip(*(self._undisturbed(command) for _ in range(2)), strict=True)
        seconds = fmean(run.seconds for run in runs)
        same = {key: value for key, value in outcomes[0].items() if outcomes[1].get(key) == value}
        varying = (outcomes[0].keys() | outcomes[1].keys()) - same.keys()
        generator = random.Random(f"{self.seed} {name}")
        kills = [self._killed(command, seconds, same, varying, generator) for _ in range(self.kills)]
        row = {
            "model": name,
            "metrics": {
                "kills": len(kills),
                "equal": sum(not kill["differs"] for kill in kills),
                "resumed": sum(bool(kill["resumed"]) for kill in kills),
                "undisturbed_s": round(seconds, 1),
                "mean_lost_s": round(fmean(kill["lost_s"] for kill in kills), 1),
                "most_lost_s": max(kill["lost_s"] for kill in kills),
                "values_compared": len(same),
                "values_that_vary_undisturbed": len(varying),
            },
            "config": {"command": f"footfall {' '.join(command.words)}"},
            "kills": kills,
            "note": f"compared: {command.compared}",
        }
        print(name, row["metrics"], file=sys.stderr)
        return row

    def _undisturbed(self, command: Command) -> tuple[Ended, Outcome]:
        self._begin(command.start)
        return self.run(command.words), command.outcome(self.live)

    def _killed(
        self, command: Command, seconds: float, same: Outcome, varying: set[str], generator: random.Random
    ) -> dict[str, Any]:
        """Kill a command once, run it again, and compare."""
        latest = seconds
        for _ in range(_DRAWS):
            self._begin(command.start)
            killed = self.start(command.words, kill_after=generator.uniform(0, latest))
            if killed.code == -signal.SIGKILL:
                break
            latest = min(latest, killed.seconds)  # the machine has become faster than it was
        else:
            raise RuntimeError(
                f"{command.words}: expected to be killed before it ended, found it ended {_DRAWS} times."
            )
        again = self.start(command.words)
        if not (command.already and re.search(command.already, again.said)):
            again.expect_done(command.words)
        found = command.outcome(self.live)
        keys = {key for key in same.keys() | found.keys() if key not in varying}
        return {
            "killed_at_s": round(killed.seconds, 1),
            "rerun_s": round(again.seconds, 1),
            "lost_s": round(killed.seconds + again.seconds - seconds, 1),
            "resumed": _said(command.says, again.said),
            "differs": sorted(key for key in keys if found.get(key) != same.get(key))[:20],
            "left_behind": self._litter(),
        }

    def run(self, words: tuple[str, ...]) -> Ended:
        """Run a command to its end."""
        return self.start(words).expect_done(words)

    def start(self, words: tuple[str, ...], *, kill_after: float | None = None) -> Ended:
        """Run a command in a process group of its own; kill all of it after some seconds."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with (self.work / "stderr").open("w+") as stderr:
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(ROOT / "footfall.py"), *words],
                cwd=self.live,
                env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                pass
            finally:  # Ctrl-C too
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            seconds = time.perf_counter() - started
            stderr.seek(0)
            return Ended(seconds=seconds, code=process.returncode, said=stderr.read())

    def _begin(self, start: Any) -> None:
        shutil.rmtree(self.live, ignore_errors=True)
        self.live.mkdir(parents=True)
        for prepared, name in start.items():
            shutil.copytree(self.prepared / prepared, self.live / name)

    def _litter(self) -> list[str]:
        """Return what killed processes left behind that the rerun did not sweep."""
        hidden = (path for path in self.live.rglob(".*") if re.search(r"\.(partial|retired|building)$", path.name))
        return sorted(path.relative_to(self.live).as_posix() for path in hidden)

    def _write_files(self) -> None:
        files, events = self.prepared / "files", self.live / "data" / "events.parquet"
        files.mkdir()
        with private_connection(EngineSettings(threads=1), beside=self.work) as connection:
            connection.execute(f"COPY (FROM read_parquet({sql_text(events)})) TO {sql_text(files / 'events.csv')}")
        (files / "mapping.yaml").write_text(_MAPPING)

    def _forget_last_days(self, *, days: int) -> None:
        events = self.live / "data" / "events.parquet"
        before = events.with_name("before.parquet")
        with private_connection(EngineSettings(threads=1), beside=self.work) as connection:
            connection.execute(f"""
                COPY (FROM read_parquet({sql_text(events)})
                      WHERE ts < (SELECT max(ts) FROM read_parquet({sql_text(events)})) - INTERVAL {days} DAY)
                TO {sql_text(before)} (FORMAT parquet)""")
        before.replace(events)


def _said(pattern: str, said: str) -> list[str]:
    """Return what a log says of what was gone on with."""
    return [found.group() for line in said.splitlines() if pattern and (found := re.search(pattern, line))]


if __name__ == "__main__":
    sys.exit(main())
