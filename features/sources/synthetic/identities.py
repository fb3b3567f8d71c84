"""Devices, households that share a tablet, and consents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features import columns as c
from features.sources.synthetic.settings import Bools, Floats, Ints, Size, Texts
from features.sources.synthetic.users import Users

KINDS = ("phone", "laptop", "tablet", "shared_tablet")
SHARED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Devices:
    """Who uses which device.

    Args:
        device_id: str ``[V]``.
        kind: row of ``KINDS``, int ``[V]``.
        owners: customers, second -1 where there is one only, int ``[V, 2]``.
        of_user: device of each kind, -1 where there is none, int ``[U, 4]``.
        share: how often a customer takes each, rows sum to 1, ``[U, 4]``.
    """

    device_id: Texts
    kind: Ints
    owners: Ints
    of_user: Ints
    share: Floats


def draw_devices(size: Size) -> Devices:
    """Everyone has a phone, some a laptop or a tablet; one customer in eight shares a tablet with another."""
    rng, n = size.random("devices"), size.num_users
    has = np.stack([np.ones(n, bool), rng.random(n) < 0.55, rng.random(n) < 0.15, np.zeros(n, bool)], axis=1)
    own_user, own_kind = np.nonzero(has)
    pairs = rng.permutation(n)[: 2 * (n // 16)].reshape(-1, 2)
    kind = np.concatenate([own_kind, np.full(len(pairs), SHARED)])
    owners = np.concatenate([np.stack([own_user, np.full(len(own_user), -1)], axis=1), pairs])
    order = rng.permutation(len(kind))  # ids tell nothing of their owner
    kind, owners = kind[order], owners[order]
    of_user = np.full((n, len(KINDS)), -1)
    for column in (0, 1):
        held = owners[:, column] >= 0
        of_user[owners[held, column], kind[held]] = np.flatnonzero(held)
    weight = np.where(of_user >= 0, rng.gamma(2.0, (1.0, 0.7, 0.5, 0.6), (n, len(KINDS))), 0.0)
    return Devices(
        device_id=np.array([f"d{number:07d}" for number in range(len(kind))], dtype=object),
        kind=kind,
        owners=owners,
        of_user=of_user,
        share=weight / weight.sum(axis=1, keepdims=True),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Consents:
    """What customers allow.

    Args:
        granted: at arrival, for analytics and for personalisation, bool ``[U, 2]``.
        withdrawn_day: day on which personalisation is withdrawn, ``NEVER`` where it is not, int ``[U]``.
    """

    granted: Bools
    withdrawn_day: Ints

    def may_be_addressed(self, day: int) -> Bools:
        """Whether personalisation is allowed on a day, ``[U]``."""
        return self.granted[:, 1] & (day < self.withdrawn_day)


def draw_consents(size: Size, users: Users) -> Consents:
    """Three in a hundred refuse analytics, seven personalisation; two withdraw the latter later."""
    rng, n = size.random("consents"), size.num_users
    granted = rng.random((n, 2)) >= (0.03, 0.07)
    later = np.maximum(users.arrival_day, 0) + 1 + rng.integers(size.num_days, size=n)
    withdraws = granted[:, 1] & (rng.random(n) < 0.02) & (later < size.num_days)
    return Consents(granted=granted, withdrawn_day=np.where(withdraws, later, 10_000))


def identity_table(logins: pd.DataFrame, users: Users, devices: Devices) -> pd.DataFrame:
    """Return one row for each day on which a customer logged in on a device.

    Args:
        logins: int columns ``user, device, ts`` (UTC microseconds), in order of ``ts``.
        users: gives ids.
        devices: gives ids.
    """
    day = logins["ts"] // (86_400 * 1_000_000)
    first = logins[~pd.DataFrame({"u": logins["user"], "d": logins["device"], "day": day}).duplicated().to_numpy()]
    return pd.DataFrame(
        {
            "id_a": users.user_id[first["user"]],
            "id_b": devices.device_id[first["device"]],
            "seen_at": pd.to_datetime(first["ts"].to_numpy(), unit="us", utc=True),
            "id_type_a": c.USER_ID,
            "id_type_b": c.DEVICE_ID,
        }
    )
