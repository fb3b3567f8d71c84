"""The stages of a build that a cluster does, apart from customers, whose engines have a test of their own.

python tests/features/spark/stages_of_a_tiny_shop.py DATA OUT MASTER WORKER

makes them twice on a cluster, in OUT/undisturbed and OUT/killed; while the second event log is written, it kills a worker,
whose process group is WORKER, and its executor. It writes how many executors there were before and after.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from features.manifest import EVENT_LOG_FILE
from features.panel.build import PanelSettings
from features.refresh.plan import Refresh
from features.settings import EngineSettings, ShopSettings
from features.stages.interface import STAGES, Build, Stages

ENGINE: Final = EngineSettings(memory_limit="500MB", threads=1)


def make(stages: Stages, data: Path, out: Path, engine: EngineSettings = ENGINE) -> None:
    """Do the stages one after the other."""
    out.mkdir(parents=True)
    build = Build(
        data=data,
        out=out,
        shop=ShopSettings.load(data),
        panel=PanelSettings(min_purchases=5),
        engine=engine,
        refresh=Refresh.anew("a test"),
    )
    for name in STAGES:
        if name != "customers":
            getattr(stages, name)(build)


def main(data: Path, out: Path, master: str, worker: int) -> None:
    from features.spark.stages import spark_stages  # noqa: PLC0415 (who only makes the same on DuckDB needs no Spark)

    engine = EngineSettings(name="pyspark", master=master, memory_limit="500MB", threads=1)
    with spark_stages(engine, data, beside=out) as stages:
        make(stages, data, out / "undisturbed", engine)
        before = _num_executors(stages.session)
        threading.Thread(target=_kill, args=(out / "killed" / EVENT_LOG_FILE, worker), daemon=True).start()
        make(stages, data, out / "killed", engine)
        after = _num_executors(stages.session)
    sys.stdout.write(json.dumps({"executors": [before, after]}))


def _kill(written: Path, worker: int) -> None:
    while not list(written.glob("_temporary/**/part-*")):
        time.sleep(0.01)
    os.killpg(worker, signal.SIGKILL)


def _num_executors(session: Any) -> int:
    return int(session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1  # the driver is one of them


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
