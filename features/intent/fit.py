"""Purchase intent learned from past visits: fitted to the earlier, calibrated on later ones, tested on the latest.

visits by when they began:

    |----------------- fit -----------------|-- calibrate --|-- choose --|------ test ------|    what is reported
    |------------------------ fit ------------------------|-------- calibrate -------------|    what is served

How to calibrate is chosen on visits that neither saw, and then done on both stretches: the newer, the nearer to the test.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.chances import scores
from features.chances.calibration import METHODS, Calibration, Method, better_method
from features.chances.logistic import OUTCOMES_A_COEFFICIENT, QuadraticLogit
from features.chances.scores import Area
from features.errors import DataError
from features.event_log import EventLog
from features.files import read_json, write_json
from features.intent.model import CROSSED, VARIABLES, IntentModel, ShopPace, variables
from features.intent.moments import Moments, read_moments
from features.intent.visit import KNOWN
from features.settings import EngineSettings, ShopSettings
from features.tables.visits import VISIT_EVENTS

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

VERSION: Final = 1
# Shares of the visits, by when they began.
FIT, CALIBRATE, CHOOSE = 0.6, 0.7, 0.8
SERVED_FIT: Final = FIT / CHOOSE  # the same proportions
_LEAST_LED: Final = 0.5
_FLAT: Final = 1e-9

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class PurchaseIntent:
    """What a customers part holds: a model and how it was tested, or why there is none.

    Args:
        model: ``None`` where there is none.
        reason: why there is none; blank where there is one.
        about: version, the log's last instant, and the test.
    """

    model: IntentModel | None
    reason: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write one JSON file."""
        model = None if self.model is None else self.model.to_dict()
        write_json(path, {"model": model, "reason": self.reason, "about": self.about})

    @classmethod
    def load(cls, path: Path) -> PurchaseIntent:
        """Read what ``save`` wrote.

        Raises:
            DataError: it is something else, or another version wrote it.
        """
        values = read_json(path)
        if values.get("about", {}).get("version") != VERSION:
            raise DataError(f"{path}: expected purchase intent of version {VERSION}, found another; promote again.")
        model = None if values["model"] is None else IntentModel.from_dict(values["model"])
        return cls(model=model, reason=values["reason"], about=values["about"])


def learn_intent(
    log: EventLog,
    items: Path,
    *,
    shop: ShopSettings,
    forgotten: Callable[[str], bool] = lambda _: False,
    engine: EngineSettings = EngineSettings(),
) -> PurchaseIntent:
    """Return purchase intent as of the log's end, from the rows that may serve personalisation.

    Args:
        log: the clean log.
        items: the contract's items, a Parquet file.
        shop: its ``profile.visit_gap_minutes`` ends a visit.
        forgotten: whether a customer is left out.
        engine: memory limit, threads, where to spill.
    """
    gap = shop.profile.visit_gap_minutes
    moments = read_moments(log, items, gap_minutes=gap, forgotten=forgotten, engine=engine)
    return intent_of(moments, gap_minutes=gap, as_of=log.last_at)


def intent_of(moments: Moments, *, gap_minutes: int, as_of: dt.datetime) -> PurchaseIntent:
    """Return what ``learn_intent`` does, of moments that were read."""
    about: dict[str, Any] = {"version": VERSION, "as_of": as_of.isoformat(), "num_visits": moments.num_visits}
    about |= {"num_buying_visits": moments.num_bought, "gap_minutes": gap_minutes}
    reason = _why_none(moments)
    tested = None if reason else tested_model(moments, gap_minutes=gap_minutes)
    served = None if tested is None else _fitted(moments, _stretch(moments) < SERVED_FIT, gap_minutes)
    if tested is None or served is None:
        reason = reason or _too_few(moments)
        logger.warning("purchase intent: none: %s", reason)
        return PurchaseIntent(model=None, reason=reason, about=about)
    test = test_of(tested, latest(moments))
    logger.info(
        "purchase intent: calibrated by %s; AUC %.3f, calibration error %.4f on the latest visits",
        *(tested.calibration.method, test.get("auc", float("nan")), test.get("ece", float("nan"))),
    )
    model = _calibrated(served, moments, tested.calibration.method, _stretch(moments) >= SERVED_FIT)
    return PurchaseIntent(model=model, about=about | {"test": test})


def tested_model(moments: Moments, *, gap_minutes: int) -> IntentModel | None:
    """Return the model whose test is reported, which saw nothing of the ``latest`` visits; ``None`` with too few."""
    stretch = _stretch(moments)
    model = _fitted(moments, stretch < FIT, gap_minutes)
    if model is None:
        return None
    early, late = (stretch >= FIT) & (stretch < CALIBRATE), (stretch >= CALIBRATE) & (stretch < CHOOSE)
    maps = {method: _calibrated(model, moments, method, early).calibration for method in METHODS}
    unseen = moments.where(late)
    return _calibrated(model, moments, better_method(maps, model.log_odds(unseen.known), unseen.came), early | late)


def latest(moments: Moments) -> Moments:
    """Return the moments of the visits that the test is of."""
    return moments.where(_stretch(moments) >= CHOOSE)


def test_of(model: IntentModel, moments: Moments) -> dict[str, Any]:
    """Return how good chances are at events, and while nothing happens; intervals allow for a customer's many moments."""
    at_events, silent = moments.where(moments.at_event), moments.where(~moments.at_event)
    found = _scores(model, at_events) | {"calibration": model.calibration.method, "silent": _scores(model, silent)}
    came = at_events.came
    if not 0 < came.sum() < len(came):
        return found
    ours = Area.of(model.chance(at_events.known), came)
    rows = {}
    for name, score in baselines(at_events.known).items():
        theirs = Area.of(score, came)
        gap, width = ours.less(theirs, at_events.customer)
        rows[name] = {"auc": theirs.auc, "ours_less_this": [gap, gap - width, gap + width]}
    width = ours.half_width(at_events.customer)
    return found | {"auc": ours.auc, "auc_interval": [ours.auc - width, ours.auc + width], "baselines": rows}


def baselines(known: Floats) -> dict[str, Floats]:
    """Return simple scores of moments, ``[M]``: whether this visit put anything in the cart, and its events so far."""
    in_cart = known[:, KNOWN.index("in_cart")] > 0
    return {"cart not empty": in_cart.astype(np.float64), "events so far": known[:, : len(VISIT_EVENTS)].sum(axis=1)}


def _scores(model: IntentModel, moments: Moments) -> dict[str, Any]:
    if not len(moments):
        return {"moments": 0}
    chance, came = model.chance(moments.known), moments.came
    return {
        "moments": len(moments),
        "visits": len(np.unique(moments.visit)),
        "came": float(came.mean()),
        "mean_chance": float(chance.mean()),
        "log_loss": scores.log_loss(chance, came),
        "log_loss_of_the_rate": scores.log_loss(np.full(len(came), came.mean()), came),
        "ece": scores.calibration_error(chance, came),
        "ece_by_luck": scores.calibration_error_by_luck(chance),
        "reliability": scores.reliability(chance, came),
    }


def _why_none(moments: Moments) -> str:
    """Return why there is nothing to learn, blank where there is."""
    if not moments.num_visits:
        return "the log holds no visit of a customer who consents to personalisation"
    if not moments.num_bought:
        return f"none of the {moments.num_visits} visits in the log ended in a purchase"
    if moments.num_led < _LEAST_LED * moments.num_bought:
        return (
            f"only {moments.num_led} of {moments.num_bought} visits with a purchase hold an event before it: "
            "the log says what was bought, not what leads to it"
        )
    return ""


def _too_few(moments: Moments) -> str:
    least = OUTCOMES_A_COEFFICIENT * len(_varying(moments))
    return (
        f"too few visits to learn from: {moments.num_bought} of {moments.num_visits} hold a purchase, and of the earlier "
        f"half it takes about {least} with one, and as many without"
    )


def _stretch(moments: Moments) -> Floats:
    """Return the share of visits that began before each moment's, ``[M]``."""
    starts = np.sort(_of_visits(moments, moments.start_us))
    return np.searchsorted(starts, moments.start_us) / max(len(starts), 1)


def _of_visits(moments: Moments, values: Any) -> Any:
    """Return one value a visit: every visit's first event is a moment."""
    return values[np.unique(moments.visit, return_index=True)[1]]


def _pace(moments: Moments) -> ShopPace:
    pauses = moments.next_seconds[moments.at_event]
    return ShopPace.of(_buying_share(moments), pauses[np.isfinite(pauses)])


def _varying(moments: Moments) -> list[str]:
    x = variables(moments.known, _pace(moments))
    return [name for name, spread in zip(VARIABLES, np.ptp(x, axis=0), strict=True) if spread > _FLAT]


def _fitted(moments: Moments, rows: Bools, gap_minutes: int) -> IntentModel | None:
    """Return an uncalibrated model, ``None`` with too few outcomes.

    What never varies is left out, so that it asks for no outcomes. Outcomes are visits: a visit's moments share one.
    """
    part = moments.where(rows)
    names, pace = _varying(part), _pace(part)
    bought = _of_visits(part, part.bought)
    outcomes = min(bought.sum(), (~bought).sum()) // OUTCOMES_A_COEFFICIENT
    if not outcomes or outcomes < len(names):
        return None
    num_crossed = len(set(names) & set(CROSSED))
    crossed = CROSSED if outcomes >= len(names) + num_crossed * (num_crossed + 1) // 2 else ()
    x = variables(part.known, pace)[:, [VARIABLES.index(name) for name in names]]
    logit = QuadraticLogit.fit(names, x, part.came, crossed=crossed)
    if logit is None:
        return None
    return IntentModel(logit=logit, calibration=Calibration(method="none"), pace=pace, gap_minutes=gap_minutes)


def _buying_share(moments: Moments) -> float:
    return float(_of_visits(moments, moments.bought).mean()) if len(moments) else 0.0


def _calibrated(model: IntentModel, moments: Moments, method: Method, rows: Bools) -> IntentModel:
    part = moments.where(rows)
    found = Calibration.fit(method, model.log_odds(part.known), part.came)
    return IntentModel(
        logit=model.logit, calibration=found, pace=model.pace, gap_minutes=model.gap_minutes
    )  # fmt: skip
