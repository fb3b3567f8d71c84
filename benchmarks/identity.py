"""Link the ids of the synthetic shop and compare with who really used which device.

python benchmarks/identity.py --json benchmarks/results/identity-synthetic.json

The shop's own plants: customers with up to three devices, pairs of customers who share a tablet, sessions without a
login. Planted here on top: customers who open a second account half-way, most of them under the same e-mail address,
and one placeholder address that many unrelated accounts carry. Beside the rules stand plain connected components over
the same evidence, in which a device merges whoever used it.

    device_precision, device_recall   devices joined to a customer: of those joined, the owner is right; of all
                                      unshared devices that were used, the owner is found
    account_precision, account_recall pairs of accounts that are one person, among the merged and among the planted
    people_merged                     customers that hold accounts of two or more people
    tablets_merged                    shared tablets whose two owners became one customer
    backfill_precision, backfill_recall  anonymous events that were given to a customer, and rightly
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import itertools

from benchmarks.result import write_result
from features.event_log import EventLog
from features.identity.build import MAP_FILE, VISITS_FILE, build_identity
from features.identity.map import IdentityMap
from features.identity.settings import IdentitySettings
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic import generate

ENGINE = EngineSettings(memory_limit="2GB", threads=1)
PERSONAL_DEVICES = IdentitySettings(
    personal=("union_id", "email", "email_hash", "phone", "phone_hash", "device_id"),
    shared=("cookie",),
    max_ids=1_000_000,
    max_accounts_per_id=1_000_000,
)
RULES = {
    "footfall": IdentitySettings(),
    "footfall, logins only": IdentitySettings(log_evidence="logins"),
    "footfall, visits end after a day": IdentitySettings(visit_gap_minutes=24 * 60),
    "plain connected components": PERSONAL_DEVICES,
}
SECOND_ACCOUNTS, WITH_EMAIL, PLACEHOLDER_ACCOUNTS = 0.1, 0.8, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--copies", type=int, default=14, help="how often the shop is repeated for the times")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        shop, data = Path(scratch) / "shop", Path(scratch) / "planted"
        generate(shop, num_users=options.users, num_items=200, num_days=options.days, seed=options.seed, engine=ENGINE)
        person = plant(shop, data, seed=options.seed)
        results = [score(data, shop / "truth", person, name, rules) for name, rules in RULES.items()]
        results += times(data, Path(scratch), copies=options.copies)
    write_result(
        options.json,
        benchmark="identity",
        data=f"synthetic shop, {options.users} customers, {options.days} days",
        protocol="Ids linked from the log and the identities table, compared with the planted owners",
        seeds=[options.seed],
        results=results,
    )


def plant(shop: Path, data: Path, *, seed: int) -> dict[str, str]:
    """Write the shop with second accounts and e-mail addresses; return the person behind each account."""
    data.mkdir()
    users = pd.read_parquet(shop / "users.parquet")["user_id"]
    second = users.sample(frac=SECOND_ACCOUNTS, random_state=seed)
    with_email = second.sample(frac=WITH_EMAIL, random_state=seed)
    junk = users[~users.isin(second)].sample(PLACEHOLDER_ACCOUNTS, random_state=seed)
    stated = pd.concat([_emails(with_email, "mail-" + with_email), _emails(with_email + "-2", "mail-" + with_email)])
    stated = pd.concat([stated, _emails(junk, pd.Series("mail-none", index=junk.index))])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("second", second.to_frame())
        connection.register("stated", stated)
        renamed = "CASE WHEN s.user_id IS NOT NULL AND {at} > half THEN t.{id} || '-2' ELSE t.{id} END AS {id}"
        half = f"SELECT min(ts) + (max(ts) - min(ts)) / 2 AS half FROM '{shop}/events.parquet'"
        for table, name, at, more in (
            ("events", "user_id", "t.ts", ""),
            ("identities", "id_a", "t.seen_at", " UNION ALL BY NAME FROM stated"),
        ):
            connection.execute(f"""
                COPY (SELECT t.* REPLACE ({renamed.format(at=at, id=name)}) FROM '{shop}/{table}.parquet' t
                LEFT JOIN second s ON s.user_id = t.{name}, ({half}){more}) TO '{data}/{table}.parquet'""")
    ShopSettings.load(shop).save(data)
    return dict(zip(users, users, strict=True)) | {f"{one}-2": one for one in second}


def _emails(accounts: pd.Series, emails: pd.Series) -> pd.DataFrame:
    at = pd.Timestamp("2024-06-01", tz="UTC")
    types = {"id_type_a": "user_id", "id_type_b": "email"}
    return pd.DataFrame({"id_a": accounts, "id_b": emails, "seen_at": at, **types})


def score(data: Path, truth: Path, person: dict[str, str], name: str, rules: IdentitySettings) -> dict[str, Any]:
    """Return the row of one set of rules."""
    out = Path(tempfile.mkdtemp(dir=data.parent))
    started, cpu = time.perf_counter(), time.process_time()
    shop = dataclasses.replace(ShopSettings.load(data), identity=rules)
    about = build_identity(data, out / "identity", shop=shop, engine=ENGINE)
    assert about is not None
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    identities = IdentityMap.load(out / "identity" / MAP_FILE)
    people = _people(identities, person)
    metrics = {
        **_devices(identities, people, truth, data),
        **_accounts(identities, people, person, data),
        **_tablets(people, truth),
        **_backfill(identities, people, out / "identity" / VISITS_FILE, truth, data),
        "alarms": len(about["alarms"]),
    }
    return {"model": name, "metrics": metrics, "fit_cpu_s": cpu_s, "fit_wall_s": wall_s, "config": vars(rules)}


def _people(identities: IdentityMap, person: dict[str, str]) -> dict[str, set[str]]:
    """The people behind each customer."""
    found: dict[str, set[str]] = {}
    for one, kind, customer in identities.frame[["id", "id_type", "customer_id"]].itertuples(index=False):
        if kind == "user_id":
            found.setdefault(customer, set()).add(person[one])
    return found


def _devices(identities: IdentityMap, people: dict[str, set[str]], truth: Path, data: Path) -> dict[str, float]:
    owners = pd.read_parquet(truth / "devices.parquet")
    used = pd.read_parquet(data / "events.parquet", columns=["device_id"])["device_id"].dropna().unique()
    own = owners[~owners["shared"] & owners["device_id"].isin(used)]
    found = [people.get(customer, set()) for customer in identities.resolve(own["device_id"])]
    joined = [one for one in found if one]
    right = sum(one == {owner} for one, owner in zip(found, own["user_id"], strict=True))
    return {"device_precision": right / len(joined), "device_recall": right / len(own)}


def _accounts(
    identities: IdentityMap, people: dict[str, set[str]], person: dict[str, str], data: Path
) -> dict[str, float]:
    seen = set(pd.read_parquet(data / "events.parquet", columns=["user_id"])["user_id"]) | set(identities.frame["id"])
    planted = {(f"{one}"[:-2], one) for one in person if one.endswith("-2") and {one, one[:-2]} <= seen}
    accounts = identities.frame[identities.frame["id_type"] == "user_id"]
    merged: set[tuple[str, str]] = set()
    for _, ids in accounts.groupby("customer_id")["id"]:
        listed = sorted(ids)
        merged |= {(a, b) for place, a in enumerate(listed) for b in listed[place + 1 :]}
    right = len(merged & planted)
    return {
        "account_precision": right / max(len(merged), 1),
        "account_recall": right / len(planted),
        "people_merged": sum(len(one) > 1 for one in people.values()),
    }


def _tablets(people: dict[str, set[str]], truth: Path) -> dict[str, float]:
    owners = pd.read_parquet(truth / "devices.parquet")
    pairs = owners[owners["shared"]].groupby("device_id")["user_id"].apply(set)
    together = {one: members for members in people.values() if len(members) > 1 for one in members}
    return {"tablets": len(pairs), "tablets_merged": sum(pair <= together.get(min(pair), set()) for pair in pairs)}


def _backfill(
    identities: IdentityMap, people: dict[str, set[str]], visits: Path, truth: Path, data: Path
) -> dict[str, float]:
    events = pd.read_parquet(data / "events.parquet", columns=["user_id", "device_id", "session_id", "ts"])
    events = events[events["user_id"] == events["device_id"]]
    sessions = pd.read_parquet(truth / "sessions.parquet", columns=["session_id", "user_id"])
    events = events.merge(sessions.rename(columns={"user_id": "owner"}), on="session_id")
    events = events.merge(pd.read_parquet(visits), on=["device_id", "ts"], how="left")
    given = events["account"].where(events["account"].notna(), events["device_id"])
    found = [people.get(customer, set()) for customer in identities.resolve(given)]
    right = sum(one == {owner} for one, owner in zip(found, events["owner"], strict=True))
    return {
        "backfill_precision": right / max(sum(bool(one) for one in found), 1),
        "backfill_recall": right / len(events),
    }


def times(data: Path, scratch: Path, *, copies: int) -> list[dict[str, Any]]:
    """Return what linking adds to the building of a larger log: the shop repeated, each time with ids of its own."""
    large = scratch / "large"
    large.mkdir()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table, names in (("events", ("user_id", "device_id", "event_id")), ("identities", ("id_a", "id_b"))):
            renamed = ", ".join(f"{name} || '.' || n AS {name}" for name in names)
            connection.execute(f"""
                COPY (SELECT t.* REPLACE ({renamed}) FROM '{data}/{table}.parquet' t, range({copies}) r(n))
                TO '{large}/{table}.parquet'""")
    shop = ShopSettings.load(data)
    cpu = [time.process_time()]
    EventLog.build(large, large / "plain.parquet", shop=shop, engine=ENGINE)
    cpu.append(time.process_time())
    build_identity(large, large / "identity", shop=shop, engine=ENGINE)
    cpu.append(time.process_time())
    log = EventLog.build(large, large / "log.parquet", shop=shop, engine=ENGINE, identity=large / "identity")
    cpu.append(time.process_time())
    plain, linking, linked = (after - before for before, after in itertools.pairwise(cpu))
    rows = {"event log, ids as they arrived": plain, "linking": linking, "event log by customer": linked}
    return [
        {
            "model": name,
            "surface": "times",
            "metrics": {"events": log.num_events, "ratio": seconds / plain},
            "fit_cpu_s": seconds,
        }
        for name, seconds in rows.items()
    ]


if __name__ == "__main__":
    main()
