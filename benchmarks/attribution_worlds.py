"""Small worlds in which one can say by hand what each touch truly brings, and some model gets it wrong.

Each is a mechanism, its journeys in whole numbers, and the conversions that would be lost without each touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Paths = dict[tuple[str, ...], tuple[int, int, float]]  # converted, not converted, revenue


@dataclass(frozen=True, kw_only=True)
class SmallWorld:
    """Journeys whose truth is known.

    Args:
        name: in results.
        story: the mechanism.
        wrong: the model that it is there to catch.
        paths: path -> converted, not converted, revenue.
        truth: conversions lost without each touch; touches left out bring none.
    """

    name: str
    story: str
    wrong: str
    paths: Paths
    truth: dict[str, float]


WORLDS: Final = (
    SmallWorld(
        name="brand search closes",
        story="Display makes 1,000 people curious; 300 look the shop up by brand search and 120 buy. Without the search ad "
        "they would type the shop's name. 50 of 1,000 others buy of their own accord.",
        wrong="last",
        paths={
            ("display",): (0, 700, 0.0),
            ("display", "brand_search"): (120, 180, 120.0),
            ("direct",): (50, 950, 50.0),
        },
        truth={"display": 120, "direct": 50},
    ),
    SmallWorld(
        name="a mail follows every visit",
        story="Of visitors by search 40% buy, by social 2%. Two in three get a mail afterwards, which changes nothing. The "
        "chain forgets who came how once they meet in the mail.",
        wrong="markov",
        paths={
            ("search",): (40, 60, 40.0),
            ("search", "mail"): (80, 120, 80.0),
            ("social",): (2, 98, 2.0),
            ("social", "mail"): (4, 196, 4.0),
        },
        truth={"search": 120, "social": 6},
    ),
    SmallWorld(
        name="three mails, then a search",
        story="1,000 customers come by three mails in turn and then by a search; each visit sells to one in ten of those who "
        "have not bought. Buyers stop, so journeys without a search are those that converted early.",
        wrong="shapley",
        paths={
            ("mail",): (100, 0, 100.0),
            ("mail", "mail"): (90, 0, 90.0),
            ("mail", "mail", "mail"): (81, 0, 81.0),
            ("mail", "mail", "mail", "search"): (73, 656, 73.0),
        },
        # without mails only the search sells, to a tenth of all 1,000; without the search its 73 are lost
        truth={"mail": 244, "search": 73},
    ),
    SmallWorld(
        name="mails for those who would buy anyway",
        story="Mails go to the 200 best customers, of whom 80 would have bought anyway; half come by the mail first, half by "
        "themselves first. No model sees that the mail was sent to buyers; only a holdout does.",
        wrong="all",
        paths={
            ("direct",): (40, 760, 40.0),
            ("mail", "direct"): (40, 60, 40.0),
            ("direct", "mail"): (40, 60, 40.0),
        },
        truth={"direct": 120},
    ),
)
