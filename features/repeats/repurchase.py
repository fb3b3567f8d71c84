"""What each customer buys again, and when: a chance for every item that a history holds.

Each item has a chance of being bought again and a distribution of the time until then (``features.repeats.item_cycles``); each
customer has a habit with the item (``features.repeats.pair_evidence``). Both enter a logistic regression whose outcomes are
the last days of the log, so that every weight is learned from the shop's own customers and scores are chances: they
compare between items and between customers.

Sources: Faggioli, Polato, Aiolli 2020, "Recency aware collaborative filtering for next basket recommendation" (UP-CF:
frequency over the latest trips); Hu, He, Gao, Zhang 2020, "Modeling personalized item frequency information for
next-basket recommendation" (TIFU-KNN: faded frequency); Bhagat, Muralidharan, Lobzhanidze, Vishwanath 2018, "Buy it
again: modeling repeat purchase recommendations" (customer by item timing); Kapoor, Subbian, Srivastava, Schrater 2015,
"Just in time recommendations" (hazard of the time since the last one).
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.catalog import ItemCatalog
from features.chances.logistic import QuadraticLogit, chance_of
from features.errors import ReleaseError
from features.recommendations import Recommendations
from features.repeats.item_cycles import ItemCycles
from features.repeats.pair_evidence import DAY_US, FADE_TRIPS, PairEvidence
from features.sequences import Sequences

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

FORMAT: Final = 1
_MOST_PAIRS: Final = 150_000  # that weights are learned from; more would only cost time
_METADATA_KEY: Final = b"footfall"
_PURCHASE: Final = c.EVENT_TYPE_CODES[c.PURCHASE]
FADED: Final = tuple(f"faded_{fade:g}" for fade in FADE_TRIPS)

# Variables of an item that was bought before: how often, over the long run ...
HABIT: Final = ("occasions", "trips", FADED[-1], "again", "again_soon", "rate", "recent")
INTEREST: Final = ("views", "intents")
# ... and when: all that tells where the customer stands between two purchases.
TIMING: Final = (
    *("since_met", "since_last", "since_first", "trips_since_last", "trips_since_first"),
    *FADED[:-1],
    *("due", "lateness"),
)
# ... and of one that was met and never bought.
MET: Final = (*INTEREST, "since_met", "trips", "converts", "rate", "recent")
Kind = Literal["bought", "met", "all"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class RepurchaseModel:
    """Chances of buying what one has met.

    Args:
        cycles: of each item, ``[V]``.
        timed: weights where the time since the last purchase counts.
        untimed: weights where it does not.
        met: weights of items that were met and never bought.
        horizon_days: the chances are of a purchase within so many days.
        all_are_purchases: the log has no purchases, so that every event stands for one.
    """

    cycles: ItemCycles
    timed: QuadraticLogit
    untimed: QuadraticLogit
    met: QuadraticLogit
    horizon_days: float
    all_are_purchases: bool

    @classmethod
    def fit(
        cls, sequences: Sequences, catalog: ItemCatalog, *, as_of_us: int, horizon_days: float = 28.0
    ) -> RepurchaseModel:
        """Learn from what lies before an instant.

        The weights are learned from the last ``horizon_days`` (at most a third of the log): what customers who
        bought anything then had known before, and what of it they bought.

        Args:
            sequences: of all users.
            catalog: attributes by item code.
            as_of_us: UTC microseconds; nothing from it on counts. 0 for a log without instants, where nothing can be
                learned, and scores are faded counts.
            horizon_days: how far ahead the chances look.
        """
        known = sequences.between(None, as_of_us) if as_of_us else sequences
        all_are_purchases = not (known.event_type == _PURCHASE).any()
        horizon = _horizon(known, as_of_us, horizon_days)
        evidence = PairEvidence.of(known, now_us=as_of_us, all_are_purchases=all_are_purchases)
        cycles = ItemCycles.fit(evidence, catalog.category, horizon_days=horizon)
        found = {} if not as_of_us else _learned(known, catalog, as_of_us, horizon, all_are_purchases)
        return cls(
            cycles=cycles,
            timed=found.get("timed") or QuadraticLogit.plain((*HABIT, *INTEREST, *TIMING), {FADED[-1]: 1.0}),
            untimed=found.get("untimed") or QuadraticLogit.plain((*HABIT, *INTEREST), {FADED[-1]: 1.0}),
            met=found.get("met") or QuadraticLogit.plain(MET, {"intents": 1.0, "views": 0.5}, bias=-4.0),
            horizon_days=horizon,
            all_are_purchases=all_are_purchases,
        )

    def score(self, history: Sequences, *, now_us: int | Ints, timing: bool, kind: Kind = "bought") -> Recommendations:
        """Return each user's chance of buying each known item within the horizon, best first.

        Args:
            history: events of Q users; what is not before ``now_us`` does not count.
            now_us: UTC microseconds, one for all or one each ``[Q]``.
            timing: whether the time since the last purchase counts: an item not due yet is held back.
            kind: items bought before; those met (viewed, carted ...) and never bought; or all.

        Returns:
            Q lists of every such item, scores in (0, 1); equal ones in order of their codes.
        """
        evidence = PairEvidence.of(history, now_us=now_us, all_are_purchases=self.all_are_purchases)
        bought = evidence.occasions > 0
        chance = np.zeros(len(bought))
        if kind != "met":
            chance[bought] = self._chances(evidence, bought, self.timed if timing else self.untimed)
        if kind != "bought":
            chance[~bought] = self._chances(evidence, ~bought, self.met)
        return _ranked(evidence, chance, np.ones(len(bought), bool) if kind == "all" else bought == (kind == "bought"))

    def _chances(self, evidence: PairEvidence, rows: Bools, weights: QuadraticLogit) -> Floats:
        x = variables(evidence, self.cycles, rows, weights.names, horizon_days=self.horizon_days)
        return chance_of(weights.logit(x))

    def save(self, path: Path) -> None:
        """Write one row an item code, and the weights as the file's metadata."""
        columns = {f.name: getattr(self.cycles, f.name) for f in dataclasses.fields(ItemCycles)}
        about = {
            "format": FORMAT,
            "own_strength": columns.pop("own_strength"),
            "horizon_days": self.horizon_days,
            "all_are_purchases": self.all_are_purchases,
            **{name: getattr(self, name).to_dict() for name in ("timed", "untimed", "met")},
        }
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        pq.write_table(table.replace_schema_metadata({_METADATA_KEY: json.dumps(about).encode()}), path)

    @classmethod
    def load(cls, path: Path) -> RepurchaseModel:
        """Read what ``save`` wrote.

        Raises:
            ReleaseError: the file is of another format.
        """
        table = pq.read_table(path)
        about: dict[str, Any] = json.loads((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"))
        if about.get("format") != FORMAT:
            raise ReleaseError(
                f"{path}: expected repurchase format {FORMAT}, found {about.get('format')}; train again or upgrade Footfall."
            )
        arrays: Mapping[str, Any] = {name: table[name].to_numpy() for name in table.column_names}
        return cls(
            cycles=ItemCycles(own_strength=float(about["own_strength"]), **arrays),
            **{name: QuadraticLogit.from_dict(about[name]) for name in ("timed", "untimed", "met")},
            horizon_days=float(about["horizon_days"]),
            all_are_purchases=bool(about["all_are_purchases"]),
        )


def variables(
    evidence: PairEvidence, cycles: ItemCycles, rows: Bools, names: tuple[str, ...], *, horizon_days: float
) -> Floats:
    """Return the variables of some pairs, float64 ``[M, K]``; counts and days by their logarithms.

    Args:
        evidence: of all pairs.
        cycles: of all items.
        rows: which pairs, bool ``[P]``.
        names: which variables.
        horizon_days: how far ahead ``due`` looks.
    """
    item = evidence.item[rows]
    found: dict[str, Floats] = {}
    for name in ("occasions", "since_first", "trips", "trips_since_first", "views", "intents", "since_met", "since_last",
                 "trips_since_last"):  # fmt: skip
        if name in names:
            found[name] = np.log1p(getattr(evidence, name)[rows])
    faded = np.log(evidence.faded[rows] + 1e-3)
    found |= {name: faded[:, column] for column, name in enumerate(FADED)}
    for name in ("again", "again_soon", "converts"):
        if name in names:
            found[name] = _log_odds(getattr(cycles, name)[item])
    found["rate"] = np.log(cycles.rate[item] + 1e-3)
    found["recent"] = np.log(cycles.recent_rate[item] + 1e-3) - found["rate"]
    if "due" in names:
        found |= _timing(evidence, cycles, rows, horizon_days)
    return np.stack([found[name] for name in names], axis=1) if len(item) else np.zeros((0, len(names)))


def _timing(evidence: PairEvidence, cycles: ItemCycles, rows: Bools, horizon_days: float) -> dict[str, Floats]:
    """Return the log odds of a purchase within the horizon by timing alone, and how late it is.

    The time between purchases is log-logistic around the user's own mean, which is drawn to the item's; with chance
    ``1 - again`` there is no next one. That none came so far speaks for the latter.
    """
    item = evidence.item[rows]
    gaps = evidence.num_gaps[rows]
    own = (evidence.sum_log_gap[rows] + cycles.own_strength * cycles.log_gap[item]) / (gaps + cycles.own_strength)
    width = cycles.spread[item] * np.sqrt(3) / np.pi  # of the logistic with that standard deviation
    elapsed = evidence.since_last[rows]
    done = chance_of((np.log(elapsed + 0.5) - own) / width)
    then = chance_of((np.log(elapsed + horizon_days + 0.5) - own) / width)
    again = cycles.again[item]
    return {
        "due": _log_odds(again * (then - done) / (1 - again * done)),
        "lateness": np.log(elapsed + 0.5) - own,
    }


def _learned(
    known: Sequences, catalog: ItemCatalog, as_of_us: int, horizon_days: float, all_are_purchases: bool
) -> dict[str, QuadraticLogit | None]:
    """Return the weights that the last horizon before ``as_of_us`` teaches."""
    start_us = as_of_us - round(horizon_days * DAY_US)
    after = known.between(start_us, as_of_us)
    if not all_are_purchases:
        after = after.where(after.event_type == _PURCHASE)
    evidence = PairEvidence.of(known.between(None, start_us), now_us=start_us, all_are_purchases=all_are_purchases)
    cycles = ItemCycles.fit(evidence, catalog.category, horizon_days=horizon_days)
    stride = len(catalog)
    came = np.isin(evidence.user * stride + evidence.item, after.user_of_event * stride + after.item)
    asked = (after.lengths > 0)[evidence.user]
    bought = evidence.occasions > 0
    log.info(
        "repurchase: %d bought and %d merely met items of %d customers, %d and %d of them bought within %.0f days",
        *((asked & bought).sum(), (asked & ~bought).sum(), (after.lengths > 0).sum()),
        *((came & bought).sum(), (came & ~bought).sum(), horizon_days),
    )
    parts = {
        "timed": (bought, (*HABIT, *INTEREST, *TIMING)),
        "untimed": (bought, (*HABIT, *INTEREST)),
        "met": (~bought, MET),
    }
    found = {}
    for part, (kind, names) in parts.items():
        rows = _some_users(asked & kind, evidence.user)
        found[part] = QuadraticLogit.fit(
            names, variables(evidence, cycles, rows, names, horizon_days=horizon_days), came[rows]
        ) if rows.any() else None  # fmt: skip
    return found


def _some_users(rows: Bools, user: Ints) -> Bools:
    """Keep the pairs of as many users as it takes to have enough; users are in no order that matters here."""
    if rows.sum() <= _MOST_PAIRS:
        return rows
    share = _MOST_PAIRS / rows.sum()
    drawn = np.random.default_rng(0).random(int(user.max()) + 1) < share
    return rows & drawn[user]


def _horizon(known: Sequences, as_of_us: int, horizon_days: float) -> float:
    if not as_of_us or known.num_events == 0:
        return horizon_days
    return min(horizon_days, (as_of_us - int(known.ts.min())) / DAY_US / 3)


def _ranked(evidence: PairEvidence, chance: Floats, shown: Bools) -> Recommendations:
    user, item = evidence.user[shown], evidence.item[shown]
    score = np.maximum(chance[shown], 1e-12).astype(np.float32)
    order = np.lexsort((item, -score, user))
    counts = np.bincount(user, minlength=evidence.num_users)
    return Recommendations(
        offsets=np.concatenate([[0], np.cumsum(counts)]), item=item[order].astype(np.int32), score=score[order]
    )


def _log_odds(chance: Floats) -> Floats:
    kept = np.clip(chance, 1e-6, 1 - 1e-6)
    return np.log(kept / (1 - kept))
