"""A log of a few baskets, and the surface tables made from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.build import FeatureSet
from features.contract.data_directory import write_data_directory
from features.engine import connect
from features.settings import EngineSettings, ShopSettings
from features.vocabulary import FIRST
from tests.features.model_features import build_model_features
from training.retrieval.surfaces import BoughtTogetherSettings, TrendingSettings, UsableRows, bought_together, trending
from training.retrieval.surfaces.settings import DEFAULT_TOGETHER, DEFAULT_TREND

ENGINE = EngineSettings(threads=1)
START = pd.Timestamp("2024-03-01 12:00", tz="UTC")
DAY_US = 86_400_000_000


def row(user: str, kind: str, item: str, day: float, *, order: str | None = None, session: str | None = None) -> Any:
    return {
        "user_id": user,
        "event_type": kind,
        "ts": START + pd.Timedelta(days=day),
        "item_id": item,
        "order_id": order,
        "session_id": session,
    }


def baskets_of(content: Iterable[Iterable[str]], *, first_user: int = 0) -> list[Any]:
    """One customer and one order a basket, an hour apart."""
    return [
        row(f"u{number:05d}", "purchase", item, number / 24, order=f"o{number}")
        for number, items in enumerate(content, start=first_user)
        for item in items
    ]


class World:
    """A feature directory and the rows it was made from."""

    def __init__(self, root: Path, rows: list[Any], categories: dict[str, str] | None = None) -> None:
        events = pd.DataFrame(rows)
        events["event_id"] = [f"e{number}" for number in range(len(events))]
        events["quantity"] = 1
        named = sorted(set(events["item_id"]) | set(categories or {}))
        shelf = [(categories or {}).get(item) for item in named]
        items = pd.DataFrame({"item_id": named, "category": pd.Series(shelf, dtype=object), "title": named})
        tables = {"events": events, "items": items}
        write_data_directory(root / "data", tables, shop=ShopSettings(), source="test", engine=ENGINE)
        build_model_features(root / "data", root / "features", engine=ENGINE)
        self.features = FeatureSet.load(root / "features")
        self.root, self.rows = root, rows

    def everything(self) -> np.ndarray:
        return np.arange(FIRST, len(self.features.catalog))

    def together(
        self, settings: BoughtTogetherSettings = DEFAULT_TOGETHER, *, candidates: Any = None, **rows: Any
    ) -> pd.DataFrame:
        """Return the table with ids."""
        connection = connect(ENGINE, spill=self.root / "spill")
        UsableRows(features=self.features, **rows).define(connection)
        shown = self.everything() if candidates is None else candidates
        frame = bought_together(connection, self.features.catalog, candidates=shown, settings=settings)
        decode = self.features.vocabulary.decode
        return frame.assign(item=decode(frame["item_code"]), neighbour=decode(frame["neighbour_code"]))

    def trending(self, settings: TrendingSettings = DEFAULT_TREND, **rows: Any) -> pd.DataFrame:
        connection = connect(ENGINE, spill=self.root / "spill")
        usable = UsableRows(features=self.features, **rows)
        usable.define(connection)
        frame = trending(
            connection,
            self.features.catalog,
            candidates=self.everything(),
            as_of_us=usable.as_of_us,
            settings=settings,
        )
        return frame.assign(item=self.features.vocabulary.decode(frame["item_code"]))


def own(frame: pd.DataFrame, item: str) -> list[str]:
    """Neighbours that baskets speak for."""
    return frame.loc[(frame["item"] == item) & (frame["support"] > 0), "neighbour"].tolist()


def listed(frame: pd.DataFrame, item: str) -> list[str]:
    return frame.loc[frame["item"] == item, "neighbour"].tolist()
