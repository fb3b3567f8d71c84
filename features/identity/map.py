"""The identity map: which customer an id belongs to. Personal data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.parquet as pq

from features.arrow import arrow_table
from features.errors import DataError
from features.files import staged_file
from features.identity.graph import CUSTOMER_ID, ID_COLUMNS
from features.identity.settings import IdentitySettings

_METADATA_KEY: Final = b"footfall_identity"


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityMap:
    """Ids and their customers; an id that it does not hold is its own customer.

    Args:
        frame: ``ID_COLUMNS``, one row an id and type, sorted by both.
        settings: what the ids were linked with.
        about: counts and alarms of the build.
    """

    frame: pd.DataFrame
    settings: IdentitySettings = field(default_factory=IdentitySettings)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in ID_COLUMNS if name not in self.frame]
        if missing:
            raise DataError(f"IdentityMap: expected columns {list(ID_COLUMNS)}, found none called {missing[0]!r}.")
        if self.frame.duplicated(["id", "id_type"]).any():
            raise DataError("IdentityMap: expected one row an id and type, found one twice; deduplicate first.")

    def __len__(self) -> int:
        return len(self.frame)

    def resolve(self, ids: Iterable[str]) -> list[str]:
        """Return the customer of each id, the id itself where the map does not hold it.

        An id under several types is the account first, then the personal id, then the shared one.
        """
        customers = self._customers
        return [customers.get(one, one) for one in ids]

    def ids_of(self, user_id: str) -> pd.DataFrame:
        """Return all rows of the customer that an id belongs to, ``ID_COLUMNS``; none for an id without links."""
        [customer] = self.resolve([user_id])
        return self.frame[self.frame[CUSTOMER_ID] == customer].reset_index(drop=True)

    def linked(self, user_id: str) -> tuple[str, ...]:
        """Return the customer that an id belongs to and all ids of that customer, sorted; quick, for lookups."""
        [customer] = self.resolve([user_id])
        return self._members.get(customer, (customer,))

    def save(self, path: Path) -> None:
        """Write one Parquet file, whole or not at all."""
        about = {"settings": vars(self.settings), "about": dict(self.about)}
        table = arrow_table(self.frame[list(ID_COLUMNS)])
        with staged_file(path) as aside:
            pq.write_table(table.replace_schema_metadata({_METADATA_KEY: json.dumps(about).encode()}), aside)

    @classmethod
    def load(cls, path: Path) -> IdentityMap:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing or is not an identity map.
        """
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[_METADATA_KEY])
        except Exception as error:
            raise DataError(f"{path}: expected an identity map, found {type(error).__name__} ({error}).") from None
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["settings"].items()}
        return cls(frame=table.to_pandas(), settings=IdentitySettings(**settings), about=about["about"])

    @classmethod
    def empty(cls) -> IdentityMap:
        """Return the map of a shop without links."""
        return cls(frame=pd.DataFrame({name: pd.Series([], dtype="object") for name in ID_COLUMNS}))

    @cached_property
    def _customers(self) -> dict[str, str]:
        order = type_order(self.settings)
        ranked = self.frame.assign(order=[order(name) for name in self.frame["id_type"]])
        ranked = ranked.sort_values(["order", "id_type"], ascending=False, kind="stable")
        return dict(zip(ranked["id"], ranked[CUSTOMER_ID], strict=True))  # the last, and so the first by order, stays

    @cached_property
    def _members(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for one, customer in zip(self.frame["id"], self.frame[CUSTOMER_ID], strict=True):
            found.setdefault(customer, {customer}).add(one)
        return {customer: tuple(sorted(ids)) for customer, ids in found.items() if len(ids) > 1}


def type_order(settings: IdentitySettings) -> Any:
    """Return a function that ranks types: accounts, personal ids, shared ids in their order, then the others."""
    places = {name: place for place, name in enumerate((*settings.accounts, *settings.personal, *settings.shared))}
    return lambda id_type: places.get(id_type, len(places))
