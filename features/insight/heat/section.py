"""The sections about heat: hours, what rises and falls, price bands, and the time customers think."""

from __future__ import annotations

from collections.abc import Callable

from features.insight.heat.hours_section import hours_section
from features.insight.heat.items_sections import movers_section, prices_section
from features.insight.heat.waits_section import waits_section
from features.insight.inputs import Inputs
from features.report.sections import NothingToShow, Section
from features.report.words import Words

_MAKERS: tuple[Callable[[Inputs, Words], Section | None], ...] = (
    hours_section,
    movers_section,
    prices_section,
    waits_section,
)


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return those of the sections that the log has something for.

    Raises:
        NothingToShow: it has nothing for any: nobody bought.
        ConfigError: the shop's definitions do not fit.
    """
    found = [section for make in _MAKERS if (section := make(inputs, words)) is not None]
    if not found:
        raise NothingToShow(words("heat.none"))
    return found
