"""The contract's tables of a directory as views in DuckDB, and queries that can do nothing but read them.

events      rows of the event log that may serve the purpose; of a data directory, rows as they arrived
items, users, coupons, spend, ...     as far as there are files of them
customers   the customer table, of a feature directory
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features import columns as c
from features.asides import scratch_directory
from features.build import EVENT_LOG_FILE
from features.contract.tables import TABLES
from features.engine import private_connection, sql_name, sql_text
from features.errors import ConfigError, DataError, did_you_mean
from features.event_log import purpose_flag
from features.files import staged_file
from features.parquet import files_of, is_table, scan
from features.settings import EngineSettings

_EXPLAINS: Final = re.compile(r"^\s*EXPLAIN(\s+ANALYZE)?", re.IGNORECASE)
_BATCH_ROWS: Final = 100_000
EVENTS: Final = "events"
CUSTOMERS: Final = "customers"


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadOnlyTables:
    """An open session.

    Args:
        connection: in UTC; it can reach the files of its tables and nothing else.
        files: view -> file.
        consented: whether ``events`` holds only rows whose customers agreed to the purpose.
    """

    connection: duckdb.DuckDBPyConnection
    files: dict[str, Path]
    consented: bool

    @classmethod
    @contextmanager
    def open(
        cls,
        directory: Path,
        *,
        data: Path | None = None,
        purpose: str = c.ANALYTICS,
        engine: EngineSettings = EngineSettings(),
        beside: Path | None = None,
    ) -> Iterator[ReadOnlyTables]:
        """Yield a session over a feature directory or a data directory.

        Args:
            directory: what ``footfall features`` or ``footfall data`` wrote.
            data: the data directory of those features, for coupons, spend and the like.
            purpose: what rows of the event log must serve.
            engine: memory limit and threads.
            beside: directory to spill in; ``directory`` where left out.

        Raises:
            DataError: there is no table of the contract, or a file of one is damaged.
        """
        files, beside = _files(directory, data), beside or directory
        consented = files[EVENTS].name == EVENT_LOG_FILE
        with (
            private_connection(engine, beside=beside) as connection,
            scratch_directory(Path(beside), "consented") as scratch,
        ):
            try:
                if consented:
                    files[EVENTS] = _consented(connection, files[EVENTS], purpose_flag(purpose), scratch)
                for name, path in files.items():
                    rows = f"SELECT * FROM {scan(path.resolve())}"
                    connection.execute(f"CREATE VIEW {sql_name(name)} AS {rows}")
            except duckdb.Error as error:
                raise DataError(f"{directory}: expected Parquet files of tables, found {_first_line(error)}") from None
            listed = ", ".join(sql_text(file) for path in files.values() for file in files_of(path.resolve()))
            connection.execute(f"SET allowed_paths = [{listed}]; SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield cls(connection=connection, files=files, consented=consented)

    def query(self, text: str, *, limit: int | None = None) -> pa.Table:
        """Return the rows of a query.

        Args:
            text: one statement that reads: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN.
            limit: the most rows that are wanted; all of them where left out.

        Raises:
            ConfigError: it does something else, is no SQL, or names what there is not.
        """
        with self._explained():
            rows = self._reading(text)
            return (rows if limit is None else rows.limit(limit)).to_arrow_table()

    def export(self, text: str, out: Path) -> int:
        """Write the rows of a query to a .parquet or .csv file, whole or not at all, and return how many there are.

        Raises:
            ConfigError: see ``query``; or the file's name ends otherwise.
        """
        kind = Path(out).suffix
        if kind not in (".parquet", ".csv"):
            raise ConfigError(f"{out}: expected a name that ends in .parquet or .csv, found {kind or 'none'}.")
        with self._explained(), staged_file(Path(out)) as aside:
            batches = self._reading(text).to_arrow_reader(_BATCH_ROWS)
            num_rows = 0
            with _writer(aside, kind, batches.schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    num_rows += batch.num_rows
        return num_rows

    def _reading(self, text: str) -> duckdb.DuckDBPyRelation:
        statements = self.connection.extract_statements(text)
        if len(statements) != 1:
            raise ConfigError(f"expected one statement, found {len(statements)}; run them one at a time.")
        if statements[0].type == duckdb.StatementType.EXPLAIN:
            self._reading(_EXPLAINS.sub("", text))  # with ANALYZE, what is explained is run
        elif statements[0].type != duckdb.StatementType.SELECT:
            found = str(statements[0].type).rsplit(".", 1)[-1]
            raise ConfigError(f"expected a statement that reads (SELECT, FROM, WITH, DESCRIBE), found {found}.")
        return self.connection.sql(text)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except duckdb.CatalogException as error:
            raise ConfigError(f"{_first_line(error)} Tables are {', '.join(self.files)}.{self._meant(error)}") from None
        except duckdb.Error as error:
            raise ConfigError(f"expected SQL that DuckDB can run, found: {_first_line(error)}") from None
        except pa.ArrowException as error:
            raise ConfigError(f"expected columns that such a file can hold, found: {_first_line(error)}") from None

    def _meant(self, error: duckdb.Error) -> str:
        words = str(error).split("name ")
        return did_you_mean(words[1].split(" ")[0], self.files) if len(words) > 1 else ""


def _files(directory: Path, data: Path | None) -> dict[str, Path]:
    directory, log = Path(directory), Path(directory) / EVENT_LOG_FILE
    # Of a feature directory users.parquet is a vocabulary.
    own = [name for name in TABLES if name != "users"] if is_table(log) else list(TABLES)
    found = {} if data is None else _present(Path(data), TABLES)
    found |= _present(directory, own)
    if is_table(log):
        found |= {EVENTS: log} | _present(directory, [CUSTOMERS])
    if EVENTS not in found:
        raise DataError(
            f"{directory}: expected a directory that `footfall features` or `footfall data` wrote, with events in it, "
            "found none."
        )
    return dict(sorted(found.items()))


def _consented(connection: duckdb.DuckDBPyConnection, log: Path, flag: str, scratch: Path) -> Path:
    """Return a file of the rows that may serve a purpose: the log itself, or without the others a copy.

    A query may read any file that a view reads, so the log with all its rows must not be one of them.
    """
    rows = f"FROM {scan(log)}"
    [[refused]] = connection.execute(f"SELECT count(*) {rows} WHERE NOT coalesce({flag}, false)").fetchall()
    if not refused:
        return log
    kept = scratch / "events.parquet"
    connection.execute(f"COPY ({rows} WHERE {flag}) TO {sql_text(kept)} (FORMAT parquet)")
    return kept


def _present(directory: Path, names: Iterable[str]) -> dict[str, Path]:
    return {name: path for name in names if is_table(path := directory / f"{name}.parquet")}


def _writer(path: Path, kind: str, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(path, schema) if kind == ".parquet" else pa_csv.CSVWriter(path, schema)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
