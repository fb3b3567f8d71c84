"""A page of insight: the sections of several subjects about the same days."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from features.build import FeatureSet
from features.engine import private_connection
from features.errors import ConfigError, did_you_mean
from features.insight.attribution import section as attribution
from features.insight.baskets import section as baskets
from features.insight.bestsellers import section as bestsellers
from features.insight.campaigns import section as campaigns
from features.insight.experiments import section as experiments
from features.insight.funnels import section as funnels
from features.insight.health import section as health
from features.insight.heat import section as heat
from features.insight.inputs import Inputs, Period
from features.insight.paths import section as paths
from features.insight.retention import section as retention
from features.insight.slots import section as slots
from features.insight.uplift import section as uplift
from features.report.sectioned import SectionedPage, provenance_of, warning_of
from features.report.sections import NothingToShow, Section
from features.report.words import Language, Words
from features.rules.place import read_yaml
from features.settings import EngineSettings

Kind = Literal["behaviour", "campaigns"]
Sections = Callable[[Inputs, Words], list[Section]]
# Each is a package beside this one, with word catalogues of its own.
SUBJECTS: Final[Mapping[Kind, Mapping[str, Sections]]] = {
    "behaviour": {
        "funnels": funnels.sections,
        "paths": paths.sections,
        "retention": retention.sections,
        "heat": heat.sections,
        "slots": slots.sections,
        "bestsellers": bestsellers.sections,
        "baskets": baskets.sections,
        "health": health.sections,
    },
    "campaigns": {
        "campaigns": campaigns.sections,
        "attribution": attribution.sections,
        "experiments": experiments.sections,
        "uplift": uplift.sections,
    },
}
_INSIGHT: Final = Path(__file__).parents[1]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InsightPage:
    """What a page is about, and how it is said.

    Args:
        language: of the page.
        first_day: of the days; the log's first where left out.
        last_day: of the days; the log's last where left out.
        compare: whether the days just before, as many, stand beside them.
        definitions: YAML file of what the shop wants to see: subject -> mapping.
        data: the data directory of the features, for coupons, spend, exposures and the like.
        tables: directory for all tables as Parquet and CSV.
        subjects: of the page; all where empty.
        engine: where tables are computed.
    """

    language: Language = "en"
    first_day: dt.date | None = None
    last_day: dt.date | None = None
    compare: bool = False
    definitions: Path | None = None
    data: Path | None = None
    tables: Path | None = None
    subjects: tuple[str, ...] = ()
    engine: EngineSettings = EngineSettings()


def write_insight_page(kind: Kind, features: Path, out: Path, page: InsightPage = InsightPage()) -> dict[str, Any]:
    """Write a page of a feature directory.

    Args:
        kind: which subjects it has.
        features: what ``footfall features`` wrote.
        out: the HTML file.
        page: days, language, definitions.

    Returns:
        first_day, last_day, sections (names), missing (what the page leaves out and why), tables (names of files).

    Raises:
        ConfigError: a definition or a subject is not as it should be.
        DataError: ``features`` is no feature directory, or its log lacks the days.
    """
    subjects = _wanted(kind, page.subjects)
    definitions = _definitions(page.definitions, kind)
    opened = FeatureSet.load(Path(features))
    words = Words.load(page.language, _INSIGHT / "pages", *(_INSIGHT / name for name in subjects))
    period, compared = _periods(opened, page)
    found: list[Section] = []
    missing: list[str] = []
    with private_connection(page.engine, beside=Path(out).parent) as connection:
        inputs = Inputs.open(
            opened, connection, period=period, compared=compared, data=page.data, definitions=definitions,
            engine=page.engine, scratch=Path(out).parent,
        )  # fmt: skip
        for subject in subjects:
            try:
                found += SUBJECTS[kind][subject](inputs, words)
            except NothingToShow as reason:
                missing.append(str(reason))
            logger.info("%s page: %s, %d sections so far", kind, subject, len(found))
    days = words.days(period.first_day, period.last_day)
    sectioned = SectionedPage(
        over=words("insight.over", shop=opened.shop.name, days=days),
        title=words(f"insight.{kind}_title"),
        lead=_lead(opened, period, compared, words),
        sections=found,
        provenance=provenance_of(opened, words),
        warning=warning_of(opened, words),
        missing=missing,
    )
    sectioned.write(Path(out), words)
    names = [] if page.tables is None else sectioned.write_tables(page.tables)
    return {
        "first_day": period.first_day.isoformat(),
        "last_day": period.last_day.isoformat(),
        "sections": [section.name for section in found],
        "missing": missing,
        "tables": names,
    }


def _wanted(kind: Kind, names: tuple[str, ...]) -> tuple[str, ...]:
    known = SUBJECTS[kind]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"subjects: expected some of {', '.join(known)}, found {name!r}.{hint}")
    return tuple(name for name in known if not names or name in names)


def _definitions(path: Path | None, kind: Kind) -> dict[str, Any]:
    if path is None:
        return {}
    found = read_yaml(path)
    known = [name for names in SUBJECTS.values() for name in names]
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path}: expected a mapping of {', '.join(SUBJECTS[kind])}, found {type(found).__name__}.")
    for name in found:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise ConfigError(f"{path}: expected one of {', '.join(known)}, found {name!r}.{hint}")
    return dict(found)


def _periods(features: FeatureSet, page: InsightPage) -> tuple[Period, Period | None]:
    log = features.event_log
    period = Period(first_day=page.first_day or log.first_day, last_day=page.last_day or log.last_day)
    if not page.compare:
        return period, None
    if period.before.last_day < log.first_day:
        raise ConfigError(
            f"compare: expected days before {period.first_day} in the log, found none, as it begins on {log.first_day}. "
            "Choose a later first day (--since)."
        )
    return period, period.before


def _lead(features: FeatureSet, period: Period, compared: Period | None, words: Words) -> str:
    minimum = features.shop.privacy.minimum_group
    lead = words("insight.lead", days=words.days(period.first_day, period.last_day), minimum=minimum)
    if compared is None:
        return lead
    return f"{lead} {words('insight.compared', days=words.days(compared.first_day, compared.last_day))}"
