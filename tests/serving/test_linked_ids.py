"""A customer is found under any of its ids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from features.identity.graph import ID_COLUMNS
from features.identity.map import IdentityMap
from features.sequences import EVENT_ARRAYS, Sequences
from features.vocabulary import Vocabulary
from serving.customers.book import CustomerBook
from serving.history.stored import Histories


def links() -> IdentityMap:
    """Phone d1 and the account ann are ann's; the tablet d2 is nobody's."""
    at = pd.Timestamp("2024-05-01", tz="UTC")
    rows = [("ann", "user_id", "ann"), ("d1", "device_id", "ann"), ("d2", "device_id", "d2")]
    return IdentityMap(frame=pd.DataFrame([(*row, "n", at, at) for row in rows], columns=list(ID_COLUMNS)))


def test_map_when_asked_what_is_linked_then_the_customer_and_all_its_ids() -> None:
    assert [links().linked(one) for one in ("d1", "ann", "d2", "bob")] == [
        ("ann", "d1"),
        ("ann", "d1"),
        ("d2",),
        ("bob",),
    ]


def test_customer_book_when_asked_under_a_linked_id_then_the_customers_row() -> None:
    rows = pa.table({"lifecycle": ["active", "new"], "favourite_category": ["food/fruit", None]})
    book = CustomerBook(rows=rows, users=Vocabulary.from_ids(["ann", "bob"]), as_of=None, links=links())
    assert book.profile("d1") == book.profile("ann") == {"lifecycle": "active", "favourite_category": "food/fruit"}
    assert book.profile("d2") is None
    assert book.labels("d1") == ("food", "active")
    category, stage = book.labels_of(["d1", "bob", "d9"])
    assert (category.tolist(), stage.tolist()) == (["food", "", ""], ["active", "new", ""])


def test_histories_when_asked_under_a_linked_id_then_the_customers_history() -> None:
    arrays = {name: np.array([2, 3], dtype) for name, dtype in EVENT_ARRAYS.items()}
    sequences = Sequences(offsets=np.array([0, 1, 2]), **arrays)
    users, codes = Vocabulary.from_ids(["ann", "bob"]), np.arange(4)
    found = Histories(users=users, sequences=sequences, codes=codes, links=links())
    assert found.of_user("d1").item.tolist() == found.of_user("ann").item.tolist() == [2]
    assert len(found.of_user("d2")) == 0


def test_segments_when_asked_of_many_then_as_asked_of_each() -> None:
    rows = pa.table(
        {
            "stage": ["new", None, "new"],
            "tag_vip": [True, None, False],
            "regions": pa.array([["north", "south"], None, []], pa.list_(pa.string())),
            "device": pa.array(["app", None, "app"]).dictionary_encode(),
            "share_by_hour": pa.array([[0.5], [0.5], None], pa.list_(pa.float64())),
        }
    )
    book = CustomerBook(rows=rows, users=Vocabulary.from_ids(["ann", "bob", "cem"]), as_of=None)
    asked = ["cem", "nobody", "ann", "bob"]
    assert book.segments_of(asked) == [book.segments(user) for user in asked]
    assert book.segments_of(["ann"]) == [
        {"stage": "new", "tag_vip": True, "regions": ["north", "south"], "device": "app"}
    ]
