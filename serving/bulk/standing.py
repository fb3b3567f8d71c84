"""Who may be answered, and from which of their events: what the service looks up one by one, of many users at once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.columns import ANALYTICS, PERSONALISATION
from features.privacy.consents import ALWAYS, ConsentBook
from features.release.erasure import ErasedUsers
from serving.live.store import ConsentChange, LiveStore, LiveUser
from serving.privacy.consents import ConsentWatch

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


class SaidConsents:
    """What customers said to the service of their consent, read once, in place of live state: it holds no events.

    Args:
        by_id: changes by the id that they were sent under.
    """

    place = "consents as they were when the lists were begun"

    def __init__(self, by_id: dict[str, list[ConsentChange]] | None = None) -> None:
        self.by_id = by_id or {}

    @classmethod
    def of(cls, live: LiveStore) -> SaidConsents:
        """Read a store.

        Raises:
            LiveStateError: it cannot be reached, and nobody could say who withdrew.
        """
        found: dict[str, list[ConsentChange]] = defaultdict(list)
        for page in live.consents():
            for user_id, changes in page.items():
                found[user_id].extend(changes)
        return cls(dict(found))

    @property
    def holds_consents(self) -> bool:
        """Whether anybody said anything."""
        return bool(self.by_id)

    def read(self, user_ids: Iterable[str]) -> dict[str, LiveUser]:
        """Return what some ids said; they did nothing."""
        return {id_: LiveUser(consents=self.by_id[id_]) for id_ in user_ids if id_ in self.by_id}

    def consents_of(self, user_ids: Iterable[str]) -> dict[str, list[ConsentChange]]:
        """Return what some ids said."""
        return {id_: self.by_id[id_] for id_ in user_ids if id_ in self.by_id}

    def consents(self) -> Iterator[dict[str, list[ConsentChange]]]:
        """Yield what everyone said."""
        yield self.by_id

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name}: lists are made without events sent to the service")


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """Of ``Q`` users at one instant.

    Args:
        erased: bool ``[Q]``.
        from_us: personalisation holds from there on, UTC microseconds, ``[Q]``.
        personalised: whether it holds now, bool ``[Q]``.
        timeless: whether it holds of an event without an instant, bool ``[Q]``.
        profiled: whether the profile may be read: personalisation and analytics hold now, bool ``[Q]``.
    """

    erased: Bools
    from_us: Ints
    personalised: Bools
    timeless: Bools
    profiled: Bools

    def may_use(self, ts_us: Ints, user: Ints, *, rows: Ints) -> Bools | None:
        """Return which events may be used, bool ``[N]``; ``None`` where all may.

        Args:
            ts_us: of each event.
            user: of each event, a place in ``rows``.
            rows: users that have events, ``[R]``.
        """
        since, now = self.from_us[rows], self.personalised[rows]
        if now.all() and (since == ALWAYS).all():
            return None
        held = np.where(ts_us == 0, self.timeless[rows][user], ts_us >= since[user])
        return np.asarray(held & now[user])

    def digest(self) -> str:
        """Return what changes where somebody is erased or says something else."""
        sha = hashlib.sha256()
        for array in (self.erased, self.from_us, self.personalised, self.timeless, self.profiled):
            sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Standings:
    """Looks users up.

    Args:
        book: of the store's newest customers part.
        watch: the same with what was said to the service.
        said: that.
        erased: the erasure list.
        now_us: the instant of all lists, UTC microseconds.
    """

    book: ConsentBook
    watch: ConsentWatch
    said: SaidConsents
    erased: ErasedUsers
    now_us: int

    def of(self, user_ids: Sequence[str]) -> Standing:
        """Return how users stand, in their order."""
        customers = [self.watch.customer_of(one) for one in user_ids] if self._any_named else user_ids
        erased = np.zeros(len(user_ids), bool)
        if len(self.erased):
            erased = np.fromiter(map(self._is_erased, user_ids), bool, len(user_ids))
        withdrawn, since = self.book.instants_of(customers, PERSONALISATION)
        profiled = self.book.instants_of(customers, ANALYTICS)[1] <= self.now_us
        for row in self._who_spoke(customers):
            found = self.watch.of(user_ids[row])
            consent = found.by_purpose[PERSONALISATION]
            withdrawn[row], since[row] = consent.withdrawn_us, consent.from_us
            profiled[row] = found.allows(ANALYTICS)
        personalised = since <= self.now_us
        timeless = (since == ALWAYS) | (personalised & (withdrawn == ALWAYS))
        return Standing(
            erased=erased,
            from_us=since,
            personalised=personalised,
            timeless=timeless,
            profiled=profiled & personalised,
        )

    def _is_erased(self, user_id: str) -> bool:
        """Whether an id, or the customer that it belongs to, is to be forgotten."""
        if user_id in self.erased:
            return True
        customer = self.watch.customer_of(user_id)
        return customer != user_id and customer in self.erased

    @cached_property
    def _spoke(self) -> frozenset[str]:
        """Customers who said anything under any id."""
        return frozenset(self.watch.customer_of(one) for one in self.said.by_id)

    @property
    def _any_named(self) -> bool:
        return len(self.book) > 0 or bool(self._spoke)

    def _who_spoke(self, customers: Sequence[str]) -> list[int]:
        return [row for row, one in enumerate(customers) if one in self._spoke] if self._spoke else []
