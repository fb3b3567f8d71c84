"""Lists of many users, equal to those that the service gives to each of them without live events.

``for_you`` without rules is worked out for whole arrays of users. Whatever else holds, such as rules, filters, another surface,
or a list that comes out short, goes through the very functions that answer requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from features.release import ReleaseStore
from features.repeats.blend import NUM_NEW
from serving import timings
from serving.bulk.histories import Known, known_of
from serving.bulk.lists import Gathered, Lists, joined
from serving.bulk.nearest import Excluded, Find, by_all_items, by_index
from serving.bulk.settings import BulkSettings
from serving.bulk.standing import SaidConsents, Standing, Standings
from serving.history.known_events import KnownEvents
from serving.history.stored import NOTHING
from serving.live.reads import LiveReads
from serving.merchandising.house import Merchandising
from serving.privacy.consents import ConsentWatch
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from serving.retrieval.item_index import lined_up
from serving.surfaces.clock import Clock
from serving.surfaces.for_you import mixed_lists
from serving.surfaces.preparing import Preparation
from serving.surfaces.question import Ranked

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

_ASKED_TOGETHER: Final = 64


class BulkAnswers:
    """Answers from one release, at one instant.

    Args:
        store: of the release: its erasure list counts.
        state: the release.
        settings: what is asked for.
        now_us: the instant, UTC microseconds.
        said: what customers said of their consent.
        merchandising: the shop's rules, and what is told of stock.
    """

    def __init__(
        self,
        store: ReleaseStore,
        state: ReleaseState,
        settings: BulkSettings,
        *,
        now_us: int,
        said: SaidConsents | None = None,
        merchandising: Merchandising | None = None,
    ) -> None:
        self.settings, said = settings, said or SaidConsents()
        self._find: Find = by_all_items(state.index) if settings.exact else by_index(state.index)
        self._state = state
        wall: Callable[[], int] = lambda: now_us  # noqa: E731 - one instant for all
        self._reads = LiveReads(said)
        erased = ErasureWatch(store.erasures)
        watch = ConsentWatch(state.consents, said, self._reads, links=state.links, wall=wall)
        known = KnownEvents(state, self._reads, erased, watch)
        self._preparation = Preparation(state, known, is_erased=erased.__contains__, consents=watch, wall=wall)
        self._merchandiser = (merchandising or Merchandising()).over(state, wall=wall)
        self._standings = Standings(book=state.consents, watch=watch, said=said, erased=erased.current(), now_us=now_us)
        self._present_us = Clock(as_of_us=state.surfaces.as_of_us, wall=wall).now_us(NOTHING)
        self._cold: dict[tuple[str, str], Ranked] = {}

    def standing(self, user_ids: Sequence[str]) -> Standing:
        """Return how users stand."""
        return self._standings.of(user_ids)

    def check(self) -> None:
        """Check that the release can answer what is asked for.

        Raises:
            RequestError: it lacks the surface's table, or does not know a filter's category or brand.
        """
        self._preparation.question(self.settings.request(""))

    @property
    def is_vectorised(self) -> bool:
        """Whether most lists are worked out for whole arrays of users."""
        settings, merchandiser = self.settings, self._merchandiser
        is_plain = settings.surface == "for_you" and settings.filters is None and not settings.diversity
        return is_plain and merchandiser.plans([self._preparation.question(settings.request(""))]) == [None]

    def lists(self, user_ids: Sequence[str], standing: Standing) -> Lists:
        """Return the lists of users who are not erased, in their order."""
        with timings.timed("histories"):
            known, is_known = known_of(self._state, user_ids, standing)
        gathered = Gathered(len(user_ids))
        left: Ints = np.arange(len(user_ids))
        if self.is_vectorised and len(user_ids):
            left = self._for_you(user_ids, standing, known, gathered)
        with timings.timed("one by one"):
            self._one_by_one(user_ids, left, gathered)
        return gathered.lists(is_known)

    def _for_you(self, user_ids: Sequence[str], standing: Standing, known: Known, gathered: Gathered) -> Ints:
        """Gather the home pages that arrays of users can tell; return whose are left."""
        num_events = known.events.lengths
        readable = np.flatnonzero(num_events)
        ranked = known.take(readable) if len(readable) < len(num_events) else known
        left = [known.rows[(num_events == 0) & (known.history.lengths > 0)]]
        if len(ranked.rows):
            found = self._ranked(ranked)
            whole = np.diff(found.offsets) >= self.settings.k
            done = np.flatnonzero(whole)
            gathered.add(ranked.rows[done], found if whole.all() else found.take(done), "history")
            left.append(ranked.rows[~whole])
        nothing = np.ones(len(user_ids), bool)
        nothing[known.rows[known.history.lengths > 0]] = False
        with timings.timed("without a history"):
            self._of_nobody(user_ids, standing, np.flatnonzero(nothing), gathered)
        return np.sort(np.concatenate(left))

    def _ranked(self, known: Known) -> Recommendations:
        """Return what the two-tower finds, blended with what users have met where the release holds a blend."""
        state, settings = self._state, self.settings
        with timings.timed("tower"):
            vecs = state.tower.encode_many(known.events)
        model, repeat = state.surfaces.repurchase, settings.repeat or state.surfaces.repeat
        if state.surfaces.blend is not None and not settings.exclude_seen:
            return self._blended(known, vecs)
        excluded = Excluded.nothing(len(vecs))
        if settings.exclude_seen:
            excluded = known.seen()
        elif repeat == "exclude":
            excluded = known.bought(all_are_purchases=model is not None and model.all_are_purchases)
        with timings.timed("search"):
            return self._find(vecs, settings.k, excluded)

    def _blended(self, known: Known, vecs: Floats) -> Recommendations:
        state, k = self._state, self.settings.k
        model, blend = state.surfaces.repurchase, state.surfaces.blend
        assert model is not None, "a blend comes with a repurchase model"
        assert blend is not None, "called where there is one"
        repeat = self.settings.repeat or state.surfaces.repeat
        timing, seen = repeat == "discount", known.seen()
        with timings.timed("search"):
            new = self._find(vecs, k, seen)
        with timings.timed("habits"):
            met = model.score(
                known.history,
                now_us=known.now_us(self._present_us),
                timing=timing,
                kind="met" if repeat == "exclude" else "all",
            )
            met = met.where(state.index.shows(met.item))

        def deeper(rows: Ints) -> Recommendations:
            if k >= NUM_NEW:
                return new
            with timings.timed("search"):
                found = self._find(vecs[rows], NUM_NEW, seen.take(rows))
            places = np.arange(new.num_lists)
            places[rows] = new.num_lists + np.arange(len(rows))
            return joined([new, found]).take(places)

        with timings.timed("blend"):
            return mixed_lists(state, blend, met, new, vecs, k=k, timing=timing, deeper=deeper)

    def _of_nobody(self, user_ids: Sequence[str], standing: Standing, rows: Ints, gathered: Gathered) -> None:
        """Gather the lists of users without a history: those of one category and stage are shown the same."""
        if not len(rows):
            return
        category, stage = np.full((2, len(rows)), "", object)
        profiled = np.flatnonzero(standing.profiled[rows])
        if self._state.customers is not None and len(profiled):
            ids = [user_ids[row] for row in rows[profiled].tolist()]
            category[profiled], stage[profiled] = self._state.customers.labels_of(ids)
        labels = list(zip(category.tolist(), stage.tolist(), strict=True))
        for label, place in dict(zip(labels, rows.tolist(), strict=True)).items():
            if label not in self._cold:
                [self._cold[label]] = self._served([user_ids[place]])
        lists = [self._cold[label] for label in labels]
        gathered.add(rows, _lined_up(lists), [one.strategy for one in lists])

    def _one_by_one(self, user_ids: Sequence[str], rows: Ints, gathered: Gathered) -> None:
        for at in range(0, len(rows), _ASKED_TOGETHER):
            some = rows[at : at + _ASKED_TOGETHER]
            lists = self._served([user_ids[row] for row in some.tolist()])
            gathered.add(some, _lined_up(lists), [one.strategy for one in lists])

    def _served(self, user_ids: Sequence[str]) -> list[Ranked]:
        """Return what the service ranks."""
        with self._reads.together(user_ids):
            questions = [self._preparation.question(self.settings.request(user_id)) for user_id in user_ids]
            return self._merchandiser.answer(questions)


def _lined_up(lists: Sequence[Ranked]) -> Recommendations:
    return lined_up([(one.codes, one.scores) for one in lists])
