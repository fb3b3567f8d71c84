"""Invented brands and titles, in English and Chinese."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.sources.synthetic.settings import Ints, Texts

# department -> leaf categories, each with the nouns of its titles
DEPARTMENTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "pantry": {
        "noodles": ("noodles", "面条"),
        "sauces": ("sauce", "酱"),
        "rice": ("rice", "大米"),
        "spices": ("spice mix", "香料"),
    },
    "drinks": {
        "tea": ("tea", "茶"),
        "coffee": ("coffee", "咖啡"),
        "juice": ("juice", "果汁"),
        "water": ("mineral water", "矿泉水"),
    },
    "snacks": {
        "biscuits": ("biscuits", "饼干"),
        "nuts": ("nuts", "坚果"),
        "chocolate": ("chocolate", "巧克力"),
        "dried-fruit": ("dried fruit", "果干"),
    },
    "care": {
        "hair": ("shampoo", "洗发水"),
        "skin": ("face cream", "面霜"),
        "teeth": ("toothpaste", "牙膏"),
        "bath": ("soap", "香皂"),
    },
    "kitchen": {
        "pans": ("pan", "平底锅"),
        "knives": ("knife", "菜刀"),
        "cups": ("cup", "杯子"),
        "storage": ("storage jar", "收纳罐"),
    },
    "living": {
        "lamps": ("lamp", "台灯"),
        "cushions": ("cushion", "靠垫"),
        "rugs": ("rug", "地毯"),
        "frames": ("picture frame", "相框"),
    },
    "outdoor": {
        "tents": ("tent", "帐篷"),
        "bottles": ("flask", "水壶"),
        "packs": ("backpack", "背包"),
        "garden": ("garden tool", "园艺工具"),
    },
    "study": {
        "pens": ("pen", "钢笔"),
        "notebooks": ("notebook", "笔记本"),
        "games": ("board game", "桌游"),
        "craft": ("craft kit", "手工套装"),
    },
}
CONSUMABLE_DEPARTMENTS: Final = ("pantry", "drinks", "snacks", "care")
REGIONS: Final = ("north", "south", "east", "west", "centre", "islands")

# One style for each of the first eight directions in which an item differs from its category.
_STYLES: Final = (
    ("classic", "经典"),
    ("bold", "浓郁"),
    ("gentle", "温和"),
    ("bright", "明亮"),
    ("rustic", "乡村"),
    ("pocket", "便携"),
    ("artisan", "手作"),
    ("plain", "素雅"),
)
_SIZES: Final = ("S", "M", "L", "duo", "250", "500", "1000")
_FIRST: Final = ("Bru", "Kel", "Mor", "Tav", "Ozu", "Lin", "Fer", "Qua", "Sil", "Wen", "Zar", "Hol")
_LAST: Final = ("dora", "mint", "vane", "loft", "kora", "spin", "quil", "tessa", "nova", "bram")
CHINESE_SHARE: Final = 0.2


def leaf_paths() -> list[str]:
    """Category paths such as ``pantry/noodles``, one of each department in turn.

    >>> leaf_paths()[:2]
    ['pantry/noodles', 'drinks/tea']
    """
    shelves = [[f"{department}/{leaf}" for leaf in leaves] for department, leaves in DEPARTMENTS.items()]
    return [path for row in zip(*shelves, strict=True) for path in row]


def brand_names(num_brands: int) -> Texts:
    """Return up to 120 distinct invented brands."""
    names = [first + last for last in _LAST for first in _FIRST]
    return np.array(names[:num_brands], dtype=object)


def titles(paths: list[str], brand: Texts, style: Ints, rng: np.random.Generator) -> Texts:
    """Return one title an item; a fifth are Chinese.

    Args:
        paths: category path of each item.
        brand: brand of each item, ``[I]``.
        style: row of the style words, ``[I]``.
        rng: decides size and language.
    """
    size = rng.integers(len(_SIZES), size=len(paths))
    chinese = rng.random(len(paths)) < CHINESE_SHARE
    return np.array(
        [_title(*row) for row in zip(paths, brand, style.tolist(), size.tolist(), chinese.tolist(), strict=True)],
        dtype=object,
    )


def _title(path: str, brand: str, style: int, size: int, chinese: bool) -> str:
    department, leaf = path.split("/")
    english_noun, chinese_noun = DEPARTMENTS[department][leaf]
    if chinese:
        return f"{brand} {_STYLES[style][1]}{chinese_noun} {_SIZES[size]}"
    return f"{brand} {_STYLES[style][0]} {english_noun} {_SIZES[size]}"
