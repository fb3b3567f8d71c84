"""What is planted in the simulated shop can be found again with enough data, and the oracle is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.columns import EVENT_TYPE_CODES
from features.errors import ConfigError, UnknownId
from features.sequences import Sequences
from features.settings import EngineSettings
from features.sources.synthetic import calendar, choice, generate
from features.sources.synthetic.items import draw_items
from features.sources.synthetic.oracle import OracleRecommender, oracle_demand, oracle_scores
from features.sources.synthetic.settings import MECHANICS, Size
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.truth import Truth
from features.sources.synthetic.world import draw_world
from features.splits import Split
from features.vocabulary import FIRST, Vocabulary

NUM_DAYS, WINDOW = 112, 28
CUT_US = calendar.instant_us(NUM_DAYS - WINDOW, 0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recovery") / "shop"
    engine = EngineSettings(threads=1, memory_limit="1GB")
    generate(out, num_users=2500, num_items=400, num_days=NUM_DAYS, seed=1, engine=engine)
    return out


@pytest.fixture(scope="module")
def events(shop: Path) -> pd.DataFrame:
    names = [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TS, c.SESSION_ID, c.ORDER_ID, c.PRICE, c.QUANTITY, c.SLOT]
    return pd.read_parquet(shop / "events.parquet", columns=names)


def odds_ratio(frame: pd.DataFrame, *, stratum: str, exposed: str, outcome: str) -> float:
    """Mantel-Haenszel: what being exposed does to the odds of the outcome, within strata."""
    cells = frame.groupby([stratum, exposed, outcome]).size().unstack([exposed, outcome], fill_value=0)
    total = cells.sum(axis=1)
    with_, against = (cells[(True, k)] * cells[(False, not k)] / total for k in (True, False))
    return float(with_.sum() / against.sum())


def test_price_sensitivity_when_estimated_within_items_then_its_sign_and_order_are_found(
    shop: Path, events: pd.DataFrame
) -> None:
    keys = [c.SESSION_ID, c.ITEM_ID]
    views = events[(events[c.EVENT_TYPE] == c.VIEW) & (events[c.SLOT] != "bought_together")].drop_duplicates(keys)
    carts = events.loc[events[c.EVENT_TYPE] == c.CART, keys].assign(carted=True)
    views = views.merge(carts, on=keys, how="left").fillna({"carted": False})
    views["carted"] = views["carted"].astype(bool)
    regular = views.groupby(c.ITEM_ID)[c.PRICE].transform("median")
    views["cheaper"] = views[c.PRICE] < 0.95 * regular
    users = pd.read_parquet(shop / "truth" / "users.parquet").set_index(c.USER_ID)
    views["sensitivity"] = views[c.USER_ID].map(users["price_sensitivity"])
    middle = users["price_sensitivity"].median()
    high, low = (
        odds_ratio(part, stratum=c.ITEM_ID, exposed="cheaper", outcome="carted")
        for part in (views[views["sensitivity"] > middle], views[views["sensitivity"] <= middle])
    )
    assert high > low > 1


def test_complements_when_orders_are_counted_then_partners_stand_out(shop: Path, events: pd.DataFrame) -> None:
    pairs = pd.read_parquet(shop / "truth" / "complements.parquet")
    items = pd.read_parquet(shop / "truth" / "items.parquet").set_index(c.ITEM_ID)
    sessions = events.groupby([c.EVENT_TYPE, c.ITEM_ID])[c.SESSION_ID].agg(set)
    num_orders = events.loc[events[c.EVENT_TYPE] == c.PURCHASE, c.SESSION_ID].nunique()
    rows = []
    for pair in pairs.itertuples():
        always = items.at[pair.partner_id, "launch_day"] < 0 and items.at[pair.partner_id, "retire_day"] > NUM_DAYS
        first, second = (sessions.get(key, set()) for key in ((c.PURCHASE, pair.item_id), (c.CART, pair.partner_id)))
        if always and len(first) >= 30:
            rows.append((len(first & second) / len(first), len(second) / num_orders, pair.rate))
    together, alone, rate = np.array(rows).T
    assert len(rows) >= 6
    assert np.median(together / alone) > 5
    # A partner that is out of stock is not put in the cart.
    assert together.mean() == pytest.approx(rate.mean(), abs=0.06)


def test_repurchase_cycles_when_gaps_are_measured_then_medians_follow_the_truth(
    shop: Path, events: pd.DataFrame
) -> None:
    items = pd.read_parquet(shop / "truth" / "items.parquet").set_index(c.ITEM_ID)
    users = pd.read_parquet(shop / "truth" / "users.parquet").set_index(c.USER_ID)
    bought = events[events[c.EVENT_TYPE] == c.PURCHASE].copy()
    bought["gap"] = bought.groupby([c.USER_ID, c.ITEM_ID])[c.TS].diff().dt.total_seconds() / 86_400
    bought["cycle"] = bought[c.ITEM_ID].map(items["cycle_days"])
    again = bought[(bought[c.SLOT] == "buy_again") & (bought[c.USER_ID].map(users["visit_rate"]) > 0.3)]
    short = again[again["cycle"] < 20]  # longer cycles are cut off by the log's end
    assert len(short) > 300
    waiting = (short["gap"] / short["cycle"]).median()
    assert 1.0 < waiting < 1.5  # the next visit comes a few days after the need
    medians = again.groupby(c.ITEM_ID).agg(gap=("gap", "median"), cycle=("cycle", "first"), n=("gap", "size"))
    assert medians[medians["n"] >= 8][["gap", "cycle"]].corr(method="spearman").iloc[0, 1] > 0.7


def test_campaigns_when_estimated_naively_then_only_randomised_ones_come_out_right() -> None:
    """Visits within seven days, treated minus not, against the truth; over seeds, in standard errors."""
    misses: dict[bool, list[float]] = {True: [], False: []}
    weighted = []
    for seed in range(5):
        world = draw_world(Size(num_users=3000, num_items=40, num_days=38, seed=seed))
        history = Simulation(world).run()
        for assignment in history.assignments[:2]:
            campaign, sessions = assignment.campaign, history.sessions
            inside = (sessions["day"] >= campaign.day) & (sessions["day"] < campaign.day + MECHANICS.message_days)
            visits = np.bincount(sessions["user"][inside], minlength=3000)[assignment.audience]
            true = (assignment.expected_treated - assignment.expected_control).mean()
            misses[campaign.randomised].append(_miss(visits, assignment.treated, true))
            if not campaign.randomised:
                weighted.append(_weighted(visits, assignment) - true)
    assert abs(np.mean(misses[True])) < 3 / np.sqrt(5)
    assert np.mean(misses[False]) > 5
    assert abs(np.mean(weighted)) < 3 * np.std(weighted, ddof=1) / np.sqrt(len(weighted))


def _miss(visits: np.ndarray, treated: np.ndarray, true: float) -> float:
    on, off = visits[treated], visits[~treated]
    return float((on.mean() - off.mean() - true) / np.sqrt(on.var() / len(on) + off.var() / len(off)))


def _weighted(visits: np.ndarray, assignment: Any) -> float:
    p, treated = assignment.propensity, assignment.treated
    on = np.average(visits[treated], weights=1 / p[treated])
    return float(on - np.average(visits[~treated], weights=1 / (1 - p[~treated])))


def test_demand_when_summed_then_sales_with_full_shelves_follow_the_true_rate(shop: Path, events: pd.DataFrame) -> None:
    demand = oracle_demand(shop / "truth")
    stock = pd.read_parquet(shop / "inventory.parquet")
    bought = events[events[c.EVENT_TYPE] == c.PURCHASE]
    day = bought[c.TS].dt.tz_convert("Europe/Paris").dt.date.rename(c.DAY)
    sold = bought.groupby([bought[c.ITEM_ID], day])[c.QUANTITY].sum().rename("sold").reset_index()
    for frame in (demand, stock, sold):
        frame[c.DAY] = pd.to_datetime(frame[c.DAY]).dt.date
    joined = (
        stock.merge(demand, on=[c.ITEM_ID, c.DAY]).merge(sold, on=[c.ITEM_ID, c.DAY], how="left").fillna({"sold": 0})
    )
    full = joined[joined[c.STOCK] >= 8]
    assert full["sold"].sum() == pytest.approx(full["rate_given_sessions"].sum(), rel=0.03)
    assert full["sold"].sum() == pytest.approx(full["rate"].sum(), rel=0.05)
    by_item = full.groupby(c.ITEM_ID)[["sold", "rate_given_sessions"]].sum()
    assert by_item.corr().iloc[0, 1] > 0.95
    # Where the shelf runs empty, sales understate what was wanted.
    empty = joined[joined[c.STOCK] == 0]
    assert empty["sold"].sum() == 0 < empty["rate"].sum()


def test_view_probabilities_when_the_focus_is_integrated_out_then_it_is_the_mean_over_leaves() -> None:
    items = draw_items(Size(num_users=20, num_items=60, num_days=28, seed=2))
    rng = np.random.default_rng(0)
    weight = rng.random((3, 60)).astype(np.float32)
    share = rng.dirichlet(np.ones(items.num_leaves), 3)
    slow = sum(
        share[:, [leaf]] * choice.with_focus(items, weight, np.full(3, leaf)) for leaf in range(items.num_leaves)
    )
    np.testing.assert_allclose(choice.without_focus(items, weight, share), slow, rtol=1e-5)


def test_seen_in_session_when_simulated_then_it_is_the_share_of_sessions_that_view() -> None:
    rng = np.random.default_rng(0)
    length = rng.geometric(0.2, 200_000)
    seen = rng.random(200_000) < 1 - (1 - 0.1) ** length
    assert choice.seen_in_session(np.array([[0.1]]), np.array([0.2]))[0, 0] == pytest.approx(seen.mean(), abs=0.004)


@pytest.fixture(scope="module")
def question(shop: Path, events: pd.DataFrame) -> dict[str, Any]:
    kept = events[events[c.EVENT_TYPE].isin([c.VIEW, c.FAVORITE, c.CART, c.PURCHASE])]
    items = Vocabulary.from_ids(pd.read_parquet(shop / "items.parquet")[c.ITEM_ID])
    users = Vocabulary.from_ids(sorted(kept[c.USER_ID].unique()))
    kept = kept.assign(row=users.encode(kept[c.USER_ID]) - FIRST).sort_values(["row", c.TS], kind="stable")
    sequences = Sequences.from_arrays(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(kept["row"], minlength=len(users.ids)))]),
        item=items.encode(kept[c.ITEM_ID]),
        event_type=kept[c.EVENT_TYPE].map(EVENT_TYPE_CODES).to_numpy(),
        ts=kept[c.TS].astype("datetime64[us, UTC]").astype("int64").to_numpy(),
    )
    split = Split.global_temporal(
        sequences,
        validation_from_us=CUT_US - 7 * calendar.DAY_US,
        test_from_us=CUT_US,
        target_event_types=(EVENT_TYPE_CODES[c.PURCHASE],),
    )
    oracle = OracleRecommender.open(shop, vocabulary=items, users_vocabulary=users, from_us=CUT_US)
    return {"split": split, "oracle": oracle, "past": sequences.between(None, CUT_US), "num_codes": len(items)}


def recall_at_20(top: np.ndarray, seen: np.ndarray, targets: np.ndarray) -> float:
    wanted = targets & ~seen
    asked = wanted.any(axis=1)
    hits = np.take_along_axis(wanted, top, axis=1).sum(axis=1)
    return float((hits[asked] / wanted.sum(axis=1)[asked]).mean())


def marked(sequences: Sequences, num_codes: int) -> np.ndarray:
    cells = np.zeros((sequences.num_users, num_codes), bool)
    cells[sequences.user_of_event, sequences.item] = True
    return cells


def test_oracle_when_asked_for_new_purchases_then_it_beats_popularity_and_neighbours_widely(
    question: dict[str, Any],
) -> None:
    holdout, num_codes, past = question["split"].test, question["num_codes"], question["past"]
    seen, targets = marked(holdout.query, num_codes), marked(holdout.targets, num_codes)
    met = marked(past, num_codes).astype(float)
    similar = met.T @ met
    norm = np.sqrt(similar.diagonal() + 20)
    similar = similar / norm[:, None] / norm
    np.fill_diagonal(similar, 0)
    bought = past.where(past.event_type == EVENT_TYPE_CODES[c.PURCHASE])
    popularity = np.bincount(bought.item, minlength=num_codes).astype(float)
    found = {}
    for name, scores in (("popularity", np.tile(popularity, (len(seen), 1))), ("knn", seen @ similar)):
        top = np.argsort(-np.where(seen, -np.inf, scores), axis=1, kind="stable")[:, :20]
        found[name] = recall_at_20(top, seen, targets)
    answers = question["oracle"].recommend_holdout(holdout, k=20, exclude_seen=True)
    top, mask = answers.top(20)
    assert mask.all()
    assert not np.take_along_axis(seen, top, axis=1).any()
    oracle = recall_at_20(top, seen, targets)
    assert oracle > 1.6 * found["popularity"]
    assert oracle > 1.6 * found["knn"]


def test_oracle_when_repeats_count_then_its_probabilities_are_calibrated(question: dict[str, Any], shop: Path) -> None:
    truth = Truth.load(shop / "truth")
    first = NUM_DAYS - WINDOW
    # Customers who stay throughout the window, so that only chance is left.
    stays = (truth.users.arrival_day < first) & (truth.users.lapse_day >= NUM_DAYS)
    ids = truth.users.user_id[stays]
    item_ids, chance = oracle_scores(truth, user_ids=ids, day=first)
    inside = truth.purchases[(truth.purchases["day"] >= first) & truth.purchases[c.USER_ID].isin(ids)]
    pairs = inside.drop_duplicates([c.USER_ID, c.ITEM_ID])
    happened = np.zeros(chance.shape, bool)
    happened[pd.Index(ids).get_indexer(pairs[c.USER_ID]), pd.Index(item_ids).get_indexer(pairs[c.ITEM_ID])] = True
    # Advertising, messages and the time of year bring some further visits, empty shelves cost some sales.
    assert happened.sum() == pytest.approx(chance.sum(), rel=0.3)
    for low, high in ((0.02, 0.05), (0.05, 0.15), (0.15, 0.4)):
        cell = (chance >= low) & (chance < high)
        assert cell.sum() > 100
        assert happened[cell].mean() == pytest.approx(chance[cell].mean(), rel=0.35)


def test_oracle_when_asked_for_a_shared_device_then_its_owners_count_evenly(shop: Path) -> None:
    devices = pd.read_parquet(shop / "truth" / "devices.parquet")
    device, owners = next(iter(devices[devices["shared"]].groupby(c.DEVICE_ID)[c.USER_ID]))
    ids = [owners.iloc[0], device, owners.iloc[1]]
    item_ids, scores = oracle_scores(shop / "truth", user_ids=ids, day=60, target="view")
    assert scores.shape == (3, len(item_ids))
    np.testing.assert_allclose(scores[1], (scores[0] + scores[2]) / 2, rtol=1e-5)


def test_oracle_when_asked_for_what_it_cannot_know_then_it_says_so(shop: Path) -> None:
    with pytest.raises(UnknownId, match="found 'nobody'"):
        oracle_scores(shop / "truth", user_ids=["nobody"], day=60)
    with pytest.raises(ConfigError, match="found 28 days from day 200"):
        oracle_scores(shop / "truth", user_ids=["u0000000"], day=200)
