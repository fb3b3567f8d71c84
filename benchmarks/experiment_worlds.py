"""Tests in worlds whose effect is planted: what ``benchmarks/experiments.py`` draws, and what an oracle would know of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.insight.experiments.samples import Sample
from features.sources.synthetic.campaigns import Campaign, assign
from features.sources.synthetic.items import draw_items
from features.sources.synthetic.settings import Size
from features.sources.synthetic.users import draw_users

Floats = npt.NDArray[np.float64]
CAP: Final = 0.999
# A visitor of a campaign is looked at for the days that its message works, and for 28 days before.
CAMPAIGN_DAY, PAST_DAYS, MESSAGE_DAYS = 60, 28, 7


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A shop whose customers differ much, and what is tried on half of them.

    Args:
        num_users: in the test.
        share: of them in the arm that is tried.
        order_lift: relative effect on the rate of orders, of a customer of mean responsiveness.
        basket_lift: on the value of each order.
        click_lift: on the chance of a click.
        days, past_days: window after the assignment, and the time before of which the past is known.
        orders: mean rate a day; customers' rates are a gamma of shape 0.7.
        newcomers: share of customers without a past.
        basket_sigma, taste_sigma: of the log of an order's value within a customer, and of customers' mean values.
    """

    num_users: int = 6000
    share: float = 0.5
    order_lift: float = 0.1
    basket_lift: float = 0.03
    click_lift: float = 0.05
    days: float = 14
    past_days: float = 56
    orders: float = 0.05
    newcomers: float = 0.1
    basket_sigma: float = 1.0
    taste_sigma: float = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One world.

    Args:
        samples: metric -> what happened.
        expected: metric -> each user's expected value and lower part in the arm that is tried and in the control,
            ``[2 parts, 2 arms (control first), N]``.
        truth: metric -> the planted effect, where it is of these users.
    """

    samples: dict[str, Sample]
    expected: dict[str, Floats]
    truth: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Latent:
    """What customers are, ``[N]`` each."""

    rate: Floats
    taste: Floats
    answers: Floats
    clicks: Floats
    views: Floats
    newcomer: npt.NDArray[np.bool_]


def draw_latent(shop: Shop, rng: np.random.Generator, num: int) -> Latent:
    rate = rng.gamma(0.7, shop.orders / 0.7, num)
    return Latent(
        rate=rate,
        taste=np.exp(rng.normal(0, shop.taste_sigma, num)),
        answers=rng.gamma(2.0, 0.5, num),
        clicks=rng.beta(2, 18, num),
        views=1 + rng.gamma(0.8, 10.0, num),
        newcomer=rng.random(num) < shop.newcomers,
    )


def draw_shop(shop: Shop, seed: int) -> Drawn:
    """Draw one test in a shop."""
    rng = np.random.default_rng([seed, 7])
    latent = draw_latent(shop, rng, shop.num_users)
    arm = (rng.random(shop.num_users) < shop.share).astype(np.int64)
    after = happened(shop, latent, rng, treated=arm.astype(np.float64), days=shop.days)
    before = happened(shop, latent, rng, treated=np.zeros(len(arm)), days=shop.past_days)
    before = {name: np.where(latent.newcomer, 0.0, value) for name, value in before.items()}
    common: dict[str, Any] = {"arm": arm, "num_arms": 2, "has_past": ~latent.newcomer}
    pasts = {"conversion": "orders", "orders": "orders", "revenue": "revenue"}  # hardly two orders fall on one day
    samples = {name: Sample(value=after[name], before=before[past], **common) for name, past in pasts.items()}
    samples["revenue_capped"] = samples["revenue"].winsorised(CAP)
    for name, above, below in (("revenue_per_order", "revenue", "orders"), ("clicks_per_view", "clicks", "views")):
        samples[name] = Sample(
            value=after[above], per=after[below], before=before[above], per_before=before[below], **common
        )
    return Drawn(samples=samples, expected=expectations(shop, latent), truth={})


def happened(
    shop: Shop, latent: Latent, rng: np.random.Generator, *, treated: Floats, days: float
) -> dict[str, Floats]:
    """Draw what customers do in some days, ``[N]`` each."""
    num = len(latent.rate)
    orders = rng.poisson(latent.rate * days * (1 + shop.order_lift * latent.answers * treated))
    owner = np.repeat(np.arange(num), orders)
    values = np.exp(rng.normal(0, shop.basket_sigma, len(owner)) - shop.basket_sigma**2 / 2) * latent.taste[owner]
    revenue = np.bincount(owner, values, minlength=num) * (1 + shop.basket_lift * treated)
    views = rng.poisson(latent.views * days / shop.days)
    clicks = rng.binomial(views, latent.clicks * (1 + shop.click_lift * treated))
    named = {"conversion": orders > 0, "orders": orders, "revenue": revenue, "views": views, "clicks": clicks}
    return {name: np.asarray(value, np.float64) for name, value in named.items()}


def expectations(shop: Shop, latent: Latent) -> dict[str, Floats]:
    """Return what each customer is expected to do in either arm: all that an oracle knows, ``[2 parts, 2 arms, N]``."""
    found: dict[str, list[Floats]] = {"conversion": [], "orders": [], "revenue": [], "views": [], "clicks": []}
    for treated in (0.0, 1.0):
        orders = latent.rate * shop.days * (1 + shop.order_lift * latent.answers * treated)
        found["orders"].append(orders)
        found["conversion"].append(-np.expm1(-orders))
        found["revenue"].append(orders * latent.taste * (1 + shop.basket_lift * treated))
        found["views"].append(latent.views)
        found["clicks"].append(latent.views * latent.clicks * (1 + shop.click_lift * treated))
    parts = {name: np.array(value) for name, value in found.items()}
    ones = np.ones_like(parts["orders"])
    pairs = {name: (parts[name], ones) for name in ("conversion", "orders", "revenue")}
    pairs["revenue_capped"] = (parts["revenue"], ones)  # the capped mean has no closed form; a slope stands for it
    pairs["revenue_per_order"] = (parts["revenue"], parts["orders"])
    pairs["clicks_per_view"] = (parts["clicks"], parts["views"])
    return {name: np.stack(pair) for name, pair in pairs.items()}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is true of a metric in all worlds of a shop.

    Args:
        effect: the planted effect: difference of the means of infinitely many users.
        mean: of the control.
        oracle_se: standard error of the oracle's estimator.
        plain_se: standard error of a difference of means whose variance is known.
        correlation: of past and present within an arm.
    """

    effect: float
    mean: float
    oracle_se: float
    plain_se: float
    correlation: float


@cache
def known(shop: Shop, *, num_users: int = 2_000_000) -> dict[str, Known]:
    """Return what is true of a shop's metrics, from very many users of it.

    The oracle knows what each user is expected to do in either arm. Its estimator,

        mean of (m_t - m_c)  +  mean of the tried arm's (y - m_t)  -  mean of the control's (y - m_c),

    is the best that is unbiased (Hahn 1998), and its interval uses the exact variance. Of a ratio it takes the linear part.
    """
    every = draw_shop(replace(shop, num_users=num_users), seed=10**9)
    effects = exact_effects(shop, num_users)
    return {name: _known(shop, every, name, *effects[name]) for name in every.samples}


def exact_effects(shop: Shop, num_users: int) -> dict[str, tuple[float, float]]:
    """Return the effect and the control's mean of each metric, from expectations of very many users."""
    rng = np.random.default_rng([10**9, 11])
    latent = draw_latent(shop, rng, num_users)
    found = {}
    for name, (above, below) in expectations(shop, latent).items():
        control, treated = (float(above[arm].sum() / below[arm].sum()) for arm in (0, 1))
        found[name] = (treated - control, control)
    # Capped: the same customers and dice in both arms.
    dice = {
        arm: happened(
            shop, latent, np.random.default_rng([10**9, 13]), treated=np.full(num_users, float(arm)), days=shop.days
        )
        for arm in (0, 1)
    }
    mixed = np.where(rng.random(num_users) < shop.share, dice[1]["revenue"], dice[0]["revenue"])
    cap = np.quantile(mixed, CAP)
    control, treated = (float(np.minimum(dice[arm]["revenue"], cap).mean()) for arm in (0, 1))
    return found | {"revenue_capped": (treated - control, control)}


def _known(shop: Shop, every: Drawn, name: str, effect: float, mean: float) -> Known:
    sample, (above, below) = every.samples[name], every.expected[name]
    n = shop.num_users
    sizes = (n * (1 - shop.share), n * shop.share)
    plain, oracle, gaps, product, spread, total = 0.0, 0.0, np.zeros(len(sample.arm)), 0.0, 0.0, 0.0
    past = _linear_past(sample)
    for arm in (0, 1):
        rows = sample.arm == arm
        per = np.ones(rows.sum()) if sample.per is None else sample.per[rows]
        ratio, level = sample.value[rows].sum() / per.sum(), per.mean()
        part = (sample.value[rows] - ratio * per) / level
        expected = (above[arm] - ratio * below[arm]) / level
        slope = 1.0 if name != "revenue_capped" else float(np.polyfit(expected[rows], part, 1)[0])
        gaps += (slope * expected) * (1 if arm else -1)
        plain += part.var() / sizes[arm]
        oracle += (part - slope * expected[rows]).var() / sizes[arm]
        within = past[rows] - past[rows].mean(axis=0)
        spread, product, total = spread + within.T @ within, product + within.T @ part, total + part @ part
    explained = product @ np.linalg.solve(spread, product)
    return Known(
        effect=effect,
        mean=mean,
        oracle_se=float(np.sqrt(oracle + gaps.var() / n)),
        plain_se=float(np.sqrt(plain)),
        correlation=float(np.sqrt(explained / total)),
    )


def _linear_past(sample: Sample) -> Floats:
    assert sample.before is not None
    assert sample.has_past is not None
    has = sample.has_past
    before = sample.before
    if sample.per_before is not None:
        before = before - before[has].sum() / sample.per_before[has].sum() * sample.per_before
    return np.stack([np.where(has, before, before[has].mean()), ~has], axis=1)


@cache
def _campaign_size(num_users: int) -> tuple[Size, Any]:
    size = Size(num_users=num_users, num_items=40, num_days=CAMPAIGN_DAY + MESSAGE_DAYS, seed=0)
    return size, draw_items(size)


def draw_campaign(seed: int, *, num_users: int = 4000) -> Drawn:
    """Draw a randomised campaign of the synthetic shop: its customers, its message, and the days on which they come.

    Customers, assignment and the message's pull are the generator's own code; left out are season and advertising, which
    act on both arms alike. The truth is the generator's: expected visits with the message less those without, over the
    audience.
    """
    size, items = _campaign_size(num_users)
    size = Size(num_users=num_users, num_items=40, num_days=size.num_days, seed=seed)
    users, rng = draw_users(size, items), size.random("campaign benchmark")
    campaign = Campaign(
        campaign_id="c001", day=CAMPAIGN_DAY, medium=0, department=0, randomised=True,
        strength=float(rng.uniform(0.06, 0.14)), coupon_value=0,
    )  # fmt: skip
    dealt = assign(campaign, users, items, users.arrival_day < campaign.day, rng)
    past, after = np.zeros(num_users), np.zeros(num_users)
    got = np.zeros(num_users, bool)
    got[dealt.reached] = True
    for day in range(CAMPAIGN_DAY - PAST_DAYS, CAMPAIGN_DAY + MESSAGE_DAYS):
        rate, extra = users.own_rate(day), campaign.extra_visits(day) * users.responsiveness
        came = rng.random(num_users) < -np.expm1(-(rate + np.where(got, extra, 0.0)))
        past, after = (past + came, after) if day < CAMPAIGN_DAY else (past, after + came)
        if day >= CAMPAIGN_DAY:
            dealt.observe(rate, extra)
    rows = dealt.audience
    expected = np.stack([dealt.expected_control, dealt.expected_treated])
    sample = Sample(arm=dealt.treated.astype(np.int64), num_arms=2, value=after[rows], before=past[rows])
    return Drawn(
        samples={"visits": sample},
        expected={"visits": np.stack([expected, np.ones_like(expected)])},
        truth={"visits": float((expected[1] - expected[0]).mean())},
    )
