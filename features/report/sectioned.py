"""A page put together from sections, and the files of the tables behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.build import FeatureSet
from features.files import staged_file
from features.release.part import git_revision
from features.report.page import write_page
from features.report.sections import Section
from features.report.words import Words

_TEMPLATE: Final = Path(__file__).with_name("sectioned.html")


@dataclass(frozen=True, kw_only=True)
class SectionedPage:
    """What stands on a page, in its order.

    Args:
        over: above the title: whose page, of when.
        title: the answer that matters most.
        lead: what was looked at.
        sections: one a subject; their findings stand together at the top.
        provenance: name and value: where the figures come from.
        definitions: words that the whole page uses.
        warning: what must be known of the data, such as that it is simulated.
        missing: what the page leaves out, and why.
    """

    over: str
    title: str
    lead: str
    sections: Sequence[Section]
    provenance: Sequence[tuple[str, str]]
    definitions: Sequence[tuple[str, str]] = ()
    warning: str = ""
    missing: Sequence[str] = ()

    @property
    def in_short(self) -> list[str]:
        """The findings of all sections."""
        return [section.finding for section in self.sections if section.finding]

    def write(self, path: Path, words: Words) -> None:
        """Write one self-contained HTML file, whole or not at all."""
        write_page(path, _TEMPLATE, page=self, language=words.language, w=words)

    def write_tables(self, directory: Path) -> list[str]:
        """Write the tables behind the sections, each as ``NAME.parquet`` and ``NAME.csv``; return their names."""
        directory.mkdir(parents=True, exist_ok=True)
        found = {f"{one.name}_{name}": frame for one in self.sections for name, frame in one.tables.items()}
        for name, frame in found.items():
            with staged_file(directory / f"{name}.parquet") as aside:
                frame.to_parquet(aside, index=False)
            with staged_file(directory / f"{name}.csv") as aside:
                frame.to_csv(aside, index=False)
        return list(found)


def warning_of(features: FeatureSet, words: Words) -> str:
    """Return what must be known of the data."""
    data = features.about["data"]
    return words("source.simulated") if data.get("source") == "synthetic" else str(data.get("warning", ""))


def provenance_of(features: FeatureSet, words: Words) -> list[tuple[str, str]]:
    """Return where the figures of a page come from."""
    about, now = features.about, dt.datetime.now(dt.UTC)
    return [
        (words("source.data"), words.term("source", str(about["data"].get("source", "")))),
        (words("source.fingerprint"), features.fingerprint),
        (words("source.code"), f"{words('source.revision')} {git_revision()}"),
        (words("source.built"), _instant(dt.datetime.fromisoformat(about["created_at"]), words)),
        (words("source.written"), _instant(now, words)),
        (words("source.purpose"), words("source.purpose_text")),
    ]


def _instant(at: dt.datetime, words: Words) -> str:
    return f"{words.day(at.date())}, {at:%H:%M} UTC"
