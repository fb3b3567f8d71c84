"""Titles and categories as codes: stable, language-blind, empty where nothing is known."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from features.catalog import ItemCatalog
from features.content import ItemContent, category_levels, hash_title, title_tokens
from features.vocabulary import Vocabulary


def test_title_tokens_when_latin_and_chinese_mix_then_words_and_ngrams_of_both() -> None:
    assert title_tokens("ＴＥＡ 绿茶叶") == ["#tea", "#绿茶", "#茶叶", "tea", "绿茶叶"]


def test_title_tokens_when_chinese_titles_share_a_word_then_they_share_an_ngram() -> None:
    assert "#绿茶" in set(title_tokens("高山绿茶")) & set(title_tokens("绿茶饼干"))


def test_hash_title_when_another_process_hashes_then_the_same_buckets() -> None:
    code = "from features.content import hash_title; print(hash_title('Green tea 绿茶', num_buckets=1000))"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == str(hash_title("Green tea 绿茶", num_buckets=1000))


@given(st.text(), st.integers(1, 50))
def test_hash_title_when_any_text_then_distinct_sorted_buckets_in_range(title: str, num_buckets: int) -> None:
    buckets = hash_title(title, num_buckets=num_buckets)
    assert buckets == sorted(set(buckets))
    assert all(0 <= bucket < num_buckets for bucket in buckets)


def test_category_levels_when_blank_then_none() -> None:
    assert category_levels("") == []
    assert category_levels("a//b/") == ["a", "a/b"]


def test_content_when_items_lack_fields_then_their_bags_are_empty() -> None:
    vocabulary = Vocabulary.from_ids(["x", "y", "z"])
    items = pd.DataFrame(
        {"item_id": ["x", "y"], "title": ["tea", None], "category": ["a/b", "a"], "brand": [None, "B"], "price": [5, 9]}
    )
    catalog = ItemCatalog.from_items(items, vocabulary, num_price_bands=2)
    content = ItemContent.from_catalog(catalog, num_title_buckets=100)
    # codes PAD, UNKNOWN, x, y, z
    assert (content.category.offsets[1:] - content.category.offsets[:-1]).tolist() == [0, 0, 2, 1, 0]
    assert content.category.codes.tolist() == [0, 1, 0]  # a, a/b; a
    assert (content.brand.offsets[1:] - content.brand.offsets[:-1]).tolist() == [0, 0, 0, 1, 0]
    assert content.price_band.codes.tolist() == [0, 1]
    assert (content.title.offsets[1:] - content.title.offsets[:-1]).tolist() == [0, 0, 2, 0, 0]  # tea, #tea


def test_labels_when_separated_by_bars_then_each_is_a_code_and_order_and_repeats_do_not_count():
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "labels": ["red | wool", "wool|red|wool", None]})
    catalog = ItemCatalog.from_items(items, Vocabulary.from_ids(["a", "b", "c"]))
    labels = ItemContent.from_catalog(catalog, num_title_buckets=8).labels
    assert labels.num_codes == 2  # red, wool
    assert labels.codes[labels.offsets[2] : labels.offsets[4]].tolist() == [0, 1, 0, 1]
    assert labels.offsets[5] == labels.offsets[4]  # c has none
