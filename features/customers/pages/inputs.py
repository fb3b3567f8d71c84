"""What the pages read beside a feature directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from features import columns as c
from features.errors import DataError
from features.files import read_json


def read_validation(path: Path) -> dict[str, Any]:
    """Return what ``footfall tags validate`` wrote.

    Raises:
        DataError: the file is something else.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not {"tags", "settings"} <= set(found):
        raise DataError(f"{path}: expected what `footfall tags validate` wrote, found other JSON; run it again.")
    return found


def read_places(path: Path) -> pd.DataFrame:
    """Return the places of regions: region, latitude, longitude in degrees.

    Raises:
        DataError: the file cannot be read, lacks a column, or holds no number where one must be.
    """
    try:
        found = pd.read_csv(path, dtype={c.REGION: str})[[c.REGION, "latitude", "longitude"]]
        return found.astype({"latitude": float, "longitude": float}).drop_duplicates(c.REGION)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected CSV with region, latitude, longitude, found something else ({error})."
        ) from None
