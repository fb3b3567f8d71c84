"""Write the surface tables of a retrieval part."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.engine import memory_explained, private_connection
from features.release import layout
from features.settings import EngineSettings
from training.retrieval.surfaces.bought_together import bought_together
from training.retrieval.surfaces.rows import UsableRows
from training.retrieval.surfaces.settings import (
    DEFAULT_TOGETHER,
    DEFAULT_TREND,
    BoughtTogetherSettings,
    TrendingSettings,
)
from training.retrieval.surfaces.trending import trending

Ints = npt.NDArray[np.integer]

logger = logging.getLogger(__name__)


def write_surface_tables(
    directory: Path,
    rows: UsableRows,
    *,
    candidates: Ints,
    engine: EngineSettings = EngineSettings(),
    together: BoughtTogetherSettings = DEFAULT_TOGETHER,
    trend: TrendingSettings = DEFAULT_TREND,
) -> None:
    """Write ``BOUGHT_TOGETHER`` and ``TRENDING`` of ``features.release.layout``.

    Args:
        directory: of the part's draft.
        rows: what may be learned from.
        candidates: item codes that may be shown.
        engine: memory limit and threads.
        together: settings of the first table.
        trend: settings of the second.

    Raises:
        ConfigError: the memory limit is too low for the log.
    """
    started, catalog = time.perf_counter(), rows.features.catalog
    # Beside the draft, not in it: a part lists each file that its directory holds.
    with memory_explained(engine), private_connection(engine, beside=Path(directory).parent) as connection:
        rows.define(connection)
        neighbours = bought_together(connection, catalog, candidates=candidates, settings=together)
        rising = trending(connection, catalog, candidates=candidates, as_of_us=rows.as_of_us, settings=trend)
    neighbours.to_parquet(Path(directory) / layout.BOUGHT_TOGETHER, index=False)
    rising.to_parquet(Path(directory) / layout.TRENDING, index=False)
    logger.info(
        "surfaces: %d items with complements of their own, %d through their category, %d trending, %.1f s",
        neighbours.loc[neighbours["support"] > 0, "item_code"].nunique(),
        neighbours.loc[neighbours["support"] == 0, "item_code"].nunique(),
        len(rising),
        time.perf_counter() - started,
    )
