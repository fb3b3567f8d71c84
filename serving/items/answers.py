"""Items of a release by id, and by words of their ids and titles."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from functools import cached_property

from features.triggers.trigger import ItemFacts
from features.vocabulary import FIRST
from serving.api.item_schemas import Item, ItemsAnswer, ItemSearch, ItemsRequest
from serving.history.stored import to_instant
from serving.release.state import ReleaseState


class ItemAnswers:
    """Reads the catalogue, and what the customers part knows of stock and cycles.

    Args:
        state: the release.
    """

    def __init__(self, state: ReleaseState) -> None:
        self._state = state

    def items(self, request: ItemsRequest) -> ItemsAnswer:
        """Return several items; those that the release does not know are listed."""
        asked, known = dict.fromkeys(request.item_ids), self._state.item_codes
        return self._answer(
            (known[id_] for id_ in asked if id_ in known), unknown=[id_ for id_ in asked if id_ not in known]
        )

    def search(self, request: ItemSearch) -> ItemsAnswer:
        """Return items whose id or title holds all words, those that begin with the text first."""
        text = request.search.strip().lower()
        words = text.split()
        found = (
            (not (id_.startswith(text) or title.startswith(text)), code)
            for code, (id_, title) in enumerate(self._texts, start=FIRST)
            if all(word in id_ or word in title for word in words)
        )
        return self._answer((code for _, code in heapq.nsmallest(request.limit, found)), unknown=[])

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """Ids and titles in lower case, from the first code on."""
        ids, titles = self._state.item_ids[FIRST:], self._state.catalog.title[FIRST:]
        return [(str(id_).lower(), str(title).lower()) for id_, title in zip(ids, titles, strict=True)]

    def _answer(self, codes: Iterable[int], *, unknown: list[str]) -> ItemsAnswer:
        book = self._state.customers
        return ItemsAnswer(
            items=[self._item(code) for code in codes],
            unknown=unknown,
            currency=None if book is None else book.currency,
            minor_units=1 if book is None else book.minor_units,
            release_id=self._state.release_id,
        )

    def _item(self, code: int) -> Item:
        catalog, id_ = self._state.catalog, str(self._state.item_ids[code])
        facts = self._facts.get(id_)
        price, created_us = int(catalog.price[code]), int(catalog.created_at_us[code])
        return Item(
            item_id=id_,
            title=catalog.title[code] or None,
            category=catalog.category[code] or None,
            brand=catalog.brand[code] or None,
            labels=[label for label in catalog.labels[code].split("|") if label],
            price=price if price >= 0 else None,
            available=bool(catalog.available[code]),
            created_at=to_instant(created_us),
            stock=None if facts is None else _known(facts.stock),
            cycle_days=None if facts is None else _known(facts.cycle_days),
        )

    @property
    def _facts(self) -> Mapping[str, ItemFacts]:
        return {} if self._state.rules is None else self._state.rules.facts


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)  # noqa: PLR0124 - NaN is the one that differs
