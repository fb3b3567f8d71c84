"""Consent by user and purpose: one rule, read by the event log when it is built and by the service at each lookup.

Consent holds from the first grant after the last withdrawal:

    grant 1 May, withdrawal 3 May, grant 7 May     from 7 May on; what happened on 1 May was withdrawn
    grant and withdrawal at one instant            withdrawn
    no row for this user or purpose                never: where consents are kept, silence grants nothing
    no consents table at all                       the shop's ``consent_default``, from the beginning

A data directory may hold ``served_consents.parquet`` as well, what customers said to the service. It counts like rows of
the shop's table, and stands in for none: where the shop keeps no table, ``consent_default`` holds for who said nothing,
and what was said changes it from its instant on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.contract.read import define_empty_table, define_table
from features.contract.tables import CONSENTS
from features.engine import private_connection
from features.errors import ConfigError, DataError
from features.files import staged_file
from features.identity.resolve import define_customers, resolved_table
from features.settings import EngineSettings, ShopSettings
from features.vocabulary import FIRST, Vocabulary

NEVER: Final = int(np.iinfo(np.int64).max)  # UTC microseconds after every instant
ALWAYS: Final = int(np.iinfo(np.int64).min)  # and before
CONSENTS_FILE: Final = "consents.parquet"
SERVED_CONSENTS_FILE: Final = "served_consents.parquet"
_METADATA_KEY: Final = b"footfall_consents"
# Of each purpose: the instants, and what stands for one that there is not.
_INSTANTS: Final = {"withdrawn": ALWAYS, "from": NEVER, "last": ALWAYS}
_COLUMNS: Final = tuple(f"{purpose}_{instant}" for purpose in c.PURPOSES for instant in _INSTANTS)

logger = logging.getLogger(__name__)


def read_consents(
    connection: duckdb.DuckDBPyConnection, data: Path, *, shop: ShopSettings, by_customer: bool = False
) -> bool:
    """Make table ``consent`` (see ``define_consent``) from a data directory.

    Args:
        connection: where the table is made.
        data: the directory.
        shop: its ``consent_default`` holds where the shop keeps no consents.
        by_customer: whether what any id of a customer said counts for the customer, from its instant on; the
            connection then holds the tables of ``features.identity.resolve.define_customers``.

    Returns:
        Whether users whom the table does not name have consented.

    Raises:
        DataError: a file breaks the contract.
    """
    for name, view in ((CONSENTS_FILE, "kept_consents"), (SERVED_CONSENTS_FILE, "served_consents")):
        if (Path(data) / name).exists():
            define_table(connection, Path(data) / name, CONSENTS, view=view)
        else:
            define_empty_table(connection, CONSENTS, view=view)
    connection.execute("CREATE TEMP VIEW source_consents AS FROM kept_consents UNION ALL FROM served_consents")
    said = f"({resolved_table('source_consents')})" if by_customer else "source_consents"
    connection.execute(f'CREATE TEMP VIEW said_consents AS SELECT user_id, purpose, granted, "at" FROM {said}')
    otherwise = not (Path(data) / CONSENTS_FILE).exists() and shop.consent_default == "granted"
    purposes = ", ".join(f"('{purpose}')" for purpose in c.PURPOSES)
    by_default = f"""UNION ALL SELECT user_id, purpose, true, '-infinity'::TIMESTAMPTZ
        FROM (SELECT DISTINCT user_id FROM said_consents), (VALUES {purposes}) purposes(purpose)"""
    define_consent(connection, source=f"(FROM said_consents {by_default if otherwise else ''})")
    return otherwise


def define_consent(connection: duckdb.DuckDBPyConnection, *, source: str) -> None:
    """Make table ``consent``: one row a user, and of each purpose three instants.

    ``analytics_withdrawn``: of the last withdrawal; ``analytics_from``: from which on consent holds, infinity where it
    never does, -infinity where it always did; ``analytics_last``: of the last grant. NULL where nothing is said.

    Args:
        connection: where the table is made.
        source: a view with the contract's columns of ``consents``.
    """
    by_purpose = ", ".join(
        f"max({instant}) FILTER (purpose = '{p}') AS {p}_{name}"
        for p in c.PURPOSES
        for name, instant in (("withdrawn", "withdrawn_at"), ("from", "valid_from"), ("last", "granted_at"))
    )
    connection.execute(f"""
        CREATE TEMP TABLE consent AS
        WITH withdrawal AS (
            SELECT user_id, purpose, max("at") FILTER (NOT granted) AS withdrawn_at FROM {source} GROUP BY ALL
        ), validity AS (
            SELECT user_id, purpose, any_value(withdrawn_at) AS withdrawn_at, max("at") FILTER (granted) AS granted_at,
                   coalesce(min("at") FILTER (granted AND (withdrawn_at IS NULL OR "at" > withdrawn_at)),
                            'infinity'::TIMESTAMPTZ) AS valid_from
            FROM {source} JOIN withdrawal USING (user_id, purpose) GROUP BY ALL
        )
        SELECT user_id, {by_purpose} FROM validity GROUP BY user_id""")


@dataclass(frozen=True, kw_only=True)
class Consent:
    """One user's consent to one purpose. Instants are UTC microseconds.

    Args:
        withdrawn_us: of the last withdrawal, ``ALWAYS`` where there is none.
        from_us: from which on it holds, ``NEVER`` where it does not.
        last_us: of the last grant, ``ALWAYS`` where there is none.
    """

    withdrawn_us: int = ALWAYS
    from_us: int = NEVER
    last_us: int = ALWAYS

    def holds(self, at_us: int) -> bool:
        """Whether what happens at an instant may serve the purpose."""
        return at_us >= self.from_us

    def after(self, changes: Iterable[tuple[int, bool]]) -> Consent:
        """Return the consent with further ``(at_us, granted)`` rows, in any order, under the same rule.

        Rows that repeat what is known change nothing. Between two known grants a withdrawal counts from the later
        one, since no others are kept: never too early.

        >>> Consent().after([(1, True), (3, False), (7, True)]).from_us
        7
        """
        rows = list(changes)
        withdrawn = max([self.withdrawn_us, *(at for at, granted in rows if not granted)])
        grants = [self.from_us, self.last_us, *(at for at, granted in rows if granted)]
        default = [ALWAYS] if self.from_us == ALWAYS and withdrawn == ALWAYS else []  # the shop's, never withdrawn
        valid = [at for at in grants if withdrawn < at < NEVER]
        return Consent(
            withdrawn_us=withdrawn,
            from_us=min([*default, *valid], default=NEVER),
            last_us=max([self.last_us, *(at for at, granted in rows if granted)]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ConsentBook:
    """All that a shop's consents table says, by user and purpose.

    Args:
        users: who is named in it; row ``r`` is code ``r + 2``.
        instants: int64 ``[U, 6]``: ``withdrawn``, ``from`` and ``last`` of analytics, then of personalisation.
        otherwise: whether users whom it does not name have consented.
    """

    users: Vocabulary
    instants: npt.NDArray[np.int64]
    otherwise: bool

    def __post_init__(self) -> None:
        if self.instants.shape != (len(self.users.ids), len(_COLUMNS)):
            raise DataError(
                f"ConsentBook: expected {len(_COLUMNS)} instants of each of {len(self.users.ids)} users, found "
                f"{self.instants.shape}."
            )

    def __len__(self) -> int:
        return len(self.users.ids)

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.users

    @classmethod
    def of_default(cls, *, granted: bool) -> ConsentBook:
        """Return the book of a shop that keeps no consents: one answer for everyone."""
        return cls(users=Vocabulary.from_ids([]), instants=np.zeros((0, len(_COLUMNS)), np.int64), otherwise=granted)

    @classmethod
    def build(
        cls,
        data: Path,
        *,
        shop: ShopSettings,
        engine: EngineSettings = EngineSettings(),
        identity: Path | None = None,
        spill: Path | None = None,
    ) -> ConsentBook:
        """Read the consents of a data directory.

        Args:
            data: a data directory.
            shop: its ``consent_default`` holds where the shop keeps none.
            engine: memory limit, threads.
            identity: directory of the identity stage, so that users are customers; ``None`` where it wrote none.
            spill: directory to spill in where the engine's settings name none; beside the data where ``None``.

        Raises:
            DataError: a file breaks the contract.
        """
        if not any((Path(data) / name).exists() for name in (CONSENTS_FILE, SERVED_CONSENTS_FILE)):
            return cls.of_default(granted=shop.consent_default == "granted")
        with private_connection(engine, beside=Path(spill or data)) as connection:
            if identity is not None:
                define_customers(connection, identity)
            otherwise = read_consents(connection, Path(data), shop=shop, by_customer=identity is not None)
            book = cls.from_relation(connection.table("consent"), otherwise=otherwise)
        logger.info("consents: %d users are named", len(book))
        return book

    @classmethod
    def from_relation(cls, consent: duckdb.DuckDBPyRelation, *, otherwise: bool = False) -> ConsentBook:
        """Build from the table that ``define_consent`` makes."""
        columns = ", ".join(
            f"CASE WHEN isfinite({name}) THEN epoch_us({name}) WHEN {name} < 'epoch'::TIMESTAMPTZ THEN {ALWAYS} END AS {name}"
            for name in _COLUMNS
        )
        return cls._from_table(
            consent.project(f"user_id, {columns}").order("user_id").to_arrow_table(), otherwise=otherwise
        )

    def of(self, user_id: str, purpose: str) -> Consent:
        """Return one user's consent to one purpose.

        Raises:
            ConfigError: there is no such purpose.
        """
        if purpose not in c.PURPOSES:
            raise ConfigError(f"purpose: expected one of {c.PURPOSES}, found {purpose!r}.")
        code = self.users.code_of(user_id)
        if code < FIRST:
            return Consent(from_us=ALWAYS if self.otherwise else NEVER)
        first = c.PURPOSES.index(purpose) * len(_INSTANTS)
        withdrawn, since, last = self.instants[code - FIRST, first : first + len(_INSTANTS)].tolist()
        return Consent(withdrawn_us=withdrawn, from_us=since, last_us=last)

    def allows(self, user_id: str, purpose: str, at_us: int) -> bool:
        """Whether what a user does at an instant, UTC microseconds, may serve a purpose.

        Raises:
            ConfigError: there is no such purpose.
        """
        return self.of(user_id, purpose).holds(at_us)

    def holding(
        self, user_ids: Sequence[str] | npt.NDArray[np.object_], purpose: str, at_us: int
    ) -> npt.NDArray[np.bool_]:
        """Return, for many users at once, what ``allows`` returns, bool ``[N]``."""
        rows = self.users.encode(user_ids).astype(np.int64) - FIRST
        held = np.full(len(rows), self.otherwise)
        since = self.instants[:, _COLUMNS.index(f"{purpose}_from")]
        held[rows >= 0] = since[rows[rows >= 0]] <= at_us
        return held

    def instants_of(
        self, user_ids: Sequence[str] | npt.NDArray[np.object_], purpose: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return, of many users, ``withdrawn_us`` and ``from_us`` of what ``of`` returns, int64 ``[N]`` each."""
        withdrawn = np.full(len(user_ids), ALWAYS)
        since = np.full(len(user_ids), ALWAYS if self.otherwise else NEVER)
        if len(self):
            rows = self.users.encode(user_ids).astype(np.int64) - FIRST
            first, named = c.PURPOSES.index(purpose) * len(_INSTANTS), rows >= 0
            withdrawn[named], since[named] = self.instants[rows[named], first : first + 2].T
        return withdrawn, since

    def since(self, purpose: str) -> pa.Table:
        """Return user_id and from_us, since when consent of each user who is named holds: int64, ``NEVER``, ``ALWAYS``."""
        since = self.instants[:, _COLUMNS.index(f"{purpose}_from")]
        return pa.table({c.USER_ID: pa.array(self.users.ids, pa.string()), "from_us": pa.array(since, pa.int64())})

    def without(self, forgotten: Container[str]) -> ConsentBook:
        """Return the book without some users' rows."""
        kept = np.array([user not in forgotten for user in self.users.ids], dtype=bool)
        users = Vocabulary.from_ids(self.users.ids[kept])
        return ConsentBook(users=users, instants=self.instants[kept], otherwise=self.otherwise)

    def save(self, path: Path) -> None:
        """Write one Parquet file, whole or not at all; an instant that there is not is NULL."""
        arrays = {
            name: pa.array(self.instants[:, column], pa.int64(), mask=self.instants[:, column] == _absent(name))
            for column, name in enumerate(_COLUMNS)
        }
        table = pa.table({c.USER_ID: pa.array(self.users.ids, pa.string()), **arrays})
        metadata = {_METADATA_KEY: json.dumps({"otherwise": self.otherwise}).encode()}
        with staged_file(path) as aside:
            pq.write_table(table.replace_schema_metadata(metadata), aside)

    @classmethod
    def load(cls, path: Path) -> ConsentBook:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing or is not a consent book.
        """
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[_METADATA_KEY])
            return cls._from_table(table, otherwise=bool(about["otherwise"]))
        except Exception as error:
            raise DataError(f"{path}: expected a consent book, found {type(error).__name__} ({error}).") from None

    @staticmethod
    def otherwise_of(path: Path) -> bool:
        """Return what a saved book says of users whom it does not name; no row is read."""
        return bool(json.loads(pq.read_schema(path).metadata[_METADATA_KEY])["otherwise"])

    @classmethod
    def _from_table(cls, table: pa.Table, *, otherwise: bool) -> ConsentBook:
        columns = [table[name].fill_null(_absent(name)).to_numpy().astype(np.int64) for name in _COLUMNS]
        users = Vocabulary.from_ids(table[c.USER_ID].to_pylist())
        return cls(users=users, instants=np.stack(columns, axis=1), otherwise=otherwise)


def _absent(column: str) -> int:
    return _INSTANTS[column.rpartition("_")[2]]
