from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.vocabulary import FIRST, PAD, UNKNOWN, Vocabulary

ids = st.lists(st.text(max_size=4), unique=True, max_size=20)


@given(ids=ids)
def test_decode_when_ids_are_encoded_then_they_come_back(ids: list[str]) -> None:
    vocabulary = Vocabulary.from_ids(ids)
    codes = vocabulary.encode(ids)
    assert codes.tolist() == list(range(FIRST, FIRST + len(ids)))
    assert vocabulary.decode(codes).tolist() == ids
    assert len(vocabulary) == len(ids) + FIRST


@given(ids=ids, asked=st.lists(st.text(max_size=4)))
def test_encode_when_an_id_is_not_held_then_unknown(ids: list[str], asked: list[str]) -> None:
    vocabulary = Vocabulary.from_ids(ids)
    slow = [ids.index(id_) + FIRST if id_ in ids else UNKNOWN for id_ in asked]
    assert vocabulary.encode(asked).tolist() == slow
    assert [id_ in vocabulary for id_ in asked] == [id_ in ids for id_ in asked]


@pytest.mark.parametrize("code", [PAD, UNKNOWN, 4, -1])
def test_decode_when_a_code_names_no_item_then_refused(code: int) -> None:
    with pytest.raises(DataError, match=r"expected codes in 2 \.\. 3"):
        Vocabulary.from_ids(["a", "b"]).decode([2, code])


def test_from_ids_when_an_id_repeats_or_is_missing_then_refused() -> None:
    with pytest.raises(DataError, match="expected distinct ids, found 'a' twice"):
        Vocabulary.from_ids(["a", "b", "a"])
    with pytest.raises(DataError, match="found a missing one"):
        Vocabulary.from_ids(["a", None])


@pytest.mark.parametrize("ids", [[], ["b", "a", "苹果", "", "1"]])
def test_load_when_saved_then_the_same_ids_in_the_same_order(tmp_path: Path, ids: list[str]) -> None:
    Vocabulary.from_ids(ids).save(tmp_path / "v.parquet")
    assert Vocabulary.load(tmp_path / "v.parquet").ids.tolist() == ids
