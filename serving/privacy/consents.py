"""Consent at lookup: what the newest customers part says, joined with what was said to this service since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.identity.map import IdentityMap
from features.privacy.consents import ALWAYS, Consent, ConsentBook
from features.vocabulary import FIRST, Vocabulary
from serving.kept import kept
from serving.live.reads import LiveReads
from serving.live.store import ConsentChange, LiveStore
from serving.surfaces.clock import wall_clock_us

_HELD_CUSTOMERS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class UserConsent:
    """One customer's consents as they stand now.

    Args:
        by_purpose: of each purpose.
        now_us: the present, UTC microseconds.
        is_named: whether the customer ever said anything.
    """

    by_purpose: dict[str, Consent]
    now_us: int
    is_named: bool

    def allows(self, purpose: str) -> bool:
        """Whether a purpose may be served now."""
        return self.by_purpose[purpose].holds(self.now_us)

    def holds(self, purpose: str, ts_us: int) -> bool:
        """Whether an event may serve a purpose; one of an unknown instant (0) does while nothing was withdrawn."""
        consent = self.by_purpose[purpose]
        if not ts_us:
            return consent.holds(self.now_us) and consent.withdrawn_us == ALWAYS
        return consent.holds(ts_us)

    def mask(self, purpose: str, ts_us: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return what ``holds`` returns of many instants, bool ``[N]``."""
        consent = self.by_purpose[purpose]
        if consent.from_us == ALWAYS:
            return np.ones(len(ts_us), bool)
        unknown = consent.holds(self.now_us) and consent.withdrawn_us == ALWAYS
        return np.where(ts_us == 0, unknown, ts_us >= consent.from_us)

    def may_serve(self, ts_us: int) -> bool:
        """Whether an event may serve anything at all."""
        return any(self.holds(purpose, ts_us) for purpose in c.PURPOSES)


class ConsentWatch:
    """A view of consents that is never older than the question put to it.

    Args:
        book: of the newest customers part, whichever release is served: a rollback brings back no consent.
        live: where what is said to this service is kept.
        reads: of the same.
        links: whose ids are whose.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self,
        book: ConsentBook,
        live: LiveStore,
        reads: LiveReads,
        *,
        links: IdentityMap,
        wall: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._book = book
        self._live = live
        self._reads = reads
        self._links = links
        self._wall = wall
        self._of_book = kept(self._read_book, maxsize=_HELD_CUSTOMERS)  # looked up for every request

    def ids_of(self, user_id: str) -> Sequence[str]:
        """Return all ids of a customer, the one asked for and the customer's own among them."""
        return self._links.linked(user_id) if len(self._links) else (user_id,)

    def of(self, user_id: str) -> UserConsent:
        """Return one customer's consents; none where live state cannot be read, and may hold a withdrawal."""
        ids = self.ids_of(user_id)
        said = self._reads.of(ids)
        if not self._reads.knows_consents:
            return self._silent()
        return self._joined(user_id, [change for id_ in ids if id_ in said for change in said[id_].consents])

    def of_all(self, user_ids: Iterable[str]) -> dict[str, UserConsent]:
        """Return the consents of several customers, by id, with one read.

        Raises:
            LiveStateError: live state cannot be read.
        """
        ids = {user_id: self.ids_of(user_id) for user_id in user_ids}
        said = self._live.consents_of({id_ for linked in ids.values() for id_ in linked})
        return {
            user_id: self._joined(user_id, [change for id_ in linked for change in said.get(id_, ())])
            for user_id, linked in ids.items()
        }

    def allowed(self, user_ids: Sequence[str], purpose: str) -> set[str]:
        """Return those of many customers whom a purpose may be served with now."""
        ids = {user_id: self.ids_of(user_id) for user_id in user_ids}
        said = self._live.consents_of({id_ for linked in ids.values() for id_ in linked})
        held = self._book.holding([self.customer_of(user_id) for user_id in ids], purpose, self._wall())
        found = dict(zip(ids, held.tolist(), strict=True))
        for user_id, linked in ids.items() if said else ():
            if changes := [change for id_ in linked for change in said.get(id_, ())]:
                found[user_id] = self._joined(user_id, changes).allows(purpose)
        return {user_id for user_id, is_held in found.items() if is_held}

    def held(self, customers: Vocabulary, purpose: str) -> npt.NDArray[np.bool_]:
        """Return, of every customer of a table, what ``allowed`` says, bool by row; only those who spoke are looked up."""
        found = self._book.holding(customers.ids, purpose, self._wall())
        for customer, changes in self._all_changes().items():
            if (code := customers.code_of(customer)) >= FIRST:
                found[code - FIRST] = self._joined(customer, changes).allows(purpose)
        return found

    def _all_changes(self) -> dict[str, list[ConsentChange]]:
        """Return, of every customer who said anything under any id, what that was."""
        said = {user_id: changes for page in self._live.consents() for user_id, changes in page.items()}
        found: dict[str, list[ConsentChange]] = {}
        for user_id, changes in said.items():
            found.setdefault(self.customer_of(user_id), []).extend(changes)
        return found

    def add(self, change: ConsentChange) -> UserConsent:
        """Keep a change, on disk when this returns; return what holds with it."""
        self._live.add_consent(change)
        return self.of(change.user_id)

    def changes(self, user_ids: Iterable[str]) -> list[ConsentChange]:
        """Return what customers said to this service."""
        return [change for changes in self._live.consents_of(user_ids).values() for change in changes]

    def _silent(self) -> UserConsent:
        nothing = {purpose: Consent() for purpose in c.PURPOSES}
        return UserConsent(by_purpose=nothing, now_us=self._wall(), is_named=False)

    def _joined(self, user_id: str, changes: Iterable[ConsentChange]) -> UserConsent:
        said = list(changes)
        by_purpose, is_named = self._of_book(self.customer_of(user_id))
        if said:
            by_purpose = dict(by_purpose)
        for purpose in {change.purpose for change in said}:
            rows = [(change.at_us, change.granted) for change in said if change.purpose == purpose]
            by_purpose[purpose] = by_purpose[purpose].after(rows)
        return UserConsent(by_purpose=by_purpose, now_us=self._wall(), is_named=bool(said) or is_named)

    def _read_book(self, customer: str) -> tuple[dict[str, Consent], bool]:
        return {purpose: self._book.of(customer, purpose) for purpose in c.PURPOSES}, customer in self._book

    def customer_of(self, user_id: str) -> str:
        """Return the customer that an id belongs to, the id itself where none is known."""
        return self._links.resolve([user_id])[0] if len(self._links) else user_id
