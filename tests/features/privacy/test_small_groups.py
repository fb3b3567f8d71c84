from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.privacy.small_groups import suppress_small_groups


def table(*numbers: int) -> pd.DataFrame:
    return pd.DataFrame({"segment": list("abcdefgh")[: len(numbers)], "customers": numbers, "spent": 1.5})


def test_groups_when_one_is_small_then_the_next_smallest_hides_it() -> None:
    frame = table(40, 25, 3, 0)
    found = suppress_small_groups(frame, counts="customers", minimum=10, measures=["spent"])
    assert found.frame["customers"].isna().tolist() == [False, True, True, False]
    assert found.frame["spent"].isna().tolist() == [False, True, True, False]
    assert found.frame["segment"].tolist() == list("abcd")
    assert found.note == (
        "Not shown: 1 group of fewer than 10 customers, and 1 more that a total would have given away."
    )
    assert frame.equals(table(40, 25, 3, 0))


def test_groups_when_totals_are_by_category_then_each_hides_its_own() -> None:
    frame = table(40, 3, 4, 30, 20, 50).assign(category=["x", "x", "x", "y", "y", "y"])
    found = suppress_small_groups(frame, counts="customers", minimum=10, within=["category"])
    # 3 and 4 hide each other, but 7 customers together are few: 40 goes too.
    assert found.hidden.tolist() == [True, True, True, False, False, False]
    assert (found.num_small, found.num_complementary) == (2, 1)


def test_groups_when_all_are_large_or_empty_then_nothing_is_hidden() -> None:
    found = suppress_small_groups(table(40, 0, 12), counts="customers", minimum=10)
    assert found.note == ""
    assert found.frame["customers"].tolist() == [40, 0, 12]
    with pytest.raises(ConfigError, match="expected a column 'number'"):
        suppress_small_groups(table(1), counts="number", minimum=10)


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=8), minimum=st.integers(1, 12))
def test_groups_when_the_total_is_known_then_no_small_one_can_be_worked_out(numbers: list[int], minimum: int) -> None:
    hidden = suppress_small_groups(table(*numbers), counts="customers", minimum=minimum).hidden
    number = np.array(numbers)
    assert not ((number > 0) & (number < minimum) & ~hidden).any()
    if hidden.any() and (~hidden & (number > 0)).any():  # where all is hidden, nothing more can be
        assert hidden.sum() >= 2
        assert number[hidden].sum() >= minimum
