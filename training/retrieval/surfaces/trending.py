"""What gains ground now: recent customers of each item against as many as its longer run would bring.

    visitors   a customer counts once an item and day, whatever the customer did with it
    recent_i   sum over visitors of 2^-(age / 7 days)
    usual_i    sum over visitors of 2^-(age / 56 days)
    expected_i usual_i * (sum of recent / sum of usual)       the whole shop's growth is nobody's trend
    growth_i   (recent_i + m) / (expected_i + m)              m visitors without growth hold small items back
    score_i    recent_i * log(growth_i)                       how many, times how much more than usual

The shrunk ratio is a gamma-Poisson posterior mean with prior mean 1 (DuMouchel 1999, "Bayesian data mining in large
frequency tables", The American Statistician 53).
"""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features.catalog import ItemCatalog
from training.retrieval.surfaces.settings import DEFAULT_TREND, TrendingSettings

Ints = npt.NDArray[np.integer]
_DAY_US = 86_400_000_000


def trending(
    connection: duckdb.DuckDBPyConnection,
    catalog: ItemCatalog,
    *,
    candidates: Ints,
    as_of_us: int = 0,
    settings: TrendingSettings = DEFAULT_TREND,
) -> pd.DataFrame:
    """Return what gains ground, best first: ``item_code`` int32, ``score`` float32, ``category``.

    Only items that gain stand in it, at most ``max_items`` of a top-level category.

    Args:
        connection: holds the view ``usable`` (see ``UsableRows.define``).
        catalog: gives the categories.
        candidates: item codes that may be shown.
        as_of_us: now, UTC microseconds; the last usable event where 0.
        settings: half-lives and prior.
    """
    top = np.array([str(path).split("/")[0] for path in catalog.category[candidates]], object)
    shown = pa.table({"item": pa.array(candidates, pa.int32()), "top": pa.array(top, pa.string())})
    connection.register("shown", shown)
    now = str(as_of_us) if as_of_us else "(SELECT max(ts_us) FROM visitors)"
    decayed = ", ".join(
        f"sum(pow(2, ({now} - ts_us) / {-days * _DAY_US})) AS {name}"
        for name, days in (("recent", settings.recent_days), ("usual", settings.usual_days))
    )
    # Every sum is rounded once, so that the order in which threads add up changes no rank.
    frame = connection.sql(f"""
        WITH visitors AS (
            SELECT item, user_id, local_day, max(ts_us) AS ts_us FROM usable
            WHERE event_type NOT IN ('impression', 'remove_from_cart', 'refund') GROUP BY ALL
        ), rates AS (
            SELECT item, round(recent, 6) AS recent, round(usual, 6) AS usual
            FROM (SELECT item, {decayed} FROM visitors GROUP BY item)
        ), grown AS (
            SELECT item, recent,
                   (recent + {settings.prior_visitors})
                       / (usual * (SELECT sum(recent) / sum(usual) FROM rates) + {settings.prior_visitors}) AS growth
            FROM rates
        )
        SELECT item AS item_code, (recent * ln(growth))::FLOAT AS score
        FROM grown JOIN shown USING (item) WHERE growth > 1
        QUALIFY row_number() OVER (PARTITION BY top ORDER BY score DESC, item) <= {settings.max_items}
        ORDER BY score DESC, item_code""").df()
    return frame.assign(category=catalog.category[frame["item_code"].to_numpy()])
