"""From an engine's frame to pandas: for results that are small, such as counts by day."""

from __future__ import annotations

from typing import Any, cast

import pandas as pd


def collected(native: object) -> pd.DataFrame:
    """Return a frame of pandas, DuckDB or PySpark as pandas, days as ``datetime64``.

    PySpark's own ``toPandas`` does not yet know pandas 3: frames go through Arrow.
    """
    if isinstance(native, pd.DataFrame):
        return native.copy()
    frame = cast(Any, native)
    table = frame.toArrow() if hasattr(frame, "toArrow") else frame.to_arrow_table()
    return cast(pd.DataFrame, table.to_pandas(date_as_object=False))
