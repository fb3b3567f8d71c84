"""Exports that leave the shop's hands: recorded before they are written, and pseudonymous where that is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from features.asides import scratch_directory
from features.build import EVENT_LOG_FILE, IDENTITY_DIRECTORY
from features.errors import DataError
from features.parquet import is_table
from features.privacy.access_log import ACCESS_FILE, AccessLog
from features.privacy.activity import Window, connect, format_of
from features.privacy.person import Person
from features.privacy.pseudonyms import KeyRing
from features.settings import EngineSettings, ShopSettings

SHOWN_ROWS: Final = 1_000


def export_activity(
    directory: Path,
    *,
    user: str = "",
    times: tuple[str, str] = ("", ""),
    out: Path | None = None,
    asker: tuple[str, str] = ("", ""),
    recipient: str = "",
    key: Path | None = None,
    linked: bool = True,
    audit: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Export one customer's activity, or everyone's in a window.

    Args:
        directory: data or feature directory.
        user: an id of the customer; everyone where blank.
        times: from and to, as ``Window.parse`` reads them.
        out: file to write; without it the answer holds the first ``SHOWN_ROWS`` rows.
        asker: who asks, and why.
        recipient: for whom ids become pseudonyms; nobody where blank.
        key: file of pseudonym keys; the environment's where ``None``.
        linked: whether rows under linked ids count.
        audit: file of the record; ``access.jsonl`` beside the directory where ``None``.
        engine: memory limit, threads, where to spill.

    Raises:
        ConfigError: a time, the ending of ``out`` or a key is wrong.
        DataError: the directory is neither data nor features.
    """
    directory = Path(directory)
    shop = ShopSettings.load(directory)
    window = Window.parse(*times, shop)
    pseudonyms = KeyRing.load(key).pseudonyms(recipient) if recipient else None
    if out is not None:
        format_of(out)
    with (
        _person(directory, user, linked=linked, engine=engine) as person,
        connect(directory, person=person, window=window, pseudonyms=pseudonyms, engine=engine) as activity,
    ):
        number = len(activity)
        access_log_of(directory, audit).record(
            "activity exported",
            ids=() if person is None else person.ids,
            who=asker[0],
            why=asker[1],
            directory=str(directory),
            window=list(times),
            rows=number,
            out="" if out is None else str(out),
            recipient=recipient,
        )
        result = {"rows": number, "ids": 0 if person is None else len(person.ids), "time_zone": shop.time_zone}
        if out is not None:
            activity.write(out)
            return result | {"out": str(out)}
        return result | {"activity": activity.rows(SHOWN_ROWS), "cut": number > SHOWN_ROWS}


def reveal_pseudonym(
    pseudonym: str,
    directory: Path,
    *,
    recipient: str,
    asker: tuple[str, str] = ("", ""),
    key: Path | None = None,
    audit: Path | None = None,
) -> dict[str, Any]:
    """Return the id that a pseudonym stands for, out of the ids of a data or feature directory.

    Raises:
        ConfigError: it is none, or its key is not held.
        UnknownId: it stands for none of the ids in this recipient's scope.
    """
    directory = Path(directory)
    with connect(directory) as activity:
        user_id = KeyRing.load(key).holder(pseudonym, activity.user_ids(), scope=recipient)
    access_log_of(directory, audit).record(
        "pseudonym led back", ids=[user_id], who=asker[0], why=asker[1], directory=str(directory), recipient=recipient
    )
    return {"pseudonym": pseudonym, "user_id": user_id}


@contextlib.contextmanager
def _person(directory: Path, user: str, *, linked: bool, engine: EngineSettings) -> Iterator[Person | None]:
    if not user:
        yield None
    elif not linked:
        yield Person.find(user)
    elif is_table(directory / EVENT_LOG_FILE):
        yield Person.find(user, [directory / IDENTITY_DIRECTORY])
    elif not directory.is_dir():
        raise DataError(f"{directory}: expected a data or feature directory, found none.")
    else:
        with scratch_directory(directory.parent, "links") as scratch:
            yield Person.find_in_data(user, directory, scratch / "identity", engine=engine)


def access_log_of(directory: Path, audit: Path | None) -> AccessLog:
    """Return the record of who looked at a data or feature directory: ``audit``, or the file beside the directory."""
    return AccessLog(path=Path(audit) if audit is not None else directory.resolve().parent / ACCESS_FILE)
