"""A simulated shop with known truths, to tell how much of what there is to find a method finds.

Everything in it is invented. ``docs/synthetic-shop.md`` tells the story and its formulas. Version 1 is frozen:
a change to what is drawn is a new version, so that figures measured on a version stay comparable.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from features.contract.data_directory import write_data_directory
from features.settings import EngineSettings
from features.sources.synthetic.frames import contract_tables
from features.sources.synthetic.settings import GENERATOR_VERSION, SHOP, SOURCE, WARNING, Size
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.truth import TRUTH, describe, write_truth
from features.sources.synthetic.world import draw_world

__all__ = ["GENERATOR_VERSION", "WARNING", "generate"]

log = logging.getLogger(__name__)


def generate(
    out: Path, *, num_users: int, num_items: int, num_days: int, seed: int, engine: EngineSettings | None = None
) -> dict[str, Any]:
    """Write a simulated shop to ``out`` and what is true of it to ``out/truth``.

    The same arguments give the same tables, byte for byte, on one machine; their fingerprint stands in
    ``about.json`` and in ``truth/truth.json``.

    Args:
        out: a directory that does not exist yet.
        num_users: customers, at least 20.
        num_items: items, at least 40.
        num_days: days of log, at least 28; the log starts on Monday, 2024-02-05.
        seed: 0 or more.
        engine: the memory limit and threads with which the tables are checked and written.

    Returns:
        What ``about.json`` says.

    Raises:
        ConfigError: a size is too small.
        DataError: ``out`` exists.
    """
    started = time.perf_counter()
    world = draw_world(Size(num_users=num_users, num_items=num_items, num_days=num_days, seed=seed))
    history = Simulation(world).run()
    seconds = time.perf_counter() - started
    log.info("synthetic shop: %d events, %.0f a second", len(history.events["ts"]), len(history.events["ts"]) / seconds)
    return write_data_directory(
        Path(out),
        contract_tables(world, history),
        shop=SHOP,
        source=SOURCE,
        warning=WARNING,
        notes=describe(world, history),
        engine=engine,
        extra=lambda staging: write_truth(staging / TRUTH, world, history),
    )
