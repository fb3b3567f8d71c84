"""A small shop in Chinese, so that whatever is English on its pages comes from the pages."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from features.build import build_features
from features.settings import EngineSettings, PrivacySettings, ShopSettings
from tests.features.tiny_shop import event, write_shop

FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NUM_DAYS = 130
TEA, RICE, CUPS = "茶", "米", "杯"
ITEMS = [
    {"item_id": "i1", "title": "绿茶", "category": "饮品/茶", "brand": "山", "price": 1_000},
    {"item_id": "i2", "title": "大米", "category": "粮食/米", "brand": "田", "price": 2_000},
    {"item_id": "i3", "title": "茶杯", "category": "器皿/杯", "brand": "窑", "price": 3_000},
]
TEA_DRINKER, NEVER_ASKED, CHANGED_MIND = "茶客", "无名", "改主意"


def build(directory: Path) -> Path:
    """Write the shop and its features; return the directory of the features."""
    shop = ShopSettings(name="小店 & 朋友", currency="CNY", privacy=PrivacySettings(minimum_group=3))
    data = write_shop(
        directory / "data",
        shop=shop,
        events=[*_crowd(), *_tea_drinker(), *_others()],
        items=ITEMS,
        consents=_consents(),
    )
    out = directory / "features"
    build_features(data, out, engine=EngineSettings(threads=1))
    return out


def _crowd() -> list[dict[str, object]]:
    """Sixty customers who come on some days, look, and buy on some of these; fewer come towards the end."""
    rng = np.random.default_rng(7)
    events = []
    for user in range(60):
        stays = rng.integers(20, NUM_DAYS)
        for day in np.flatnonzero(rng.random(stays) < 0.25):
            at = FIRST + dt.timedelta(days=int(day), hours=int(rng.integers(7, 23)), minutes=user)
            item = f"i{rng.integers(1, 4)}"
            where = {"region": "北", "device_id": f"机{user}", "channel": "网站" if user % 2 else "应用"}
            events.append(event(f"客{user}", "view", at, item, **where))
            if rng.random() < 0.4:
                price = 1_000 * int(item[1])
                events.append(
                    event(f"客{user}", "purchase", at, item, price=price, order_id=f"单{user}-{day}", **where)
                )
    return events


def _tea_drinker() -> list[dict[str, object]]:
    """Tea every twenty days at eight in the evening, twice at half the price; one cup, sent back."""
    events = []
    for number in range(6):
        at = FIRST + dt.timedelta(days=5 + 20 * number, hours=20)
        price = 500 if number in {1, 2} else 1_000
        order = {"order_id": f"茶单{number}", "coupon_id": "券" if number == 3 else None}
        events += [
            event(TEA_DRINKER, "view", at, "i1", region="北"),
            event(TEA_DRINKER, "purchase", at, "i1", price=price, quantity=2, **order),
        ]  # fmt: skip
    at = FIRST + dt.timedelta(days=60, hours=9)
    events.append(event(TEA_DRINKER, "purchase", at, "i3", price=3_000, order_id="杯单"))
    events.append(event(TEA_DRINKER, "refund", at + dt.timedelta(days=1), "i3", price=3_000))
    return events


def _others() -> list[dict[str, object]]:
    at = FIRST + dt.timedelta(days=100, hours=12)
    far = [event(f"客{user}", "view", at + dt.timedelta(minutes=5), "i1", region="南") for user in (1, 2)]
    near = [event(f"客{user}", "view", at, "i1", region="北") for user in (1, 2)]
    return [*near, *far, *(event(who, "purchase", at, "i2", price=2_000) for who in (NEVER_ASKED, CHANGED_MIND))]


def _consents() -> list[dict[str, object]]:
    """Everyone agreed before the log begins, but one whom nobody asked; one withdrew after it ended."""
    before, after = FIRST - dt.timedelta(days=1), FIRST + dt.timedelta(days=NUM_DAYS + 30)
    asked = [*(f"客{user}" for user in range(60)), TEA_DRINKER, CHANGED_MIND]
    rows = [
        {"user_id": user, "purpose": purpose, "granted": True, "at": before}
        for user in asked
        for purpose in ("analytics", "personalisation")
    ]
    return [*rows, {"user_id": CHANGED_MIND, "purpose": "personalisation", "granted": False, "at": after}]
