"""Audiences by hand: size, pages, files, what sets two apart, and who resembles one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.audiences.compare import attributes, compare
from features.audiences.look_alikes import CustomerVectors, look_alikes
from features.audiences.members import export, members, preview, read_audience
from features.commands import audiences as command
from features.customers.basics import BASICS
from features.customers.table import CustomerTable
from features.errors import ConfigError, DataError
from features.event_log import EventLog
from features.privacy.pseudonyms import Pseudonyms
from features.rules.session import RuleSession, columns_at_hand
from features.settings import EngineSettings, PrivacySettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(time_zone="UTC", privacy=PrivacySettings(minimum_group=3))
START = utc("2024-05-01 10:00")


def tea_and_tools() -> list[dict[str, Any]]:
    """Users 0 to 9 view tea, 10 to 19 tools; of each the first four buy; 9 viewed tea without any purchase twice."""
    rows = []
    for n in range(20):
        user, item = f"u{n:02}", "tea" if n < 10 else "saw"
        rows += [event(user, "view", START + dt.timedelta(minutes=n), item), event(user, "view", START, f"{item}2")]
        if n % 10 < 4:
            rows.append(event(user, "purchase", START + dt.timedelta(hours=1), item, price=500))
    return [*rows, event("u09", "view", START + dt.timedelta(hours=2), "tea")]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features")
    items = [{"item_id": name, "category": "food/tea" if name[0] == "t" else "home/tools", "brand": name[:2]} for name in
             ("tea", "tea2", "saw", "saw2")]  # fmt: skip
    write_shop(out, shop=SHOP, events=tea_and_tools(), items=items)
    log = EventLog.build(out, out / "event_log.parquet", shop=SHOP, engine=ENGINE)
    table = CustomerTable.build(log, out / "items.parquet", shop=SHOP, engine=ENGINE, parts=BASICS)
    table.save(out / "customers.parquet")
    return out


@pytest.fixture
def session(directory: Path) -> Iterator[RuleSession]:
    log, customers = EventLog.open(directory / "event_log.parquet"), CustomerTable.load(directory / "customers.parquet")
    with RuleSession.open(log, directory / "items.parquet", customers, shop=SHOP, engine=ENGINE) as opened:
        yield opened


def ready(session: RuleSession, name: str, **parameters: str) -> Any:
    return read_audience(name, shop=SHOP, columns=session.compiler.natures, parameters=parameters)


def test_interested_in_an_item_when_not_bought_then_a_member_with_pages(session: RuleSession) -> None:
    """Only u09 viewed tea twice; in the category nobody has three views without a purchase but u09."""
    audience = ready(session, "interested_not_bought", item="tea")
    page = members(session, audience)
    assert (page.user_ids, page.total, page.next_offset) == (("u09",), 1, None)
    assert members(session, ready(session, "interested_in_category", category="food")).user_ids == ("u09",)
    buyers = ready(session, "category_buyers", category="home")
    first, second = members(session, buyers, limit=3), members(session, buyers, offset=3, limit=3)
    assert (first.user_ids, first.next_offset) == (("u10", "u11", "u12"), 3)
    assert (second.user_ids, second.next_offset, second.total) == (("u13",), None, 4)
    with pytest.raises(ConfigError, match="expected offset of 0 or more and limit of 1 or more, found 0 and 0"):
        members(session, buyers, limit=0)


def test_preview_when_the_group_is_small_then_its_size_is_kept(session: RuleSession) -> None:
    found = preview(session, ready(session, "interested_not_bought", item="tea"), shop=SHOP)
    assert found["size"] is None
    assert found["note"] == "fewer than 3 customers (privacy.minimum_group)"
    large = preview(session, ready(session, "category_buyers", category="food/tea"), shop=SHOP)
    assert (large["size"], large["of"], large["share"], large["note"]) == (4, 20, 0.2, "")


def test_audience_when_the_name_is_wrong_then_the_closest_is_named(session: RuleSession) -> None:
    with pytest.raises(ConfigError, match="found 'regular'"):
        ready(session, "regular")
    with pytest.raises(ConfigError, match="expected a value for the parameter 'item'"):
        ready(session, "interested_not_bought")


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_export_when_written_then_members_since_and_until(
    session: RuleSession, tmp_path: Path, file_format: Any
) -> None:
    path = tmp_path / "out"
    assert export(session, ready(session, "category_buyers", category="food"), path, file_format=file_format) == 4
    found = pd.read_parquet(path) if file_format == "parquet" else pd.read_csv(path, parse_dates=["since", "until"])
    assert found["user_id"].tolist() == ["u00", "u01", "u02", "u03"]
    assert (found["since"] == pd.Timestamp(START + dt.timedelta(hours=1))).all()
    assert (found["until"] - found["since"] == pd.Timedelta(days=90)).all()


def test_export_when_pseudonymised_then_no_id_is_in_the_file(session: RuleSession, tmp_path: Path) -> None:
    names = Pseudonyms(key=b"0" * 32, number=1, scope="partner")
    export(session, ready(session, "category_buyers", category="food"), tmp_path / "out", pseudonyms=names)
    found = pd.read_parquet(tmp_path / "out")
    assert "user_id" not in found
    assert found["pseudonym"].tolist() == sorted(names.of(f"u{n:02}") for n in range(4))


def test_export_when_somebody_was_forgotten_since_then_they_are_left_out(session: RuleSession, tmp_path: Path) -> None:
    audience = ready(session, "category_buyers", category="food")
    assert export(session, audience, tmp_path / "out", erased={"u01"}) == 3
    assert pd.read_parquet(tmp_path / "out")["user_id"].tolist() == ["u00", "u02", "u03"]


def test_compare_when_tastes_differ_then_the_lift_says_so(session: RuleSession) -> None:
    a, b = [f"u{n:02}" for n in range(10)], [f"u{n:02}" for n in range(8, 20)]  # u08 and u09 are in both
    table = compare(a, b, attributes(session), minimum_group=3).set_index(["kind", "value"])
    food = table.loc[("category viewed", "food")]
    assert (food["count_a"], food["count_b"], food["share_a"], food["lift"]) == (8, 0, 1.0, None) or pd.isna(
        food["lift"]
    )
    assert food["q"] < 0.01
    stage = table.loc[("lifecycle", "prospect")]  # 4 of 8 against 6 of 10
    assert stage["lift"] == pytest.approx((4 / 8) / (6 / 10))
    assert stage["low"] < stage["lift"] < stage["high"]
    with pytest.raises(DataError, match="found 0 and 10"):
        compare(a[:0], b[:10], attributes(session), minimum_group=3)


def test_look_alikes_when_tastes_are_known_then_like_finds_like(session: RuleSession) -> None:
    seed = pd.Series([f"u{n:02}" for n in range(5)])
    found = look_alikes(seed, CustomerVectors.from_session(session), n=5)
    assert set(found["user_id"]) == {f"u{n:02}" for n in range(5, 10)}  # the others of tea
    assert found["score"].is_monotonic_decreasing


def test_look_alikes_when_worked_one_by_one_then_equal_and_vectors_are_left_as_they_were() -> None:
    rng = np.random.default_rng(0)
    raw, ids = rng.standard_normal((40, 6)), pd.Index([f"u{n:02}" for n in range(40)])
    kept = raw.copy()
    seed = ids[[3, 7, 21]]
    found = look_alikes(seed, CustomerVectors.of(ids, raw), n=10)
    unit = [row / np.sqrt((row**2).sum()) for row in raw]
    direction = sum(unit[n] for n in (3, 7, 21)) / 3 - sum(unit) / 40
    scores = {ids[n]: float(unit[n] @ direction) for n in range(40) if n not in (3, 7, 21)}
    best = sorted(scores, key=lambda user: (-scores[user], user))[:10]
    assert found["user_id"].tolist() == best
    assert found["score"].tolist() == pytest.approx([scores[user] for user in best])
    assert (raw == kept).all()
    with pytest.raises(DataError, match="expected members with a vector, found none"):
        look_alikes(pd.Index(["nobody"]), CustomerVectors.of(ids, raw), n=3)


def test_command_when_run_then_each_subcommand_answers(directory: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("audiences:\n  tea: {when: {events: view, where: {category: food}}}\n"
                   "  tools: {when: {events: view, where: {category: $which}}}\n")  # fmt: skip
    here, more = [str(directory), str(own)], ["--engine.threads", "1", "--engine.memory_limit", "500MB"]
    which = ["--parameters", "{which: home}"]
    found = command.run(["preview", *here, "tools", *which, *more])
    assert found is not None
    assert (found["size"], found["of"]) == (10, 20)
    listed = command.run(["list", *here, "tea", "--limit", "2", *more])
    assert listed == {"user_ids": ["u00", "u01"], "total": 10, "next_offset": 2}
    out = tmp_path / "tea.csv"
    written = command.run(["export", *here, "tea", str(out), "--format", "csv", *more])
    assert written is not None
    assert written["members"] == 10
    assert len(out.read_text().splitlines()) == 11
    apart = command.run(["compare", *here, "tea", "tools", *which, *more])
    assert apart is not None
    assert {row["value"] for row in apart["attributes"][:2]} == {"food", "home"}
    grown = command.run(
        ["look-alikes", str(directory), "ready", "category_buyers", "3", "--parameters", "{category: food}", *more]
    )
    assert grown is not None
    assert set(grown["user_ids"]) <= {f"u{n:02}" for n in range(4, 10)}
    with pytest.raises(ConfigError, match="expected a feature directory, found none"):
        command.run(["preview", str(tmp_path / "none"), "ready", "regulars"])


def test_columns_at_hand_when_a_table_has_more_then_their_kinds_are_told() -> None:
    frame = pd.DataFrame(
        {"user_id": ["a"], "monetary": [1], "lifecycle": ["new"], "tag_vip": ["gold"], "extra": [1.5], "odd": [True]}
    )
    assert columns_at_hand(frame) == {
        "monetary": "money", "lifecycle": "text", "tag_vip": "text", "extra": "number", "odd": "flag"
    }  # fmt: skip
