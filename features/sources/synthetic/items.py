"""The shop's items, and what is true of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources.synthetic import words
from features.sources.synthetic.settings import MECHANICS, PLANNED_DAYS, Floats, Ints, Size, Texts

NEVER = 10_000  # a day that does not come


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """``I`` items in ``L`` leaf categories.

    Args:
        item_id, title, brand: str ``[I]``.
        leaf: leaf category of each item, int ``[I]``.
        leaf_path: str ``[L]``.
        department: department of each leaf, int ``[L]``.
        vectors: unit vectors, float32 ``[I, d]``.
        centroids: unit vectors of the leaves, float32 ``[L, d]``.
        appeal: log of base popularity, float32 ``[I]``.
        base_price, cost: minor units, int64 ``[I]``.
        price_level: standardised log price within the leaf, float32 ``[I]``.
        lead_time_days: int ``[I]``.
        cycle_days: median days until a consumable is needed again; 0 for durable items, float32 ``[I]``.
        launch_day, retire_day: first day on sale, and first day no longer on sale, int ``[I]``.
        season_amplitude, season_day: yearly season of each leaf, float32 ``[L]``.
        complement: the item bought along with each, -1 where there is none, int ``[I]``.
        complement_rate: probability of that, float32 ``[I]``.
    """

    item_id: Texts
    title: Texts
    brand: Texts
    leaf: Ints
    leaf_path: Texts
    department: Ints
    vectors: Floats
    centroids: Floats
    appeal: Floats
    base_price: Ints
    cost: Ints
    price_level: Floats
    lead_time_days: Ints
    cycle_days: Floats
    launch_day: Ints
    retire_day: Ints
    season_amplitude: Floats
    season_day: Floats
    complement: Ints
    complement_rate: Floats

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.item_id)

    @property
    def num_leaves(self) -> int:
        """L."""
        return len(self.leaf_path)

    @property
    def is_consumable(self) -> np.ndarray:
        """Whether the item is used up and needed again, bool ``[I]``."""
        return self.cycle_days > 0

    @property
    def mean_units(self) -> Floats:
        """Mean units of a bought line, float32 ``[I]``."""
        return np.where(self.is_consumable, 1 + MECHANICS.extra_units, 1.0).astype(np.float32)


def draw_items(size: Size) -> Items:
    """Draw the items of a shop."""
    rng = size.random("items")
    paths = words.leaf_paths()[: min(MECHANICS.num_leaves, max(2, size.num_items // 8))]
    names = [path.split("/")[0] for path in paths]
    department = np.unique(names, return_inverse=True)[1]
    leaf = rng.permutation(np.arange(size.num_items) % len(paths))
    centroids = _leaf_centroids(department, rng)
    own = rng.standard_normal((size.num_items, MECHANICS.taste_dims))
    appeal = _appeal(size.num_items, rng)
    base_price, price_level = _prices(leaf, len(paths), rng)
    launch_day, retire_day = _on_sale(size, rng)
    brands = _brands(department[leaf], size.num_items, rng)
    complement, complement_rate = _complements(appeal, leaf, department, rng)
    return Items(
        item_id=np.array([f"i{number:06d}" for number in range(size.num_items)], dtype=object),
        title=words.titles([paths[row] for row in leaf], brands, own[:, :8].argmax(axis=1), rng),
        brand=brands,
        leaf=leaf,
        leaf_path=np.array(paths, dtype=object),
        department=department,
        vectors=unit(centroids[leaf] + 0.8 * own / np.sqrt(MECHANICS.taste_dims)),
        centroids=centroids,
        appeal=appeal,
        base_price=base_price,
        cost=(base_price * rng.uniform(0.5, 0.75, size.num_items)).astype(np.int64),
        price_level=price_level,
        lead_time_days=rng.integers(2, 11, size.num_items),
        cycle_days=_cycles(names, leaf, rng),
        launch_day=launch_day,
        retire_day=retire_day,
        season_amplitude=rng.uniform(0.0, 0.7, len(paths)).astype(np.float32),
        season_day=rng.uniform(0, 365.25, len(paths)).astype(np.float32),
        complement=complement,
        complement_rate=complement_rate,
    )


def unit(vectors: Floats) -> Floats:
    """Scale rows to length 1, in steps of 1/1024, float32.

    Products of such numbers, and sums of sixteen of them, are exact in float32, so that a dot product is the same
    whatever the order in which a machine's threads add it up.
    """
    scaled = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (np.round(scaled * 1024) / 1024).astype(np.float32)


def _leaf_centroids(department: Ints, rng: np.random.Generator) -> Floats:
    of_department = rng.standard_normal((department.max() + 1, MECHANICS.taste_dims))
    return unit(0.6 * of_department[department] + rng.standard_normal((len(department), MECHANICS.taste_dims)))


def _appeal(num_items: int, rng: np.random.Generator) -> Floats:
    rank = rng.permutation(num_items) + 1
    return (-MECHANICS.zipf_exponent * np.log(rank) + 0.2 * rng.standard_normal(num_items)).astype(np.float32)


def _prices(leaf: Ints, num_leaves: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    deviation = rng.standard_normal(len(leaf))
    typical = rng.uniform(np.log(300), np.log(4000), num_leaves)
    price = np.exp(typical[leaf] + 0.4 * deviation)
    return (np.maximum(50, np.round(price / 10) * 10 - 1)).astype(np.int64), deviation.astype(np.float32)


def _brands(department: Ints, num_items: int, rng: np.random.Generator) -> Texts:
    # A brand lives in one department, which is where its number modulo the departments points.
    num_departments = int(department.max()) + 1
    names = words.brand_names(num_departments * max(1, min(12, num_items // 40)))
    rows = np.floor(rng.random(num_items) ** 1.5 * (len(names) // num_departments)).astype(np.int64)
    return names[rows * num_departments + department]


def _cycles(departments: list[str], leaf: Ints, rng: np.random.Generator) -> Floats:
    typical = rng.uniform(np.log(8), np.log(32), len(departments))
    consumable = np.isin(departments, words.CONSUMABLE_DEPARTMENTS)
    days = np.exp(typical[leaf] + 0.15 * rng.standard_normal(len(leaf)))
    return np.where(consumable[leaf], days, 0.0).astype(np.float32)


def _on_sale(size: Size, rng: np.random.Generator) -> tuple[Ints, Ints]:
    # A fifth of the items are launched after the first day, and one in forty leaves.
    age = -rng.integers(30, 900, size.num_items)
    later = rng.integers(1, size.num_days, size.num_items)
    launch = np.where(rng.random(size.num_items) < 0.2, later, age)
    leaves = rng.integers(size.num_days // 2, size.num_days + PLANNED_DAYS, size.num_items)
    goes = (rng.random(size.num_items) < 0.025) & (launch < 0)
    return launch, np.where(goes, leaves, NEVER)


def _complements(appeal: Floats, leaf: Ints, department: Ints, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Give one item in twenty a partner of its department but of another leaf."""
    num_items = len(appeal)
    weight = np.exp(appeal.astype(np.float64))
    chosen = rng.choice(num_items, max(2, num_items // 20), replace=False, p=weight / weight.sum())
    complement, rate = np.full(num_items, -1), np.zeros(num_items, np.float32)
    for item in chosen:
        fits = np.flatnonzero((department[leaf] == department[leaf[item]]) & (leaf != leaf[item]))
        if len(fits):
            complement[item] = rng.choice(fits)
            rate[item] = rng.uniform(0.2, 0.45)
    return complement, rate
