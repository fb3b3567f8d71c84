"""The truths beside a simulated shop: written after the run, read by oracles and by recovery tests."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import DataError
from features.files import read_json, write_json
from features.sources.synthetic import calendar, campaigns
from features.sources.synthetic.identities import KINDS, SHARED
from features.sources.synthetic.items import Items
from features.sources.synthetic.prices import Prices
from features.sources.synthetic.settings import FIRST_DAY, GENERATOR_VERSION, MECHANICS, SHOP, WARNING, Floats, Ints
from features.sources.synthetic.simulation import History
from features.sources.synthetic.users import Users
from features.sources.synthetic.world import World

TRUTH: Final = "truth"
_ITEM_ARRAYS: Final = ("vectors", "centroids", "leaf_path", "department", "season_amplitude", "season_day")
_PURCHASE_KINDS: Final = ("viewed", "buy_again", "bought_together")


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What an oracle may know.

    Args:
        about: ``truth.json``.
        items, users, prices: the drawn truths.
        sales: recent units a day at each day's opening, float32 ``[D + 1, I]``.
        sessions: ``user_id, day, focal_leaf`` and more, in order of time.
        purchases: ``user_id, item_id, day, units, kind``, in order of time.
        devices: ``device_id, user_id, shared``, one row an owner.
    """

    about: dict[str, Any]
    items: Items
    users: Users
    prices: Prices
    sales: Floats
    sessions: pd.DataFrame
    purchases: pd.DataFrame
    devices: pd.DataFrame

    @property
    def num_days(self) -> int:
        """Days in the log."""
        return int(self.about["num_days"])

    @classmethod
    def load(cls, directory: Path) -> Truth:
        """Read ``OUT/truth``.

        Raises:
            DataError: there is no truth, or another version of the generator wrote it.
        """
        about = read_json(directory / "truth.json")
        if about["generator_version"] != GENERATOR_VERSION:
            raise DataError(
                f"{directory}: expected truths of generator version {GENERATOR_VERSION}, "
                f"found {about['generator_version']}; generate the shop again."
            )
        frames = {name: pd.read_parquet(directory / f"{name}.parquet") for name in ("sessions", "purchases", "devices")}
        arrays = {name: np.load(directory / f"{name}.npy") for name in ("price", "discount", "display", "log_ratio")}
        return cls(
            about=about,
            items=_load_items(directory),
            users=_load_users(directory),
            prices=Prices(**arrays),
            sales=np.load(directory / "sales.npy"),
            **frames,
        )


def fingerprint(history: History) -> str:
    """Return the SHA-256 of everything that happened and was expected to."""
    digest = hashlib.sha256()
    for table in (history.events, history.exposures, history.purchases):
        for name in sorted(table):
            digest.update(name.encode() + np.ascontiguousarray(table[name]).tobytes())
    for array in (history.stock, history.rate):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_truth(directory: Path, world: World, history: History) -> None:
    """Write every truth file into a fresh ``directory``."""
    directory.mkdir()
    _save_items(directory, world.items)
    _save_users(directory, world.users)
    for name in ("price", "discount", "display", "log_ratio"):
        np.save(directory / f"{name}.npy", getattr(world.prices, name))
    np.save(directory / "sales.npy", history.sales)
    frames = {
        "complements": _complements(world.items),
        "devices": _devices(world),
        "demand": _demand(world, history),
        "sessions": _sessions(world, history),
        "purchases": _purchases(world, history),
        "campaign_users": _campaign_users(world, history),
    }
    for name, frame in frames.items():
        frame.to_parquet(directory / f"{name}.parquet", index=False)
    write_json(directory / "truth.json", {**describe(world, history), **_effects(world, history)})


def describe(world: World, history: History) -> dict[str, Any]:
    """Return what identifies the shop; it stands in ``about.json`` and in ``truth.json``."""
    return {
        "generator_version": GENERATOR_VERSION,
        **dataclasses.asdict(world.size),
        "first_day": FIRST_DAY.isoformat(),
        "time_zone": SHOP.time_zone,
        "fingerprint": fingerprint(history),
    }


def _effects(world: World, history: History) -> dict[str, Any]:
    visits = np.bincount(history.sessions["touch"], minlength=campaigns.FIRST_MESSAGE_CHANNEL)
    return {
        "source": "synthetic",
        "warning": WARNING,
        "mechanics": dataclasses.asdict(MECHANICS),
        "channels": {name: {"cart_log_odds": effect} for name, (_, _, effect) in campaigns.CHANNELS.items()},
        "paid_channels": {
            campaigns.CHANNEL_NAMES[channel]: {
                "incremental_sessions": int(visits[channel]),
                "reference_visits": campaigns.PAID_VISITS[channel],
                "reference_spend": campaigns.reference_spend(world.size.num_users),
            }
            for channel in campaigns.PAID
        },
        "campaigns": [
            {
                **dataclasses.asdict(a.campaign),
                "audience": len(a.audience),
                "treated": int(a.treated.sum()),
                "visits_effect": float((a.expected_treated - a.expected_control).mean()),
                "visits_effect_on_treated": float((a.expected_treated - a.expected_control)[a.treated].mean()),
            }
            for a in history.assignments
        ],
    }


def _save_items(directory: Path, items: Items) -> None:
    flat = {f.name: getattr(items, f.name) for f in dataclasses.fields(items) if f.name not in _ITEM_ARRAYS}
    pd.DataFrame(flat).to_parquet(directory / "items.parquet", index=False)
    leaves = {name: getattr(items, name) for name in _ITEM_ARRAYS if name not in ("vectors", "centroids")}
    pd.DataFrame(leaves).to_parquet(directory / "leaves.parquet", index=False)
    np.save(directory / "item_vectors.npy", items.vectors)
    np.save(directory / "leaf_vectors.npy", items.centroids)


def _load_items(directory: Path) -> Items:
    frames = (pd.read_parquet(directory / f"{name}.parquet") for name in ("items", "leaves"))
    flat = {str(name): _array(frame[name]) for frame in frames for name in frame}
    vectors, centroids = (np.load(directory / f"{name}_vectors.npy") for name in ("item", "leaf"))
    return Items(vectors=vectors, centroids=centroids, **flat)


def _save_users(directory: Path, users: Users) -> None:
    flat = {f.name: getattr(users, f.name) for f in dataclasses.fields(users) if f.name != "taste"}
    pd.DataFrame(flat).to_parquet(directory / "users.parquet", index=False)
    np.save(directory / "user_tastes.npy", users.taste)


def _load_users(directory: Path) -> Users:
    frame = pd.read_parquet(directory / "users.parquet")
    return Users(taste=np.load(directory / "user_tastes.npy"), **{str(name): _array(frame[name]) for name in frame})


def _array(column: pd.Series) -> Any:
    return column.to_numpy() if pd.api.types.is_numeric_dtype(column) else column.astype(object).to_numpy()


def _complements(items: Items) -> pd.DataFrame:
    rows = np.flatnonzero(items.complement >= 0)
    partner = items.item_id[items.complement[rows]]
    return pd.DataFrame({c.ITEM_ID: items.item_id[rows], "partner_id": partner, "rate": items.complement_rate[rows]})


def _devices(world: World) -> pd.DataFrame:
    device, column = np.nonzero(world.devices.owners >= 0)
    kind = world.devices.kind[device]
    return pd.DataFrame(
        {
            c.DEVICE_ID: world.devices.device_id[device],
            c.USER_ID: world.users.user_id[world.devices.owners[device, column]],
            "kind": np.array(KINDS, object)[kind],
            "shared": kind == SHARED,
        }
    )


def _demand(world: World, history: History) -> pd.DataFrame:
    """Units wanted: given the day's sessions, and given only how many were to be expected."""
    days, num_items = history.rate.shape
    usual = history.expected_visits / np.maximum(history.visits, 1)
    return pd.DataFrame(
        {
            c.ITEM_ID: np.tile(world.items.item_id, days),
            c.DAY: np.repeat(calendar.dates(np.arange(days)), num_items),
            "rate": (history.rate * usual[:, None]).astype(np.float32).ravel(),
            "rate_given_sessions": history.rate.ravel(),
        }
    )


def _sessions(world: World, history: History) -> pd.DataFrame:
    s = history.sessions
    names = [*campaigns.CHANNEL_NAMES[: campaigns.FIRST_MESSAGE_CHANNEL]]
    names += [campaigns.MEDIA[campaign.medium] for campaign in world.campaigns]
    return pd.DataFrame(
        {
            c.SESSION_ID: pd.Series(s["session"]).astype(str).str.zfill(8).radd("s"),
            c.USER_ID: world.users.user_id[s["user"]],
            "day": s["day"],
            "focal_leaf": s["focal"],
            "channel": np.array(names, object)[s["touch"]],
            "anonymous": s["anonymous"],
        }
    )


def _purchases(world: World, history: History) -> pd.DataFrame:
    p = history.purchases
    return pd.DataFrame(
        {
            c.USER_ID: world.users.user_id[p["user"]],
            c.ITEM_ID: world.items.item_id[p["item"]],
            "day": p["day"],
            "units": p["units"],
            "kind": np.array(_PURCHASE_KINDS, object)[p["kind"]],
        }
    )


def _campaign_users(world: World, history: History) -> pd.DataFrame:
    """One row a campaign and member of its audience: arm, propensity, and expected visits either way."""
    columns = {"campaign_id": [], c.USER_ID: []} | {name: [] for name in _ASSIGNED}  # type: dict[str, list[Any]]
    for a in history.assignments:
        columns["campaign_id"].append(np.full(len(a.audience), a.campaign.campaign_id, dtype=object))
        columns[c.USER_ID].append(world.users.user_id[a.audience])
        for name in _ASSIGNED:
            columns[name].append(getattr(a, name))
    return pd.DataFrame({name: np.concatenate(parts) if parts else [] for name, parts in columns.items()})


_ASSIGNED: Final = ("propensity", "treated", "bounced", "expected_treated", "expected_control")


def rows_of(ids: Ints | Any, known: Any) -> Ints:
    """Row of each id among the known ones, -1 where there is none, int64."""
    return pd.Index(known, dtype=object).get_indexer(pd.Index(ids, dtype=object))
