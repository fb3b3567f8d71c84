"""Data frames as Arrow tables and Parquet files, their instants in UTC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def arrow_table(frame: pd.DataFrame) -> pa.Table:
    """Return a frame as an Arrow table; its zoned instants become instants in UTC, and the index is left out.

    pyarrow 25 asks pandas 3.1 for the values of zoned columns in a way that pandas gives up, so they go without a zone.
    """
    zoned = [name for name in frame if isinstance(frame[name].dtype, pd.DatetimeTZDtype)]
    plain = frame.assign(**{str(name): frame[name].dt.tz_convert(None) for name in zoned})
    table = pa.Table.from_pandas(plain, preserve_index=False)
    for name in zoned:
        place = table.schema.get_field_index(str(name))
        column = table.column(place)
        table = table.set_column(place, str(name), column.cast(pa.timestamp(column.type.unit, tz="UTC")))
    return table


def write_parquet(frame: pd.DataFrame, path: Path, **options: Any) -> None:
    """Write a frame as one Parquet file.

    Args:
        frame: the rows.
        path: the file, replaced where there is one; stage it where a reader may come.
        options: of ``pyarrow.parquet.write_table``.
    """
    pq.write_table(arrow_table(frame), path, **options)
