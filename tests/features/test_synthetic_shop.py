"""The simulated shop: clean, repeatable, and true to its own rules."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.contract import TABLES
from features.errors import ConfigError, DataError
from features.files import sha256_of_file
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic import GENERATOR_VERSION, WARNING, generate
from features.sources.synthetic.items import draw_items
from features.sources.synthetic.settings import FIRST_DAY, Size
from features.sources.synthetic.state import Ledger, within_stock

SIZES = {"num_users": 600, "num_items": 240, "num_days": 63, "seed": 3}
ENGINE = EngineSettings(threads=1, memory_limit="1GB")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "shop"
    generate(out, **SIZES, engine=ENGINE)
    return out


@pytest.fixture(scope="module")
def events(shop: Path) -> pd.DataFrame:
    return pd.read_parquet(shop / "events.parquet")


def test_tables_when_generated_then_every_row_keeps_the_contract(shop: Path) -> None:
    about = json.loads((shop / "about.json").read_text())
    assert set(about["tables"]) == set(TABLES) - {"regressors"}  # those are a shop's own
    for name, counts in about["tables"].items():
        assert counts["rejected"] == counts["duplicates"] == 0, name
        assert counts["accepted"] > 0, name
        assert not counts["ignored"], name


def test_labels_when_generated_then_synthetic_is_said_everywhere(shop: Path) -> None:
    about = json.loads((shop / "about.json").read_text())
    truth = json.loads((shop / "truth" / "truth.json").read_text())
    for said in (about, truth):
        assert said["source"] == "synthetic"
        assert said["warning"] == WARNING
        assert said["generator_version"] == GENERATOR_VERSION == 1
        assert {name: said[name] for name in SIZES} == SIZES
    assert about["fingerprint"] == truth["fingerprint"]
    assert "simulated" in ShopSettings.load(shop).name


def test_generation_when_repeated_then_every_file_is_byte_equal(shop: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", **SIZES, engine=ENGINE)
    files = sorted(path.relative_to(shop) for path in shop.rglob("*") if path.is_file())
    assert len(files) > 20
    assert [f for f in files if sha256_of_file(shop / f) != sha256_of_file(tmp_path / "again" / f)] == []


def test_generation_when_the_seed_differs_then_the_fingerprint_does(shop: Path, tmp_path: Path) -> None:
    other = generate(tmp_path / "other", **{**SIZES, "seed": 4}, engine=ENGINE)
    assert other["fingerprint"] != json.loads((shop / "about.json").read_text())["fingerprint"]


def test_version_one_when_drawn_then_it_is_still_version_one() -> None:
    # Frozen: if this fails, what is drawn has changed, and GENERATOR_VERSION has to rise.
    items = draw_items(Size(num_users=20, num_items=40, num_days=28, seed=0))
    assert items.item_id[:2].tolist() == ["i000000", "i000001"]
    assert items.title[0] == "Ozudora 温和饼干 1000"
    assert (int(items.base_price.sum()), int(items.launch_day.sum())) == (56370, -16429)


def test_purchases_when_summed_then_they_never_exceed_the_opening_stock(shop: Path) -> None:
    counts = duckdb.sql(
        f"""
        WITH sold AS (
            SELECT item_id, CAST(timezone('Europe/Paris', ts) AS DATE) AS day, sum(quantity) AS units
            FROM '{shop}/events.parquet' WHERE event_type = 'purchase' GROUP BY ALL
        )
        SELECT count(*), count(stock), count(*) FILTER (units > stock)
        FROM sold LEFT JOIN '{shop}/inventory.parquet' USING (item_id, day)
        """
    ).fetchall()
    sold, known, over = counts[0]
    assert sold == known > 1000
    assert over == 0


def test_stock_when_followed_then_it_only_falls_by_what_was_sold(shop: Path, events: pd.DataFrame) -> None:
    inventory = pd.read_parquet(shop / "inventory.parquet").sort_values([c.ITEM_ID, c.DAY])
    bought = events[events[c.EVENT_TYPE] == c.PURCHASE]
    day = bought[c.TS].dt.tz_convert("Europe/Paris").dt.tz_localize(None).dt.floor("D")
    sold = bought.groupby([bought[c.ITEM_ID], day.rename(c.DAY)])[c.QUANTITY].sum()
    inventory[c.DAY] = pd.to_datetime(inventory[c.DAY])
    left = inventory[c.STOCK].to_numpy() - sold.reindex(pd.MultiIndex.from_frame(inventory[[c.ITEM_ID, c.DAY]])).fillna(
        0
    )
    tomorrow = inventory.groupby(c.ITEM_ID)[c.STOCK].shift(-1).to_numpy()
    arrived = (tomorrow - left.to_numpy())[~np.isnan(tomorrow)]
    assert arrived.min() == 0
    assert (arrived > 0).any()


def test_purchases_when_traced_then_each_was_in_the_cart_and_viewed_or_bought_again(events: pd.DataFrame) -> None:
    keys = [c.SESSION_ID, c.ITEM_ID]
    bought = events[events[c.EVENT_TYPE] == c.PURCHASE]
    for event_type, rows in ((c.CART, bought), (c.VIEW, bought[bought[c.SLOT] != "buy_again"])):
        first = events[events[c.EVENT_TYPE] == event_type].groupby(keys)[c.TS].min().rename("first")
        joined = rows.join(first, on=keys)
        assert (joined["first"] < joined[c.TS]).all()
    again = bought[bought[c.SLOT] == "buy_again"]
    earlier = bought.groupby([c.USER_ID, c.ITEM_ID])[c.TS].min().rename("earlier")
    joined = again.join(earlier, on=[c.USER_ID, c.ITEM_ID])
    assert len(again) > 50
    assert (joined["earlier"] < joined[c.TS]).all()


def test_sessions_when_read_then_each_has_one_user_device_and_local_day(events: pd.DataFrame) -> None:
    inside = events[events[c.SESSION_ID].notna()]
    day = inside[c.TS].dt.tz_convert("Europe/Paris").dt.date
    distinct = inside.assign(day=day).groupby(c.SESSION_ID)[[c.USER_ID, c.DEVICE_ID, "day", c.CHANNEL]].nunique()
    assert (distinct == 1).all(axis=None)


def test_messages_when_clicked_then_they_were_sent_before_and_to_consenting_customers(
    shop: Path, events: pd.DataFrame
) -> None:
    keys = [c.USER_ID, c.CAMPAIGN_ID]
    sent = events[events[c.EVENT_TYPE] == "message_sent"].groupby(keys)[c.TS].min().rename("sent")
    for event_type in ("message_delivered", "message_opened", "message_clicked"):
        later = events[events[c.EVENT_TYPE] == event_type].join(sent, on=keys)
        assert len(later) > 0
        assert (later["sent"] < later[c.TS]).all()
    consents = pd.read_parquet(shop / "consents.parquet")
    refused = consents[(consents[c.PURPOSE] == c.PERSONALISATION) & ~consents[c.GRANTED]]
    told = sent.reset_index().merge(refused, on=c.USER_ID)
    assert (told[c.AT] > told["sent"]).all()


def test_refunds_when_read_then_each_sends_back_a_line_of_its_order(events: pd.DataFrame) -> None:
    keys = [c.USER_ID, c.ORDER_ID, c.ITEM_ID, c.QUANTITY, c.PRICE]
    refunds = events[events[c.EVENT_TYPE] == c.REFUND]
    lines = events.loc[events[c.EVENT_TYPE] == c.PURCHASE, [*keys, c.TS]]
    joined = refunds.merge(lines, on=keys, suffixes=("", "_bought"))
    assert len(joined) == len(refunds) > 0
    assert (joined[c.TS] > joined["ts_bought"]).all()


def test_new_items_when_not_launched_then_nobody_meets_them(shop: Path, events: pd.DataFrame) -> None:
    items = pd.read_parquet(shop / "items.parquet").set_index(c.ITEM_ID)
    launched = events[c.ITEM_ID].map(items[c.CREATED_AT])
    assert (events[c.TS] >= launched)[launched.notna()].all()
    assert (items[c.CREATED_AT].dt.tz_convert("Europe/Paris").dt.date > FIRST_DAY).sum() > 20


def test_prices_when_promoted_then_the_plan_announced_them_before(shop: Path, events: pd.DataFrame) -> None:
    plan = pd.read_parquet(shop / "plan.parquet")
    assert (plan[c.ANNOUNCED_AT].dt.tz_convert("Europe/Paris").dt.tz_localize(None) < pd.to_datetime(plan[c.DAY])).all()
    day = events[c.TS].dt.tz_convert("Europe/Paris").dt.tz_localize(None).dt.floor("D")
    views = events.assign(day=day)[events[c.EVENT_TYPE] == c.VIEW]
    plan[c.DAY] = pd.to_datetime(plan[c.DAY]).astype(views[c.DAY].dtype)
    joined = views.merge(plan, on=[c.ITEM_ID, c.DAY], suffixes=("", "_planned"))
    assert len(joined) > 100
    assert (joined[c.PRICE] == joined["price_planned"]).all()


def test_promoted_slots_when_randomised_then_propensities_match_what_was_shown(shop: Path) -> None:
    shown = pd.read_parquet(shop / "exposures.parquet")
    randomised = shown[shown[c.SLOT] == "home_random"]
    assert randomised["propensity"].notna().all()
    assert shown.loc[shown[c.SLOT] != "home_random", "propensity"].isna().all()
    # The sum of 1 / propensity over draws estimates the number of items that could be drawn.
    assert (1 / randomised["propensity"]).mean() == pytest.approx(220, rel=0.15)


def test_shared_tablets_when_linked_then_two_customers_log_in_on_one_device(shop: Path) -> None:
    devices = pd.read_parquet(shop / "truth" / "devices.parquet")
    owners = devices.groupby(c.DEVICE_ID)[c.USER_ID].nunique()
    shared = devices.groupby(c.DEVICE_ID)["shared"].first()
    assert (owners[shared] == 2).all()
    assert (owners[~shared] == 1).all()
    seen = pd.read_parquet(shop / "identities.parquet")[["id_a", "id_b"]].drop_duplicates()
    true_links = set(zip(devices[c.USER_ID], devices[c.DEVICE_ID], strict=True))
    assert set(seen.itertuples(index=False, name=None)) <= true_links
    assert seen.groupby("id_b")["id_a"].nunique().max() == 2


def test_generate_when_too_small_or_in_the_way_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected num_items of 40 or more, found 5; ask for more"):
        generate(tmp_path / "new", num_users=20, num_items=5, num_days=28, seed=0)
    with pytest.raises(DataError, match="exists already"):
        generate(tmp_path, num_users=20, num_items=40, num_days=28, seed=0)


def test_generate_when_smallest_then_it_works(tmp_path: Path) -> None:
    about = generate(tmp_path / "tiny", num_users=20, num_items=40, num_days=28, seed=0, engine=ENGINE)
    assert about["tables"]["events"]["accepted"] > 100


def test_ledger_when_filled_at_random_then_it_agrees_with_a_dict() -> None:
    rng, ledger, slow = np.random.default_rng(0), Ledger(7), {}
    for _ in range(30):
        pairs = np.unique(rng.integers(0, 35, 6))
        days = rng.integers(0, 50, len(pairs))
        ledger.put(users=pairs // 7, items=pairs % 7, days=days)
        slow.update(zip(pairs.tolist(), days.tolist(), strict=True))
    every = np.arange(35)
    assert ledger.find(users=every // 7, items=every % 7).tolist() == [slow.get(pair, -1) for pair in range(35)]
    users, items = ledger.due(20, np.array([True, True, False, True, True]))
    expected = sorted(pair for pair, day in slow.items() if day <= 20 and pair // 7 != 2)
    assert (users * 7 + items).tolist() == expected


def test_within_stock_when_served_in_order_then_it_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(1)
    item, units, at = rng.integers(0, 5, 60), rng.integers(1, 4, 60), rng.permutation(60)
    stock = rng.integers(0, 15, 5)
    taken, expected = np.zeros(5, int), np.zeros(60, bool)
    for row in np.argsort(at):
        taken[item[row]] += units[row]
        expected[row] = taken[item[row]] <= stock[item[row]]
    assert within_stock(item, units, at, stock).tolist() == expected.tolist()
