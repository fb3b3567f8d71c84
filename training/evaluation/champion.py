"""The champion: the part that is served now, and what of it, or of a challenger, may be scored on a window.

No model is scored on a window that it has seen. What a training leaves behind has seen the log::

    runs/<run id>/evaluated    until its test window began    learned before its validation window, stopped by it
    parts/retrieval/<version>  until its log ended            learned once more from everything

A demand part holds forecasts and cannot be asked again; its evaluated part holds the network.
The evaluated part comes first, for champion and challenger alike, also where the served one could be asked: both then lag
behind what they stand for by the same windows, so that their difference in age is the one of the parts that are served.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES
from features.errors import ReleaseError
from features.recommendations import Recommendations
from features.release import Part, PartKind, ReleaseStore, layout
from features.sequences import Sequences
from features.vocabulary import FIRST, PAD, UNKNOWN, Vocabulary
from training.evaluation.contenders import Contenders
from training.evaluation.ranking import rank_in_batches
from training.evaluation.window import Window, instant
from training.retrieval.recommender import TwoTowerRecommender

CHAMPION: Final = "champion"
_DAY_US: Final = 86_400_000_000
Artifact = Literal["evaluated", "served"]

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

log = logging.getLogger(__name__)


def served_part(store: ReleaseStore, kind: PartKind = "retrieval") -> Part | None:
    """Return a part of the release that is served from the store, or ``None`` where nothing of its kind is.

    Raises:
        ReleaseError: the release is damaged.
    """
    current = store.current_id
    return None if current is None else store.open(current).part(kind)


def scorable_part(store: Path, part: Part, window: Window, *, role: str) -> tuple[Artifact, Part]:
    """Return what may stand for a part on a window: its evaluated part, else the part itself.

    Args:
        store: release store.
        part: as it is, or would be, served.
        window: what it is scored on.
        role: how the error calls it.

    Raises:
        ReleaseError: everything that is left of it has seen the window, or it cannot be told.
    """
    seen = []
    for artifact, found in _artifacts(store, part):
        if _is_unseen(found, window):
            return artifact, found
        seen.append(f"{artifact} part: {_seen_in_words(found)}")
    if not seen:
        raise ReleaseError(
            f"{role} {part.version}: expected the model that its training evaluated in runs/{part.run_id}/evaluated, found "
            "none; it was removed, or the part is from before such models were kept"
        )
    raise ReleaseError(
        f"{role} {part.version}: expected a model that has not seen the window it is scored on ({window.label}), "
        f"found {'; '.join(seen)}. Train on newer data or with the windows of the other model, so that the test window "
        f"begins no earlier than what the {role} has seen."
    )


def add_champion(
    contenders: Contenders, features: FeatureSet, window: Window, *, store: Path, run_id: str | None
) -> None:
    """Add what is served now to the models of a report, unless it is the run's own or has seen the window.

    Args:
        contenders: gets it, or the reason why not.
        features: in whose codes it answers.
        window: what all are asked.
        store: release store.
        run_id: of the model that the report is about.
    """
    champion = served_part(ReleaseStore(root=store))
    if champion is None or champion.run_id == run_id:
        return
    try:
        _, part = scorable_part(store, champion, window, role=CHAMPION)
    except ReleaseError as error:
        contenders.left_out[CHAMPION] = str(error)
        log.info("%s left out: %s", CHAMPION, error)
        return
    contenders.models.append(PartRecommender.open(part, features.vocabulary, name=CHAMPION))


def seen_until_us(part: Part) -> int | None:
    """Return the first instant of which a part knows nothing, UTC microseconds; ``None`` where that cannot be told."""
    about = part.about
    if (until := about.get("seen_until_us")) is not None:
        return int(until) or None
    # Parts from before the manifest said so: the window that chose the step stands in the settings.
    as_of_us = int(about.get("as_of_us", 0))
    if not as_of_us:
        return None
    if about.get("trained_on") == "all":
        return as_of_us
    return as_of_us + int(about["config"]["split"]["validation_days"]) * _DAY_US


@dataclass(frozen=True, kw_only=True, eq=False)
class PartRecommender:
    """A part's two-tower asked in the item codes of other features, as the service would ask it.

    Items that the part does not know and event types that it does not read are left out of a history;
    who has nothing else gets the part's favourites. Its own candidates are ranked, less those that the
    features do not know any more.

    Args:
        name: in reports.
        towers: in the part's own codes.
        own_codes: the part's code of each of the features' codes, UNKNOWN where it has none, ``[V]``.
        candidates: the features' codes of the part's candidates, rising, ``[C]``.
        candidate_vecs: their vectors, float32 ``[C, D]``.
        favourites: score by the features' codes, float32 ``[V]``, -inf where an item is none.
        reads: whether the part reads an event type, bool by code.
    """

    name: str
    towers: TwoTowerRecommender
    own_codes: Ints
    candidates: Ints
    candidate_vecs: Floats
    favourites: Floats
    reads: Bools

    @classmethod
    def open(cls, part: Part, vocabulary: Vocabulary, *, name: str) -> PartRecommender:
        """Open a part for questions in the codes of ``vocabulary``.

        Raises:
            ReleaseError: the part lacks one of its files.
        """
        towers = TwoTowerRecommender.from_part(part, name=name)
        own = Vocabulary.load(part.path(layout.VOCABULARY))
        codes = np.concatenate([[PAD, UNKNOWN], vocabulary.encode(own.ids)])  # the features' code of each own code
        kept = np.flatnonzero(codes[towers.candidates] >= FIRST)
        order = kept[np.argsort(codes[towers.candidates][kept])]
        frame = pd.read_parquet(part.path(layout.FAVOURITES))
        favourites = np.full(len(vocabulary), -np.inf, np.float32)
        favourites[codes[frame["item_code"].to_numpy()]] = frame["score"].to_numpy()
        favourites[:FIRST] = -np.inf
        return cls(
            name=name,
            towers=towers,
            own_codes=np.concatenate([[PAD, UNKNOWN], own.encode(vocabulary.ids)]),
            candidates=codes[towers.candidates][order],
            candidate_vecs=towers.candidate_vecs[order],
            favourites=favourites,
            reads=_reads(part.about["event_types"]),
        )

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """Return each user's ``k`` best candidates, in the features' codes."""
        is_candidate = np.zeros(len(self.own_codes), bool)
        is_candidate[self.candidates] = True
        return rank_in_batches(self._scores, query, candidates=is_candidate, k=k, exclude_seen=exclude_seen)

    def _scores(self, query: Sequences) -> Floats:
        """Return cosines ``[B, V]``, and favourites' scores for those without a readable event."""
        readable = self._readable(query)
        asked = np.flatnonzero(readable.lengths > 0)
        scores = np.full((query.num_users, len(self.own_codes)), -np.inf, np.float32)
        scores[readable.lengths == 0] = self.favourites
        if len(asked):
            user_vecs = self.towers.encode_users(readable.take(asked))
            scores[np.ix_(asked, self.candidates)] = user_vecs @ self.candidate_vecs.T
        return scores

    def _readable(self, query: Sequences) -> Sequences:
        own = self.own_codes[query.item].astype(query.item.dtype)
        translated = Sequences(
            offsets=query.offsets, item=own, event_type=query.event_type, ts=query.ts, price_band=query.price_band
        )
        return translated.where((own > UNKNOWN) & self.reads[query.event_type])


def _artifacts(store: Path, part: Part) -> Iterator[tuple[Artifact, Part]]:
    if part.run_id:
        evaluated = ReleaseStore(root=store / "runs" / part.run_id / "evaluated").part_of_run(part.kind, part.run_id)
        if evaluated is not None:
            yield "evaluated", evaluated
    if part.kind == "retrieval":
        yield "served", part


def _is_unseen(part: Part, window: Window) -> bool:
    until_us = seen_until_us(part)
    if window.protocol != "leave_one_out":
        return until_us is not None and until_us <= window.from_us
    # Each user's last event: only a part that left out these very events has not seen them.
    held_out = until_us is None and part.about.get("trained_on") == "fit"
    return held_out and part.data_fingerprint == window.data_fingerprint


def _seen_in_words(part: Part) -> str:
    until_us = seen_until_us(part)
    return f"has seen events until {instant(until_us)}" if until_us else "does not say until when it has seen events"


def _reads(event_types: list[str]) -> Bools:
    reads = np.zeros(1 + max(EVENT_TYPE_CODES.values()), bool)
    reads[[EVENT_TYPE_CODES[name] for name in event_types]] = True
    return reads
