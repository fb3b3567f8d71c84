"""Which rows of the event log the surface tables may be made from."""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import columns as c
from features.build import FeatureSet
from features.release.erasure import ErasedUsers
from features.splits import Holdout
from features.vocabulary import FIRST

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class UsableRows:
    """Item events that may be used for personalisation, before a cut-off, of users who are not to be forgotten.

    Args:
        features: a feature directory.
        erased: users who teach nothing.
        as_of_us: events before it count, UTC microseconds; 0 for all.
        until_us: a cut-off of each user's own, int64 ``[U]`` by row of the sequences, for leave-one-out splits.
    """

    features: FeatureSet
    erased: ErasedUsers = field(default_factory=ErasedUsers)
    as_of_us: int = 0
    until_us: Ints | None = None

    @classmethod
    def of(
        cls, features: FeatureSet, *, erased: ErasedUsers, as_of_us: int, held_out: Holdout | None = None
    ) -> UsableRows:
        """Return what a part may know that was learned up to ``as_of_us``.

        Args:
            features: a feature directory.
            erased: users who teach nothing.
            as_of_us: where the fit ends, UTC microseconds; 0 where no one instant divides fit from test.
            held_out: the validation, which says where the fit of each asked user ends in that case.
        """
        if as_of_us or held_out is None:
            return cls(features=features, erased=erased, as_of_us=as_of_us)
        until = np.full(features.sequences.num_users, np.iinfo(np.int64).max)
        until[held_out.users] = held_out.targets.ts[held_out.targets.offsets[:-1]]
        return cls(features=features, erased=erased, until_us=until)

    def define(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make view ``usable``: ``user_id, item, event_type, ts_us, local_day, order_id, session_id``."""
        self.features.event_log.relation(connection, purpose=c.PERSONALISATION).create_view("allowed", replace=True)
        ids = self.features.vocabulary.ids
        codes = np.arange(FIRST, FIRST + len(ids), dtype=np.int32)
        connection.register("item_codes", pa.table({c.ITEM_ID: pa.array(ids, pa.string()), "item": codes}))
        connection.register("own_cutoffs", self._own_cutoffs(connection))
        before = f"AND epoch_us(ts) < {self.as_of_us}" if self.as_of_us else ""
        connection.execute(f"""
            CREATE OR REPLACE TEMP VIEW usable AS
            SELECT user_id, item, event_type, epoch_us(ts) AS ts_us, local_day, order_id, session_id
            FROM allowed JOIN item_codes USING (item_id) LEFT JOIN own_cutoffs USING (user_id)
            WHERE (until_us IS NULL OR epoch_us(ts) < until_us) {before}""")

    def _own_cutoffs(self, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        """Return ``user_id, until_us`` of users with a cut-off of their own; an erased user's lies before time began."""
        until: dict[str, int] = {}
        if self.until_us is not None:
            until = dict(zip(self.features.users.ids, self.until_us.tolist(), strict=True))
        if len(self.erased):
            known = connection.sql("SELECT DISTINCT user_id FROM allowed").to_arrow_table()[c.USER_ID].to_pylist()
            until |= {user: np.iinfo(np.int64).min for user in known if user in self.erased}
        return pa.table(
            {c.USER_ID: pa.array(list(until), pa.string()), "until_us": pa.array(until.values(), pa.int64())}
        )
