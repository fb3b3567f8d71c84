"""Why a chance of a purchase is what it is, in plain words: what raises and what lowers it, the most telling first.

in_cart 2, silent_seconds 200   ->   "2 items in the cart" (odds × 4.1), "quiet for 3 minutes" (odds × 0.4)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.intent.model import IntentModel
from features.intent.visit import KNOWN

Facts = dict[str, float]

MOST_REASONS: Final = 3
_LEAST_FACTOR: Final = 1.1  # a tenth of the odds, either way, is worth a word
_PLURALS: Final = {"category": "categories", "search": "searches"}
_WEEKDAYS: Final = ("", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One thing that sets a moment apart from the mean moment of past visits.

    Args:
        text: what it is.
        odds_factor: how many times the odds of a purchase are what they would be with the mean moment's.
    """

    text: str
    odds_factor: float


def reasons(model: IntentModel, known: tuple[float, ...]) -> tuple[float, list[Reason]]:
    """Return the chance of a later purchase in the visit, and what speaks for and against it most.

    Args:
        model: the fitted chance.
        known: of one moment, as ``visit.KNOWN``.
    """
    log_odds, added = model.without(np.array(known, np.float64), [names for names, _ in _GROUPS])
    chance = float(model.calibration.of(np.array([log_odds]))[0])
    return chance, _worth_saying(added, dict(zip(KNOWN, known, strict=True)))


def _worth_saying(added: npt.NDArray[np.floating], facts: Facts) -> list[Reason]:
    factors = np.exp(np.clip(added, -50, 50))
    order = [int(row) for row in np.argsort(-np.abs(added), kind="stable")]
    said = [row for row in order if max(factors[row], 1 / factors[row]) >= _LEAST_FACTOR][:MOST_REASONS]
    return [Reason(text=_GROUPS[row][1](facts), odds_factor=round(float(factors[row]), 3)) for row in said]


def _cart(facts: Facts) -> str:
    if facts["in_cart"]:
        return f"{_counted(facts['in_cart'], 'item')} in the cart"
    if facts["remove_from_cart"]:
        return "what was put in the cart was taken out again"
    return "nothing put in the cart in this visit" if not facts["cart"] else "the cart is empty again"


def _left(facts: Facts) -> str:
    return f"{_counted(facts['left_in_cart'], 'item')} in the cart from an earlier visit"


def _looks(facts: Facts) -> str:
    views, items = _counted(facts["view"], "view"), _counted(facts["items"], "item")
    return (
        f"{views}, {items} in {_counted(facts['categories'], 'category')} so far" if facts["view"] else "no view so far"
    )


def _again(facts: Facts) -> str:
    most = facts["most_views"]
    return f"looked {most:.0f} times at one item" if most > 1 else "looked at no item twice"


def _steps(facts: Facts) -> str:
    names = ("search", "view_section", "favorite", "login")
    words = ("search", "section", "favourite", "login")
    found = [_counted(facts[name], word) for name, word in zip(names, words, strict=True) if facts[name]]
    return ", ".join(found) or "no search, section, favourite or login so far"


def _length(facts: Facts) -> str:
    return f"the visit began {_minutes(facts['seconds'])} ago"


def _pause(facts: Facts) -> str:
    return f"quiet for {_minutes(facts['silent_seconds'])}"


def _time(facts: Facts) -> str:
    return f"a visit that began on a {_WEEKDAYS[int(facts['weekday'])]} at {facts['hour']:.0f} o'clock"


def _past(facts: Facts) -> str:
    if not facts["past_visits"]:
        return "the first visit that is known"
    bought, visits = facts["past_buying_visits"], _counted(facts["past_visits"], "earlier visit")
    if not bought:
        return f"bought in none of {visits}"
    return f"bought in {bought:.0f} of {visits}, last {_days(facts['days_since_purchase'])} before this one"


def _counted(number: float, word: str) -> str:
    return f"{number:.0f} {word if number == 1 else _PLURALS.get(word, f'{word}s')}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _days(days: float) -> str:
    return "less than a day" if days < 1 else _counted(round(days), "day")


# Variables that say one thing together, and how that is said.
_GROUPS: Final[tuple[tuple[tuple[str, ...], Callable[[Facts], str]], ...]] = (
    (("cart", "in_cart", "remove_from_cart"), _cart),
    (("left_in_cart",), _left),
    (("view", "items", "categories"), _looks),
    (("again",), _again),
    (("checkout",), lambda facts: "went to the checkout" if facts["checkout"] else "not yet at the checkout"),
    (("purchase",), lambda facts: "bought already in this visit" if facts["purchase"] else "bought nothing yet"),
    (("search", "view_section", "favorite", "login"), _steps),
    (("minutes",), _length),
    (("pause",), _pause),
    (("hour_sin", "hour_cos", "weekend"), _time),
    (("newcomer", "past_rate", "buyer", "days_since_purchase", "days_since_visit"), _past),
)
