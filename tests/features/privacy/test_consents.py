from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.errors import ConfigError, DataError
from features.event_log import EventLog
from features.privacy.consents import ALWAYS, NEVER, Consent, ConsentBook
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
START = utc("2024-05-01 00:00")
CHANGES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=6)


def us(hour: int) -> int:
    return round((START + dt.timedelta(hours=hour)).timestamp() * 1_000_000)


def consents(**of_user: dict[str, list[tuple[int, bool]]]) -> list[dict[str, Any]]:
    """``ann={"analytics": [(hour, granted), ...]}`` as rows of the contract."""
    return [
        {"user_id": user, "purpose": purpose, "granted": granted, "at": START + dt.timedelta(hours=hour)}
        for user, purposes in of_user.items()
        for purpose, changes in purposes.items()
        for hour, granted in changes
    ]


def may_serve(at: int, rows: list[tuple[int, bool]]) -> bool:
    """The rule, slowly: granted at or before the instant, and no withdrawal at that grant or after it."""
    return any(
        granted and when <= at and all(other_granted or other < when for other, other_granted in rows)
        for when, granted in rows
    )


ROWS = consents(
    ann={"analytics": [(1, True), (3, False), (5, True)], "personalisation": [(1, True), (4, False)]},
    bob={"analytics": [(2, True)]},
)


def test_book_when_built_then_it_agrees_with_the_event_logs_flags_hour_by_hour(tmp_path: Path) -> None:
    events = [event(u, "login", START + dt.timedelta(hours=h)) for u in ("ann", "bob", "cid") for h in range(8)]
    data = write_shop(tmp_path / "data", events=events, consents=ROWS)
    log = EventLog.build(data, tmp_path / "log.parquet", shop=ShopSettings(), engine=ENGINE).to_pandas()
    book = ConsentBook.build(data, shop=ShopSettings(), engine=ENGINE)
    for purpose, flag in ((c.ANALYTICS, c.FOR_ANALYTICS), (c.PERSONALISATION, c.FOR_PERSONALISATION)):
        found = [book.allows(user, purpose, us(hour)) for user in ("ann", "bob", "cid") for hour in range(8)]
        assert found == log[flag].tolist()
    assert [book.allows("ann", c.ANALYTICS, us(h)) for h in range(7)] == [False] * 5 + [True] * 2
    assert book.holding(["bob", "ann", "cid"], c.ANALYTICS, us(3)).tolist() == [True, False, False]


def test_book_when_saved_and_loaded_then_the_same_to_the_microsecond(tmp_path: Path) -> None:
    rows = [row | {"at": row["at"] + dt.timedelta(microseconds=1)} for row in ROWS]
    book = ConsentBook.build(write_shop(tmp_path / "data", consents=rows), shop=ShopSettings(), engine=ENGINE)
    book.save(tmp_path / "consents.parquet")
    again = ConsentBook.load(tmp_path / "consents.parquet")
    assert again.users.ids.tolist() == ["ann", "bob"]
    assert again.instants.tolist() == book.instants.tolist()
    assert book.of("bob", c.ANALYTICS) == Consent(from_us=us(2) + 1, last_us=us(2) + 1)
    assert book.of("ann", c.PERSONALISATION) == Consent(withdrawn_us=us(4) + 1, last_us=us(1) + 1)
    assert book.of("bob", c.PERSONALISATION) == Consent()
    assert again.without({"ann"}).users.ids.tolist() == ["bob"]


@pytest.mark.parametrize("default", ["granted", "denied"])
def test_book_when_the_shop_keeps_no_consents_then_its_default_holds_for_everyone(tmp_path: Path, default: Any) -> None:
    data = write_shop(tmp_path / "data")
    book = ConsentBook.build(data, shop=ShopSettings(consent_default=default), engine=ENGINE)
    book.save(tmp_path / "consents.parquet")
    for one in (book, ConsentBook.load(tmp_path / "consents.parquet")):
        assert one.allows("anyone", c.ANALYTICS, us(0)) == (default == "granted")
        assert one.holding(["anyone"], c.ANALYTICS, us(0)).tolist() == [default == "granted"]


@settings(max_examples=200, deadline=None)
@given(changes=CHANGES)
def test_consent_when_changes_come_in_any_order_then_as_the_rule_says(changes: list[tuple[int, bool]]) -> None:
    found = Consent().after(changes)
    assert [found.holds(at) for at in range(8)] == [may_serve(at, changes) for at in range(8)]
    assert Consent().after(changes[::-1]) == found
    assert found.after(changes) == found


@settings(max_examples=200, deadline=None)
@given(known=CHANGES, later=CHANGES)
def test_consent_when_joined_with_later_changes_then_never_more_than_the_rule_allows(
    known: list[tuple[int, bool]], later: list[tuple[int, bool]]
) -> None:
    found = Consent().after(known).after(later)
    assert all(may_serve(at, known + later) for at in range(8) if found.holds(at))
    assert found.holds(7) == may_serve(7, known + later)  # whether it holds now is exact


def test_consent_when_granted_by_default_then_a_withdrawal_ends_it_and_a_grant_begins_it_anew() -> None:
    default = Consent(from_us=ALWAYS)
    assert default.after([(5, True)]) == Consent(from_us=ALWAYS, last_us=5)
    assert default.after([(5, False)]).from_us == NEVER
    assert default.after([(5, False), (9, True)]).from_us == 9


def test_book_when_the_purpose_or_file_is_wrong_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"purpose: expected one of .* found 'marketing'"):
        ConsentBook.of_default(granted=True).allows("ann", "marketing", 0)
    with pytest.raises(DataError, match="expected a consent book, found FileNotFoundError"):
        ConsentBook.load(tmp_path / "absent.parquet")
