"""``footfall features``: from a data directory to tables, sequences and panels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from features.commands.parsing import run_command
from features.panel.build import PanelSettings
from features.settings import EngineSettings

_SHORT: Final = {"--engine": "--engine.name", "--master": "--engine.master"}


def build(
    data: Path,
    out: Path,
    panel: PanelSettings = PanelSettings(),
    engine: EngineSettings = EngineSettings(),
    rebuild: bool = False,
) -> dict[str, Any]:
    """Build the event log, vocabulary, catalogue, sequences, customer table and demand panel of a data directory.

    Features that stand at `out` are brought up to date: only days whose events changed are read again, and nothing is
    done where nothing changed. The answer's `refresh` says which, and why.

    Args:
        data: directory that `footfall data` wrote.
        out: directory to write; an earlier feature directory there is brought up to date, or replaced.
        panel: which items the demand panel holds, and how far ahead it knows.
        engine: where tables are computed: `--engine pyspark --master spark://host:7077` for a Spark cluster.
        rebuild: read everything anew, whatever stands at `out`.
    """
    from features.build import build_features

    return build_features(data, out, panel=panel, engine=engine, rebuild=rebuild)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall features``."""
    return run_command(build, _in_full(argv), prog="footfall features")


def _in_full(argv: list[str]) -> list[str]:
    """Let ``--engine pyspark --master URL`` stand for ``--engine.name pyspark --engine.master URL``.

    >>> _in_full(["data", "out", "--engine=pyspark", "--master", "local[2]"])
    ['data', 'out', '--engine.name=pyspark', '--engine.master', 'local[2]']
    """
    words = []
    for word in argv:
        name, sign, value = word.partition("=")
        words.append(_SHORT.get(name, name) + sign + value)
    return words
