"""The identity stage of a build: evidence from a data directory, graph, map, merge log and visits, in DuckDB.

identity/map.parquet     ``IdentityMap``: id, id_type, customer_id
identity/links.parquet   evidence: one row a pair of ids, with what became of it
identity/merges.parquet  the merge log
identity/visits.parquet  anonymous instants of shared devices that an account follows
identity/about.json      counts and alarms
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from features import columns as c
from features.arrow import arrow_table
from features.contract.tables import IDENTITIES, SQL_TYPES
from features.engine import private_connection, sql_name, sql_text, utc_day
from features.errors import DataError
from features.files import write_json
from features.identity.denials import read_denials
from features.identity.evidence import combined_links, log_links, stated_links
from features.identity.graph import CUSTOMER_ID, ID_COLUMNS, JUDGED_COLUMNS, IdentityGraph
from features.identity.linking import OVERSIZED, PLACEHOLDER, SHARED, USED
from features.identity.map import IdentityMap
from features.identity.merge_log import merge_log
from features.identity.settings import DEVICE, IdentitySettings
from features.identity.visits import visits_of_accounts
from features.parquet import names_of
from features.settings import EngineSettings, ShopSettings

MAP_FILE: Final = "map.parquet"
LINKS_FILE: Final = "links.parquet"
MERGES_FILE: Final = "merges.parquet"
VISITS_FILE: Final = "visits.parquet"
ABOUT_FILE: Final = "about.json"
_EVENT_COLUMNS: Final = (c.USER_ID, c.DEVICE_ID, c.EVENT_TYPE, c.TS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KnownLinks:
    """What an earlier build linked, all of which holds still: since then rows were only added.

    Args:
        directory: that ``build_identity`` wrote, with the same settings and denials.
        event_days: UTC days, counted from 1970-01-01, whose events are new.
        identity_days: whose rows of ``identities`` are.
    """

    directory: Path
    event_days: frozenset[int]
    identity_days: frozenset[int]


def build_identity(
    data: Path,
    out: Path,
    *,
    shop: ShopSettings,
    engine: EngineSettings = EngineSettings(),
    known: KnownLinks | None = None,
) -> dict[str, Any] | None:
    """Link the ids of a data directory and write ``out``.

    With ``known`` links only what new rows touch is linked again; the result is the same.

    Args:
        data: a data directory: ``events``, and where there are any ``identities`` and denials.
        out: the directory to write; it must be empty or absent.
        shop: its ``identity`` settings.
        engine: memory limit, threads, where to spill.
        known: of an earlier build.

    Returns:
        What ``about.json`` says; ``None``, and nothing written, where identity is off or nothing links two ids.

    Raises:
        DataError: a table breaks the contract.
    """
    data, out = Path(data), Path(out)
    if not shop.identity.enabled:
        return None
    with private_connection(engine, beside=out.parent) as connection:
        events = _events(connection, data / "events.parquet")
        links = _links(connection, events, data, shop.identity, known)
        if known is None and not links.select("id_a").limit(1).fetchall():
            return None
        out.mkdir(parents=True, exist_ok=True)
        denials = connection.from_arrow(arrow_table(read_denials(data)))
        graph = _graph(connection, links, denials, shop.identity, known)
        about = _write(connection, graph, events, out, shop.identity)
    write_json(out / ABOUT_FILE, about)
    _log(about)
    return about


def _events(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    try:
        return connection.read_parquet(names_of(path)).select(*map(sql_name, _EVENT_COLUMNS))
    except duckdb.Error as error:
        raise DataError(f"{path}: expected the events of a data directory ({error}); import the data again.") from None


def _graph(
    connection: duckdb.DuckDBPyConnection,
    links: duckdb.DuckDBPyRelation,
    denials: duckdb.DuckDBPyRelation,
    settings: IdentitySettings,
    known: KnownLinks | None,
) -> IdentityGraph:
    if known is None:
        return IdentityGraph.build(links, denials, settings)
    names = ((LINKS_FILE, JUDGED_COLUMNS), (MAP_FILE, ID_COLUMNS))
    before = [connection.read_parquet(str(known.directory / file)).select(*columns) for file, columns in names]
    return IdentityGraph(links=before[0], ids=before[1]).updated(links, denials, settings)


def _links(
    connection: duckdb.DuckDBPyConnection,
    events: duckdb.DuckDBPyRelation,
    data: Path,
    settings: IdentitySettings,
    known: KnownLinks | None,
) -> duckdb.DuckDBPyRelation:
    identities = _identities(connection, data / "identities.parquet")
    if known is not None:
        events = events.filter(_on_days(c.TS, known.event_days))
        identities = identities.filter(_on_days("seen_at", known.identity_days))
    log_links(events, settings).create("links_of_log")
    stated_links(identities, settings).create("links_stated")
    combined_links(connection.table("links_of_log"), connection.table("links_stated")).create("links")
    return connection.table("links")


def _on_days(instant: str, days: Iterable[int]) -> str:
    return f"{utc_day(instant)} IN ({', '.join(map(str, sorted(days))) or 'NULL'})"


def _identities(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    if not path.exists():
        columns = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {column.name}" for column in IDENTITIES.columns)
        return connection.sql(f"SELECT {columns} WHERE false")
    try:
        return connection.read_parquet(names_of(path)).select(*map(sql_name, IDENTITIES.column_names))
    except duckdb.Error as error:
        raise DataError(f"{path}: expected the table 'identities' ({error}); import the data again.") from None


def _write(
    connection: duckdb.DuckDBPyConnection,
    graph: IdentityGraph,
    events: duckdb.DuckDBPyRelation,
    out: Path,
    settings: IdentitySettings,
) -> dict[str, Any]:
    graph.ids.create("ids")
    graph.links.create("judged")
    merge_log(graph).create("merges")
    _copy(connection, "FROM judged ORDER BY id_a, type_a, id_b, type_b", out / LINKS_FILE)
    _copy(connection, 'FROM merges ORDER BY "at", action, id_a, type_a, id_b, type_b', out / MERGES_FILE)
    connection.execute("""
        CREATE TEMP VIEW ends AS SELECT id_a AS id, type_a AS id_type, status FROM judged
        UNION ALL SELECT id_b, type_b, status FROM judged""")
    alone = f"SELECT DISTINCT id AS device_id FROM ends WHERE id_type = '{DEVICE}' AND status = '{SHARED}'"
    connection.sql(alone).create("shared_devices")
    visits_of_accounts(events, connection.table("shared_devices"), settings).create("visits")
    _copy(connection, "FROM visits ORDER BY device_id, ts", out / VISITS_FILE)
    about = _about(connection, settings)
    ids = connection.sql(f"SELECT {', '.join(ID_COLUMNS)} FROM ids ORDER BY id, id_type").to_arrow_table().to_pandas()
    IdentityMap(frame=ids, settings=settings, about=about).save(out / MAP_FILE)
    return about


def _about(connection: duckdb.DuckDBPyConnection, settings: IdentitySettings) -> dict[str, Any]:
    statuses = dict(connection.sql("SELECT status, count(*) FROM judged GROUP BY 1 ORDER BY 1").fetchall())
    [[num_ids, customers]] = connection.sql(f"SELECT count(*), count(DISTINCT {CUSTOMER_ID}) FROM ids").fetchall()
    known = [*settings.accounts, *settings.personal, *settings.shared]
    names = ", ".join(map(sql_text, known))
    unlisted = connection.sql(f"SELECT DISTINCT id_type FROM ids WHERE id_type NOT IN ({names}) ORDER BY 1").fetchall()
    return {
        "ids": num_ids,
        "customers": customers,
        "links": statuses,
        "unlisted_types": [name for (name,) in unlisted],
        "alarms": _alarms(connection, settings),
        "settings": dataclasses.asdict(settings),
    }


def _alarms(connection: duckdb.DuckDBPyConnection, settings: IdentitySettings) -> list[dict[str, Any]]:
    """One row a customer that lost links to the size limit, and one a placeholder: worth a look by a person."""
    giants = connection.sql(f"""
        SELECT neighbourhood, count(*) AS links_left_out FROM judged
        JOIN ids ON id = id_a AND id_type = type_a WHERE status = '{OVERSIZED}' GROUP BY 1 ORDER BY 2 DESC, 1""")
    placeholders = connection.sql(f"""
        SELECT id, id_type, count(*) AS n FROM ends
        WHERE status = '{PLACEHOLDER}' AND id_type IN ({", ".join(map(sql_text, settings.personal))})
        GROUP BY ALL HAVING n > {settings.max_accounts_per_id} ORDER BY n DESC, id""")
    return [
        *(
            {"alarm": "oversized", "around": around, "links_left_out": n, "max_ids": settings.max_ids}
            for around, n in giants.fetchall()
        ),
        *(
            {"alarm": "placeholder", "id": one, "id_type": kind, "links_left_out": n}
            for one, kind, n in placeholders.fetchall()
        ),
    ]


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(f"COPY ({query}) TO {sql_text(path)} (FORMAT parquet, COMPRESSION zstd)")


def _log(about: dict[str, Any]) -> None:
    statuses = about["links"]
    others = ", ".join(f"{count} {status}" for status, count in statuses.items() if status != USED)
    logger.info(
        "identity: %d links, %d used (%s); %d ids are %d customers",
        *(sum(statuses.values()), statuses.get(USED, 0), others or "none left out", about["ids"], about["customers"]),
    )
    for name in about["unlisted_types"]:
        logger.warning("identity: id type %r stands in no list of shop.yaml; it counts as shared", name)
    for alarm in about["alarms"]:
        kind = alarm["alarm"]
        logger.warning("identity: %s, %d links left out; see about.json", kind, alarm["links_left_out"])
