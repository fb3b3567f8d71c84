"""The best that anyone could recommend who knew the truth of a simulated shop.

The oracle knows each customer's taste, prices, launches and the shop's state on the evening before a window opens,
and integrates over what is still chance: the leaf categories that sessions turn to, how long they last, and when
needs come due. It sees nothing of the window itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.errors import ConfigError, UnknownId
from features.recommendations import Recommendations
from features.sequences import Sequences
from features.sources.synthetic import calendar, choice
from features.sources.synthetic.baskets import along
from features.sources.synthetic.settings import MECHANICS, PLANNED_DAYS, Floats, Ints
from features.sources.synthetic.truth import TRUTH, Truth, rows_of
from features.splits import Holdout
from features.vocabulary import FIRST, PAD, UNKNOWN, Vocabulary

Target = Literal["purchase", "view"]
WEEK = 7
_BLOCK_USERS = 1024
# Nine points that stand for a normal distribution, each with the same weight.
_POINTS = np.array([NormalDist().inv_cdf((number + 0.5) / 9) for number in range(9)])


def oracle_scores(
    truth: Path | Truth,
    *,
    user_ids: npt.ArrayLike,
    day: int,
    window_days: int = 28,
    target: Target = "purchase",
) -> tuple[npt.NDArray[np.object_], Floats]:
    """Return the probability that each user meets each item in the window, as known on the evening before.

    Args:
        truth: ``OUT/truth``, or what ``Truth.load`` made of it.
        user_ids: customers, or devices of sessions without a login (their owners count evenly), ``[Q]``.
        day: first day of the window; day 0 is the log's first.
        window_days: at most 28 past the log's end.
        target: to buy at least one unit, or to view.

    Returns:
        item ids ``[I]`` and probabilities float32 ``[Q, I]``.

    Raises:
        UnknownId: the truth does not hold a user.
        ConfigError: the window does not fit the shop.
    """
    known = truth if isinstance(truth, Truth) else Truth.load(Path(truth))
    last = known.num_days + PLANNED_DAYS
    if not (0 < day <= known.num_days and 0 < window_days <= last - day):
        raise ConfigError(
            f"oracle: expected a window between day 1 and day {last}, found {window_days} days from day {day}."
        )
    asked, rows = _owners(known, np.asarray(user_ids, dtype=object))
    distinct, where = np.unique(rows, return_inverse=True)
    question = _Question(
        truth=known,
        day=day,
        window_days=window_days,
        target=target,
        last_leaf=_last_leaves(known, day),
        bought=_last_purchases(known, day),
    )
    scores = _probabilities(question, distinct)[where]
    if len(rows) == len(np.asarray(user_ids)):
        return known.items.item_id, scores
    total = np.zeros((asked.max() + 1, scores.shape[1]), np.float32)
    np.add.at(total, asked, scores)
    return known.items.item_id, total / np.bincount(asked)[:, None].astype(np.float32)


def oracle_demand(truth: Path) -> pd.DataFrame:
    """Return true demand: ``item_id``, ``day``, ``rate``, ``rate_given_sessions``.

    ``rate`` is the mean number of units wanted, with full shelves, on a day of usual traffic;
    ``rate_given_sessions`` also knows who came. A forecaster's limit is the first.
    """
    return pd.read_parquet(Path(truth) / "demand.parquet")


@dataclass(frozen=True, kw_only=True, eq=False)
class OracleRecommender:
    """Answers questions of a holdout from the truth.

    Args:
        truth: what ``Truth.load`` read.
        vocabulary: item ids of the answers.
        users_vocabulary: user ids; row ``r`` of the split's sequences is its ``r``-th id.
        from_us: first instant of the window, UTC microseconds.
        window_days: length of the window.
        target: what counts as an answer.
    """

    truth: Truth
    vocabulary: Vocabulary
    users_vocabulary: Vocabulary
    from_us: int
    window_days: int = 28
    target: Target = "purchase"
    name: str = "oracle"

    @classmethod
    def open(
        cls, truth: Path, *, vocabulary: Vocabulary, users_vocabulary: Vocabulary, from_us: int, **settings: Any
    ) -> OracleRecommender:
        """Read ``OUT/truth`` (or ``OUT``) and answer for the window that opens at ``from_us``."""
        directory = Path(truth) / TRUTH if (Path(truth) / TRUTH).is_dir() else Path(truth)
        known = Truth.load(directory)
        return cls(truth=known, vocabulary=vocabulary, users_vocabulary=users_vocabulary, from_us=from_us, **settings)

    def recommend_holdout(self, holdout: Holdout, *, k: int, exclude_seen: bool) -> Recommendations:
        """Answer a holdout; its ``users`` are rows of the split's sequences."""
        ids = self.users_vocabulary.ids[np.asarray(holdout.users)]
        return self.recommend_for(ids, holdout.query, k=k, exclude_seen=exclude_seen)

    def recommend_for(self, users: npt.ArrayLike, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """Return each user's ``k`` likeliest items.

        Args:
            users: user ids ``[Q]``.
            query: what each of them did before, ``Q`` users; only read to exclude it.
            k: length of the lists.
            exclude_seen: leave out the items of the query.
        """
        ids = np.asarray(users, dtype=object)
        parts = [self._block(ids, query, start, k, exclude_seen) for start in range(0, len(ids), _BLOCK_USERS)]
        items, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Recommendations.from_top_k(items, scores)

    def _block(
        self, ids: npt.NDArray[np.object_], query: Sequences, start: int, k: int, exclude_seen: bool
    ) -> tuple[Ints, Floats]:
        rows = np.arange(start, min(start + _BLOCK_USERS, len(ids)))
        item_ids, known = oracle_scores(
            self.truth,
            user_ids=ids[rows],
            day=calendar.day_of(self.from_us),
            window_days=self.window_days,
            target=self.target,
        )
        scores = np.full((len(rows), len(self.vocabulary)), -np.inf, np.float32)
        codes = self.vocabulary.encode(item_ids)
        held = codes >= FIRST
        scores[:, codes[held]] = np.where(known[:, held] > 0, known[:, held], -np.inf)
        if exclude_seen:
            past = query.take(rows)
            scores[past.user_of_event, past.item] = -np.inf
        scores[:, [PAD, UNKNOWN]] = -np.inf
        top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return top, np.take_along_axis(scores, top, axis=1)


def _owners(truth: Truth, ids: npt.NDArray[np.object_]) -> tuple[Ints, Ints]:
    """Return which question each owner belongs to, and the owner's row among the customers."""
    rows = rows_of(ids, truth.users.user_id)
    strangers = np.flatnonzero(rows < 0)
    if len(strangers) == 0:
        return np.arange(len(ids)), rows
    asked = pd.DataFrame({c.DEVICE_ID: ids[strangers], "question": strangers})
    owners = asked.merge(truth.devices, on=c.DEVICE_ID, how="left")
    if owners[c.USER_ID].isna().any():
        unknown = owners.loc[owners[c.USER_ID].isna(), c.DEVICE_ID].iloc[0]
        raise UnknownId(f"oracle: expected a customer or a device of the simulated shop, found {unknown!r}.")
    questions = np.concatenate([np.flatnonzero(rows >= 0), owners["question"].to_numpy()])
    found = np.concatenate([rows[rows >= 0], rows_of(owners[c.USER_ID].to_numpy(), truth.users.user_id)])
    order = np.argsort(questions, kind="stable")
    return questions[order], found[order]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """What is asked, and the state on the evening before.

    Args:
        truth: the shop.
        day, window_days, target: see ``oracle_scores``.
        last_leaf: leaf category of each customer's last session, -1 without, ``[U]``.
        bought: ``user`` and ``item`` rows and the last ``day`` on which each pair was bought.
    """

    truth: Truth
    day: int
    window_days: int
    target: Target
    last_leaf: Ints
    bought: pd.DataFrame


def _probabilities(question: _Question, users: Ints) -> Floats:
    """Return float32 ``[n, I]`` for distinct customer rows."""
    blocks = [users[start : start + _BLOCK_USERS] for start in range(0, len(users), _BLOCK_USERS)]
    items = question.truth.items
    scores = np.zeros((len(users), items.num_items), np.float32)
    for number, block in enumerate(blocks):
        start = number * _BLOCK_USERS
        scores[start : start + len(block)] = 1 - np.exp(-_expected_meetings(question, block))
    if question.target == "purchase":
        _add_needs(question, scores, users)
    return scores


def _expected_meetings(question: _Question, users: Ints) -> Floats:
    """Return how many sessions of the window are expected to meet each item, week by week, float32 ``[n, I]``."""
    truth, stop = question.truth, question.day + question.window_days
    total = np.zeros((len(users), truth.items.num_items), np.float32)
    for first in range(question.day, stop, WEEK):
        days = min(WEEK, stop - first)
        visits = truth.users.visit_rate[users] * days
        total += visits[:, None] * _session_chance(question, users, at=first + days // 2)
    return total


def _session_chance(question: _Question, users: Ints, *, at: int) -> Floats:
    """Return the probability that a session on day ``at`` meets each item, float32 ``[n, I]``."""
    truth = question.truth
    items, people, sales = truth.items, truth.users, truth.sales[question.day]
    found = choice.visibility(items, truth.prices, day=at, sales=sales)
    taste = people.taste_at(at, users)
    match, weight = choice.item_weights(items, taste, people.price_preference[users], found)
    leaf_share = _leaf_shares(question, users, choice.leaf_probabilities(items, taste, found))
    seen = choice.seen_in_session(choice.without_focus(items, weight, leaf_share), people.view_stop[users])
    on_sale = np.isfinite(found)
    best, random = choice.best_seller_shares(sales, on_sale), choice.random_shares(sales, on_sale)
    seen = 1 - (1 - seen) * (1 - MECHANICS.home_share * choice.clicked_in_session(match, best, random))
    if question.target == "view":
        return seen
    odds = choice.cart_log_odds(
        match, truth.prices.log_ratio[at], people.price_sensitivity[users][:, None], people.conversion[users][:, None]
    )
    _discourage_owned(question, odds, users)
    lines = seen * choice.sigmoid(odds) * MECHANICS.buy_given_cart * (1 - MECHANICS.anonymous)
    return along(items, lines, day=at)


def _leaf_shares(question: _Question, users: Ints, fresh: Floats) -> Floats:
    """Mix where a fresh session turns to with the leaf of the last one, ``[n, L]``."""
    last = question.last_leaf[users]
    sessions = question.truth.users.visit_rate[users] * question.window_days
    stays = _share_of_sessions_that_stay(sessions) * (last >= 0)
    mixed = fresh * (1 - stays[:, None])
    mixed[np.arange(len(users)), last] += stays
    return mixed


def _share_of_sessions_that_stay(sessions: Floats) -> Floats:
    """Share of the next ``n`` sessions that are still in the last leaf: ``mean of stay^1 .. stay^n``."""
    n, stay = np.maximum(sessions, 1.0), MECHANICS.focal_stay
    return stay * (1 - stay**n) / (1 - stay) / n


def _last_leaves(truth: Truth, day: int) -> Ints:
    """Return each customer's last leaf category before ``day``, -1 where there is none, ``[U]``."""
    past = truth.sessions[truth.sessions["day"] < day].drop_duplicates(c.USER_ID, keep="last")
    last = np.full(truth.users.num_users, -1)
    last[rows_of(past[c.USER_ID].to_numpy(), truth.users.user_id)] = past["focal_leaf"]
    return last


def _last_purchases(truth: Truth, day: int) -> pd.DataFrame:
    """Return ``user`` and ``item`` rows and the day on which each pair was bought last, before ``day``."""
    past = truth.purchases[truth.purchases["day"] < day].drop_duplicates([c.USER_ID, c.ITEM_ID], keep="last")
    user = rows_of(past[c.USER_ID].to_numpy(), truth.users.user_id)
    item = rows_of(past[c.ITEM_ID].to_numpy(), truth.items.item_id)
    return pd.DataFrame({"user": user, "item": item, "day": past["day"].to_numpy()})


def _discourage_owned(question: _Question, odds: Floats, users: Ints) -> None:
    truth, owned = question.truth, question.bought
    row_of_user = np.full(truth.users.num_users, -1)
    row_of_user[users] = np.arange(len(users))
    row, item = row_of_user[owned["user"].to_numpy()], owned["item"].to_numpy()
    durable = (row >= 0) & ~truth.items.is_consumable[item]
    odds[row[durable], item[durable]] += np.float32(np.log(MECHANICS.owned_factor))


def _add_needs(question: _Question, scores: Floats, people: Ints) -> None:
    """Add purchases of what is needed again, in place.

    A pair was bought ``age`` days ago and not since. With probability ``habit`` it will be needed once more,
    ``cycle * exp(noise * z)`` days after it was bought; each later day meets the need with probability
    ``visit rate * buy_again``. That it was not met by now is evidence against an early need, and against any::

        P(bought in the window) = sum_z habit P(unmet | z) P(met in the window | z) / P(unmet)
    """
    truth, owned, day = question.truth, question.bought, question.day
    row_of_user = np.full(truth.users.num_users, -1)
    row_of_user[people] = np.arange(len(people))
    row, item = row_of_user[owned["user"].to_numpy()], owned["item"].to_numpy()
    open_need = (row >= 0) & truth.items.is_consumable[item]
    row, item, bought = row[open_need], item[open_need], owned["day"].to_numpy()[open_need]
    users = owned["user"].to_numpy()[open_need]
    daily = truth.users.visit_rate[users][:, None] * MECHANICS.buy_again  # [n, 1]
    due = bought[:, None] + truth.items.cycle_days[item][:, None] * np.exp(MECHANICS.cycle_noise * _POINTS)  # [n, 9]
    unmet = np.exp(-daily * np.maximum(0, day - due))
    met = 1 - np.exp(-daily * np.maximum(0, day + question.window_days - np.maximum(day, due)))
    habit = MECHANICS.habit
    again = habit * (unmet * met).mean(axis=1) / (habit * unmet.mean(axis=1) + 1 - habit)
    on_sale = choice.on_sale(truth.items, day)[item]
    scores[row, item] = 1 - (1 - scores[row, item]) * (1 - again * on_sale)
