"""``footfall recommend``: every part of the output, on all cores, behind what an earlier run finished."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from features.asides import sweep
from features.errors import ConfigError
from features.release import ReleaseStore
from serving.api.errors import RequestError
from serving.bulk.answers import BulkAnswers
from serving.bulk.crew import Tell, shared_out
from serving.bulk.lists import SCHEMA
from serving.bulk.parts import OutputDirectory, check_same, clear, held, manifest_of
from serving.bulk.progress import ProgressLine
from serving.bulk.settings import BulkSettings
from serving.bulk.standing import SaidConsents
from serving.bulk.users import Users
from serving.experiments.wishes import WishList
from serving.live.opening import open_live
from serving.merchandising.house import Merchandising
from serving.merchandising.stock import STOCK_FILE, LiveStock
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState
from serving.surfaces.clock import wall_clock_us

_log = logging.getLogger(__name__)
# Arrays of so many users stay small beside a release, and large beside what one call of NumPy costs.
_CHUNK: Final = 1_024


@dataclass(frozen=True, kw_only=True, eq=False)
class Bulk:
    """One run.

    Args:
        answers: of the release.
        users: whose lists are written.
        item_ids: by code.
        output: where they are written.
    """

    answers: BulkAnswers
    users: Users
    item_ids: pa.Array
    output: OutputDirectory

    @property
    def num_parts(self) -> int:
        """How many parts the output has."""
        return -(-len(self.users.ids) // self.answers.settings.shard_users)

    def ids_of(self, part: int) -> list[str]:
        """Return the users of one part, erased ones too."""
        size = self.answers.settings.shard_users
        return list(self.users.ids[part * size : (part + 1) * size])

    def finished(self) -> dict[int, dict[str, Any]]:
        """Return what is known of the parts that stand: of users whose erasures and consents are as they were then."""
        found = {number: self.output.finished_part(number) for number in range(self.num_parts)}
        return {
            number: about
            for number, about in found.items()
            if about is not None and about["standing"] == self.answers.standing(self.ids_of(number)).digest()
        }

    def write(self, part: int, tell: Tell) -> dict[str, Any]:
        """Write a part; return what is known of it."""
        ids, counts = self.ids_of(part), Counter[str]()
        standing = self.answers.standing(ids)
        left = [id_ for id_, is_erased in zip(ids, standing.erased.tolist(), strict=True) if not is_erased]
        tables = [SCHEMA.empty_table()]
        for start in range(0, len(left), _CHUNK):
            some = left[start : start + _CHUNK]
            lists = self.answers.lists(some, self.answers.standing(some))
            tables.append(lists.table(some, self.item_ids))
            counts += Counter(f"strategy {name}" for name in lists.strategies.tolist())
            lengths = np.diff(lists.found.offsets)
            counts += Counter(
                unknown=int((~lists.known).sum()),
                short=int((lengths < self.answers.settings.k).sum()),
                items=int(lengths.sum()),
            )
            tell(len(some))
        tell(len(ids) - len(left))
        about = {
            "file": self.output.part(part).name,
            "users": len(ids),
            "lists": len(left),
            "counts": {"erased": len(ids) - len(left), "unknown": 0, "short": 0, "items": 0} | dict(counts),
            "standing": standing.digest(),
        }
        self.output.write_part(part, pa.concat_tables(tables), about)
        return about


def recommend_all(
    store: ReleaseStore,
    users: Path | None,
    out: Path,
    settings: BulkSettings,
    *,
    served: ServeSettings,
    release_id: str = "",
    at_us: int = 0,
    workers: int = 0,
    replace: bool = False,
    wall: Callable[[], int] = wall_clock_us,
) -> dict[str, Any]:
    """Write lists for many users and return the manifest; what an earlier run of the same finished is kept.

    Args:
        store: of releases.
        users: file of users; every user of the release where ``None``.
        out: directory of the lists.
        settings: what is asked for.
        served: settings of the service: its rules, and where what it was told is kept.
        release_id: the store's current one where empty.
        at_us: the instant of all lists, UTC microseconds; the present where 0, of a run's first start.
        workers: processes; one a core where 0.
        replace: begin anew where ``out`` holds lists of another run.
        wall: the present, UTC microseconds.

    Raises:
        DataError: the users' file is not as it should be, or ``out`` holds something else.
        ConfigError: the settings do not fit the release.
        ReleaseError: there is no release, or it is damaged.
    """
    if workers < 0:
        raise ConfigError(f"workers: expected 1 or more, or 0 for one a core, found {workers}.")
    started = time.monotonic()
    with held(out):
        before = _earlier(out, replace=replace)
        state = ReleaseState.load(store, release_id)
        whose = Users.of(state) if users is None else Users.read(users)
        wishes = WishList.read(*(Path(one) if one else None for one in (served.rules.path, served.experiments.path)))
        run = _run_of(state, whose, settings, wishes) | {"at_us": at_us or None}
        if before is not None:
            check_same(out, before["run"], run)
        now_us = int(before["now_us"]) if before is not None else at_us or wall()
        answers = BulkAnswers(
            store, state, settings, now_us=now_us, said=_said(served, Path(store.root)), merchandising=Merchandising(
                rules=lambda: wishes.rules, stock=_stock(Path(store.root)), pool=served.rules.pool)
        )  # fmt: skip
        _check(answers)
        bulk = Bulk(
            answers=answers,
            users=whose,
            item_ids=pa.array(state.item_ids, pa.string()),
            output=OutputDirectory(path=out, run=run | {"now_us": now_us}),
        )
        manifest = {"run": run, "now_us": now_us, "rejects": whose.rejects.num_rows, "notes": _notes(wishes)}
        try:
            return _written(bulk, manifest, before=before, num_workers=workers or _num_cores(), started=started)
        finally:
            sweep(out)  # what workers that were ended had begun


def _written(
    bulk: Bulk, manifest: Mapping[str, Any], *, before: Mapping[str, Any] | None, num_workers: int, started: float
) -> dict[str, Any]:
    """Write the parts that are missing, then the whole manifest."""
    parts = bulk.finished() if before is not None else {}
    todo = [number for number in range(bulk.num_parts) if number not in parts]
    if not todo and before is not None and before["finished"]:
        _log.info("%s: all %d parts stand already", bulk.output.path, bulk.num_parts)
        return dict(before)
    kept, num_users = sum(part["users"] for part in parts.values()), len(bulk.users.ids)
    _log.info(
        "lists of %d users of %s in %d parts%s, %d rows set aside, by %d processes",
        *(num_users, bulk.users.source, bulk.num_parts, f", {len(parts)} of them stand" if parts else ""),
        *(bulk.users.rejects.num_rows, min(num_workers, max(1, len(todo)))),
    )
    bulk.output.begin(manifest, bulk.users.rejects)
    line, began = ProgressLine(num_users, kept), time.monotonic()
    try:
        for number, about in shared_out(todo, bulk.write, num_workers=num_workers, progress=line):
            parts[number] = about
    finally:
        line.close()
    answering = time.monotonic() - began
    whole = {
        **manifest,
        "counts": _counts(parts),
        "parts": [{name: parts[number][name] for name in ("file", "users", "lists")} for number in sorted(parts)],
        "parts_kept": bulk.num_parts - len(todo),
        "seconds": round(time.monotonic() - started, 3),
        "answering_seconds": round(answering, 3),
        "users_per_second": round((num_users - kept) / max(answering, 1e-9), 1),
        "finished": True,
    }
    bulk.output.write_manifest(whole)
    return whole


def _earlier(out: Path, *, replace: bool) -> dict[str, Any] | None:
    """Return the manifest of an earlier run that is to be gone on with."""
    if not replace:
        return manifest_of(out)
    manifest_of(out)  # other files are not ours to remove
    clear(out)
    return None


def _run_of(state: ReleaseState, users: Users, settings: BulkSettings, wishes: WishList) -> dict[str, Any]:
    """Return what the lists are made from."""
    return {
        "release_id": state.release_id,
        "model_version": state.model_version,
        "release_parts": dict(sorted(state.digests.items())),
        "users": users.source,
        "users_digest": users.digest,
        "num_users": len(users.ids),
        "settings": msgspec.to_builtins(settings),
        "rules_version": wishes.rules.version or None,
    }


def _said(served: ServeSettings, store: Path) -> SaidConsents:
    """Return what customers said to the service of their consent."""
    if not served.live.url and not served.live.path(store).exists():
        return SaidConsents()
    live = open_live(served.live, store)
    try:
        return SaidConsents.of(live)
    finally:
        live.close()


def _stock(store: Path) -> LiveStock | None:
    path = store / STOCK_FILE
    return LiveStock(path) if path.exists() else None


def _check(answers: BulkAnswers) -> None:
    try:
        answers.check()
    except RequestError as error:
        raise ConfigError(str(error)) from None


def _notes(wishes: WishList) -> list[str]:
    names = [one.name for layer in wishes.experiments.layers for one in layer.experiments]
    if not names and not wishes.experiments.holdout:
        return []
    told = ", ".join(names) or "a holdout alone"
    return [f"Experiments ({told}) are left out: lists are those of nobody's variant, by the shop's own rules."]


def _counts(parts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    total = Counter[str]()
    for part in parts.values():
        total.update(part["counts"])
    strategies = {
        name.partition(" ")[2]: number for name, number in sorted(total.items()) if name.startswith("strategy ")
    }
    return {
        "users": sum(part["users"] for part in parts.values()),
        "lists": sum(part["lists"] for part in parts.values()),
        **{name: total[name] for name in ("erased", "unknown", "short", "items")},
        "strategies": strategies,
    }


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
