"""What an item says of itself, as codes: category path, brand, labels, price band and hashed title.

::

    category "food/tea/green"   -> levels "food", "food/tea", "food/tea/green"
    title "Green tea 绿茶"       -> words "green", "tea", "绿茶" and n-grams "gre", "ree", "een", ..., "绿茶"

Words and character n-grams are hashed (CRC-32, the same on every machine), so that a title needs no
vocabulary and a title in a language without spaces still shares n-grams with its like.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog

Ints = npt.NDArray[np.integer]

_WORD: Final = re.compile(r"\w+")
# Scripts written without spaces: kana, Han with its extensions, Hangul.
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]")
_LATIN_NGRAM: Final = 3
_UNSPACED_NGRAM: Final = 2  # most Chinese words have two characters


@dataclass(frozen=True, kw_only=True, eq=False)
class Bags:
    """A bag of codes for each of ``V`` items: item ``v`` has ``codes[offsets[v]:offsets[v + 1]]``.

    Args:
        offsets: int64 ``[V + 1]``.
        codes: int64 ``[N]`` in ``0 .. num_codes - 1``.
        num_codes: height of an embedding table for them.
    """

    offsets: Ints
    codes: Ints
    num_codes: int

    @classmethod
    def from_lists(cls, bags: Iterable[list[int]], *, num_codes: int) -> Bags:
        """Build from one list of codes an item."""
        lists = list(bags)
        flat = [code for bag in lists for code in bag]
        return cls(
            offsets=np.cumsum([0, *map(len, lists)]).astype(np.int64),
            codes=np.asarray(flat, dtype=np.int64),
            num_codes=num_codes,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemContent:
    """Content of ``V`` item codes; an empty bag where nothing is known.

    Args:
        category: the levels of the category path.
        brand: at most one code an item.
        labels: distinct labels, sorted.
        price_band: at most one code an item, ``band - 1``.
        title: hashed words and character n-grams, sorted, distinct.
    """

    category: Bags
    brand: Bags
    labels: Bags
    price_band: Bags
    title: Bags

    @classmethod
    def from_catalog(cls, catalog: ItemCatalog, *, num_title_buckets: int) -> ItemContent:
        """Encode every item of a catalogue."""
        levels = [category_levels(path) for path in catalog.category]
        brands = [[brand] if brand else [] for brand in catalog.brand]
        labels = [sorted({label.strip() for label in text.split("|")} - {""}) for text in catalog.labels]
        bands = [[int(band) - 1] if band > 0 else [] for band in catalog.price_band]
        hashed: dict[str, list[int]] = {}
        for title in catalog.title:
            if title not in hashed:
                hashed[title] = hash_title(title, num_buckets=num_title_buckets)
        return cls(
            category=_numbered(levels),
            brand=_numbered(brands),
            labels=_numbered(labels),
            price_band=Bags.from_lists(bands, num_codes=max(1, int(catalog.price_band.max(initial=0)))),
            title=Bags.from_lists([hashed[title] for title in catalog.title], num_codes=num_title_buckets),
        )


def category_levels(path: str) -> list[str]:
    """Return every level of a category path, the top one first.

    >>> category_levels("food/tea/green")
    ['food', 'food/tea', 'food/tea/green']
    """
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def title_tokens(title: str) -> list[str]:
    """Return the distinct words and character n-grams of a title, sorted; n-grams start with ``#``.

    Case, width and composition are folded first (Unicode NFKC).

    >>> title_tokens("Tea 绿茶叶")
    ['#tea', '#绿茶', '#茶叶', 'tea', '绿茶叶']
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", title).casefold())
    tokens = set(words)
    for word in words:
        size = _UNSPACED_NGRAM if _UNSPACED.search(word) else _LATIN_NGRAM
        tokens.update("#" + word[start : start + size] for start in range(len(word) - size + 1))
    return sorted(tokens)


def hash_title(title: str, *, num_buckets: int) -> list[int]:
    """Return the buckets of a title's tokens, sorted and distinct: the same on every machine and in every process."""
    return sorted({zlib.crc32(token.encode()) % num_buckets for token in title_tokens(title)})


def _numbered(lists: list[list[str]]) -> Bags:
    """Number distinct words in sorted order, so that equal catalogues give equal codes."""
    words = sorted({word for words in lists for word in words})
    code = {word: number for number, word in enumerate(words)}
    return Bags.from_lists([[code[word] for word in words] for words in lists], num_codes=max(1, len(words)))
