"""Results of three engines, brought to one form."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import pandas as pd


def start_spark() -> Any:
    """A Spark session for tiny tables, in UTC."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 (only tests that ask for it need it)

    options = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.sql.codegen.wholeStage": "false",  # tiny tables: compiling would take longer than running
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.constraintPropagation.enabled": "false",  # costs most of the planning of deep queries
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of workers that run Python
    builder = SparkSession.builder.master("local[1]").appName("footfall-tests")
    session = builder.config(map=options).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def canonical(native: Any, keys: list[str]) -> pd.DataFrame:
    """Rows in order of the keys, as pandas; frames of PySpark and DuckDB go through Arrow."""
    if hasattr(native, "toArrow"):
        native = native.toArrow().to_pandas(date_as_object=False)
    elif hasattr(native, "to_arrow_table"):
        native = native.to_arrow_table().to_pandas(date_as_object=False)
    frame = native.sort_values(keys).reset_index(drop=True)
    days = [name for name in frame if name.endswith("_day")]
    return frame.astype(dict.fromkeys(days, "datetime64[us]"))


def assert_equal_tables(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Integers and texts exactly, floats to 1e-9 relative."""
    assert list(one.columns) == list(other.columns)
    assert len(one) == len(other)
    for name in one:
        left, right = one[name], other[name]
        if pd.api.types.is_float_dtype(left) or pd.api.types.is_float_dtype(right):
            np.testing.assert_allclose(left.to_numpy(float), right.to_numpy(float), rtol=1e-9, atol=0, err_msg=name)
        else:
            assert left.isna().tolist() == right.isna().tolist(), name
            assert left.dropna().tolist() == right.dropna().tolist(), name
