"""The simulated shop as the contract's tables."""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.columns import EVENT_TYPE_CODES, EVENT_TYPES
from features.sources.synthetic import calendar, campaigns, words
from features.sources.synthetic.browsing import SLOTS
from features.sources.synthetic.identities import KINDS, identity_table
from features.sources.synthetic.items import NEVER
from features.sources.synthetic.prices import announced_day
from features.sources.synthetic.settings import Bools, Ints, Texts
from features.sources.synthetic.simulation import History
from features.sources.synthetic.world import World

Tables = dict[str, pd.DataFrame | duckdb.DuckDBPyRelation]


def contract_tables(world: World, history: History) -> Tables:
    """Return every table of the contract, by name."""
    return {
        "events": _relation(events_table(world, history.events)),
        "items": items_table(world),
        "users": users_table(world, history),
        "identities": _identities(world, history.events),
        "consents": consents_table(world),
        "exposures": _relation(_exposures(world, history)),
        "inventory": inventory_table(world, history),
        "plan": plan_table(world),
        "coupons": coupons_table(world, history),
        "spend": spend_table(world, history),
    }


def events_table(world: World, events: dict[str, Ints]) -> pa.Table:
    """Return the events with ids for codes; text columns are dictionaries, so that a word is held once."""
    names = list(campaigns.CHANNELS)
    sources, mediums, touch_channels, touch_campaigns = _touches(world)
    touch, session, user = events["touch"], events["session"], events["user"]
    leaf = [path.split("/")[1] for path in world.items.leaf_path]
    customer = user < world.users.num_users
    region = np.unique(world.users.region, return_inverse=True)
    of_user = np.append(region[1], np.full(len(world.devices.device_id), -1))  # nothing is known without a login
    queries = leaf + [words.DEPARTMENTS[path.split("/")[0]][path.split("/")[1]][1] for path in world.items.leaf_path]
    campaign_ids = [campaign.campaign_id for campaign in world.campaigns]
    arms = np.array([0 if campaign.randomised else 1 for campaign in world.campaigns] or [0])
    campaign = events["campaign"]
    return pa.table(
        {
            c.USER_ID: _words(user, _user_ids(world)),
            c.EVENT_TYPE: _words(events["event_type"] - 1, np.array(EVENT_TYPES, object)),
            c.TS: pa.array(events["ts"], pa.timestamp("us", tz="UTC")),
            c.ITEM_ID: _words(events["item"], world.items.item_id),
            c.EVENT_ID: _numbered("e", np.arange(len(user)), 9),
            c.SESSION_ID: _numbered("s", session, 8),
            c.QUANTITY: _whole(events["quantity"]),
            c.PRICE: _whole(events["price"]),
            c.ORDER_ID: _numbered("o", events["order"], 8),
            c.CHANNEL: _words(np.where(touch < 0, -1, touch_channels[touch]), np.array(names, object)),
            c.DEVICE_ID: _words(events["device"], world.devices.device_id),
            c.REGION: _words(np.where(customer, of_user[user], -1), region[0]),
            "dwell_ms": _whole(events["dwell_ms"]),
            "section": _words(events["section"], world.items.leaf_path),
            "query": _words(events["query"], np.array(queries, object)),
            c.SLOT: _words(events["slot"], np.array(SLOTS, object)),
            "source": _words(_coded(touch, sources[0]), sources[1]),
            "medium": _words(_coded(touch, mediums[0]), mediums[1]),
            "campaign": _words(_coded(touch, touch_campaigns[0]), touch_campaigns[1]),
            "term": _words(events["term"], np.array(leaf, object)),
            c.CAMPAIGN_ID: _words(campaign, np.array(campaign_ids, object)),
            c.VARIANT: _words(_coded(campaign, arms), np.array(["treatment", "targeted"], object)),
            c.COUPON_ID: _words(events["coupon"], np.array([x.coupon_id for x in world.campaigns], object)),
        }
    )


def items_table(world: World) -> pd.DataFrame:
    """Return one row an item; the price is the regular one on the last day."""
    items, last = world.items, world.size.num_days - 1
    regular = np.round(world.prices.price[last] / (1 - world.prices.discount[last])).astype(np.int64)
    return pd.DataFrame(
        {
            c.ITEM_ID: items.item_id,
            c.TITLE: items.title,
            c.CATEGORY: items.leaf_path[items.leaf],
            c.BRAND: items.brand,
            c.PRICE: regular,
            c.COST: items.cost,
            c.LEAD_TIME_DAYS: items.lead_time_days,
            c.CREATED_AT: midnights(items.launch_day),
            c.ACTIVE: items.retire_day > last,
        }
    )


def users_table(world: World, history: History) -> pd.DataFrame:
    """Return one row a customer; tags hold the arms of randomised campaigns, held-out customers included."""
    users = world.users
    table = pd.DataFrame(
        {
            c.USER_ID: users.user_id,
            "signup_at": midnights(users.arrival_day),
            c.REGION: users.region,
            "device": np.array(KINDS, object)[world.devices.share.argmax(axis=1)],
            "membership": users.membership,
        }
    )
    for assignment in history.assignments:
        if assignment.campaign.randomised:
            arm = np.full(users.num_users, None, dtype=object)
            arm[assignment.audience] = np.where(assignment.treated, "treatment", "holdout")
            table[f"tag_{assignment.campaign.campaign_id}"] = arm
    return table


def consents_table(world: World) -> pd.DataFrame:
    """Return both purposes of each customer at arrival, and withdrawals."""
    users, consents = world.users, world.consents
    withdrawn = np.flatnonzero(consents.withdrawn_day < NEVER)
    first = midnights(users.arrival_day)
    rows = [(first, users.user_id, c.PURPOSES[k], consents.granted[:, k]) for k in (0, 1)]
    later = midnights(consents.withdrawn_day[withdrawn])
    rows.append((later, users.user_id[withdrawn], c.PERSONALISATION, np.zeros(len(withdrawn), bool)))
    return pd.concat(
        [
            pd.DataFrame({c.USER_ID: ids, c.PURPOSE: purpose, c.GRANTED: granted, c.AT: at, "policy_version": "1"})
            for at, ids, purpose, granted in rows
        ],
        ignore_index=True,
    )


def inventory_table(world: World, history: History) -> pd.DataFrame:
    """Return opening stock of each item on each day on sale."""
    days = np.arange(world.size.num_days)[:, None]
    day, item = np.nonzero((world.items.launch_day <= days) & (days < world.items.retire_day))
    return pd.DataFrame(
        {c.ITEM_ID: world.items.item_id[item], c.DAY: calendar.dates(day), c.STOCK: history.stock[day, item]}
    )


def plan_table(world: World) -> pd.DataFrame:
    """Return the promotions announced by the last day, those still to come included."""
    day, item = np.nonzero(world.prices.discount > 0)
    on_sale = (world.items.launch_day[item] <= day) & (day < world.items.retire_day[item])
    kept = on_sale & (announced_day(day) < world.size.num_days)
    day, item = day[kept], item[kept]
    return pd.DataFrame(
        {
            c.ITEM_ID: world.items.item_id[item],
            c.DAY: calendar.dates(day),
            c.ANNOUNCED_AT: midnights(announced_day(day)),
            c.PRICE: world.prices.price[day, item],
            c.PROMOTION: world.prices.discount[day, item].astype(np.float64).round(2),
            c.DISPLAY: world.prices.display[day, item].astype(np.float64),
        }
    )


def coupons_table(world: World, history: History) -> pd.DataFrame:
    """Return one row a coupon and customer; the columns are there even where there is no coupon."""
    row = np.asarray(history.coupons.get("campaign", []), np.int64)
    user = np.asarray(history.coupons.get("user", []), np.int64)
    sent = np.array([campaign.day for campaign in world.campaigns], np.int64)[row]
    return pd.DataFrame(
        {
            c.COUPON_ID: np.array([campaign.coupon_id for campaign in world.campaigns], object)[row],
            c.USER_ID: world.users.user_id[user],
            "issued_at": midnights(sent),
            "value": np.array([campaign.coupon_value for campaign in world.campaigns], np.int64)[row],
            "expires_at": midnights(sent + campaigns.COUPON_DAYS),
        }
    )


def spend_table(world: World, history: History) -> pd.DataFrame:
    """Return advertising by day, and what each campaign's messages cost."""
    days = calendar.dates(np.arange(world.size.num_days))
    rows = [
        pd.DataFrame({c.DAY: days, c.CHANNEL: campaigns.CHANNEL_NAMES[channel], c.COST: world.spend[row]})
        for row, channel in enumerate(campaigns.PAID)
    ]
    for assignment in history.assignments:
        medium = campaigns.MEDIA[assignment.campaign.medium]
        cost = round(campaigns.MESSAGE_COST[medium] * int(assignment.treated.sum()))
        sent_on = calendar.dates(np.array([assignment.campaign.day - 1]))
        rows.append(
            pd.DataFrame(
                {c.DAY: sent_on, c.CHANNEL: medium, c.COST: cost, c.CAMPAIGN_ID: assignment.campaign.campaign_id}
            )
        )
    return pd.concat(rows, ignore_index=True)


def midnights(days: Ints) -> pd.DatetimeIndex:
    """Local midnights of day numbers, as UTC instants."""
    distinct, where = np.unique(days, return_inverse=True)
    instants = np.array([calendar.instant_us(day, 0.0) for day in distinct], np.int64)
    return pd.DatetimeIndex(pd.to_datetime(instants[where], unit="us", utc=True))


def _exposures(world: World, history: History) -> pa.Table:
    shown = history.exposures
    propensity = np.asarray(shown["propensity"], np.float64)
    return pa.table(
        {
            c.USER_ID: _words(shown["user"], _user_ids(world)),
            c.ITEM_ID: _words(shown["item"], world.items.item_id),
            c.SLOT: _words(shown["slot"], np.array(SLOTS, object)),
            c.TS: pa.array(shown["ts"], pa.timestamp("us", tz="UTC")),
            "propensity": pa.array(propensity, mask=np.isnan(propensity)),
        }
    )


def _identities(world: World, events: dict[str, Ints]) -> pd.DataFrame:
    rows = events["event_type"] == EVENT_TYPE_CODES["login"]
    logins = pd.DataFrame({name: events[name][rows] for name in ("user", "device", "ts")})
    return identity_table(logins, world.users, world.devices)


def _user_ids(world: World) -> Texts:
    return np.concatenate([world.users.user_id, world.devices.device_id])


def _touches(world: World) -> tuple[tuple[Ints, Texts], tuple[Ints, Texts], Ints, tuple[Ints, Texts]]:
    """Return source, medium (codes by touch, and words), channel and campaign by touch."""
    names = [*campaigns.CHANNEL_NAMES[: campaigns.FIRST_MESSAGE_CHANNEL]]
    names += [campaigns.MEDIA[campaign.medium] for campaign in world.campaigns]
    labels = ["always-on" if name in ("paid_search", "paid_social") else None for name in names]
    labels[campaigns.FIRST_MESSAGE_CHANNEL :] = [f"campaign {campaign.campaign_id}" for campaign in world.campaigns]
    source = _codes([campaigns.CHANNELS[name][0] for name in names])
    medium = _codes([campaigns.CHANNELS[name][1] for name in names])
    channel = np.array([campaigns.CHANNEL_NAMES.index(name) for name in names])
    return source, medium, channel, _codes(labels)


def _codes(labels: list[str | None]) -> tuple[Ints, Texts]:
    codes, distinct = pd.factorize(np.array(labels, dtype=object))
    return codes, np.asarray(distinct, object)


def _coded(rows: Ints, codes: Ints) -> Ints:
    return np.where(rows < 0, -1, codes[rows])


def _words(codes: npt.ArrayLike, dictionary: Texts) -> pa.Array:
    rows = np.asarray(codes, np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(rows, mask=rows < 0), pa.array(dictionary.tolist(), pa.string()))


def _whole(values: Ints) -> pa.Array:
    return pa.array(values.astype(np.int64), mask=_missing(values))


def _numbered(letter: str, numbers: Ints, width: int) -> pa.Array:
    text = pc.utf8_lpad(pc.cast(_whole(numbers), pa.string()), width, padding="0")
    return pc.binary_join_element_wise(letter, text, "")


def _missing(values: Ints) -> Bools:
    return values < 0


def _relation(table: pa.Table) -> duckdb.DuckDBPyRelation:
    return duckdb.connect().from_arrow(table)
