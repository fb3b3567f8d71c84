"""Stock while others write it and ask for it: nobody waits for a disk, and what is kept does not grow with messages."""

from __future__ import annotations

import fcntl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.api.schemas import Filters, RecommendRequest
from serving.merchandising.merchandiser import Merchandiser
from serving.merchandising.stock import LiveStock, StockRow
from serving.release.state import ReleaseState
from tests.serving.tiny_release import TinyRelease


@pytest.fixture
def often_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_refresh_when_another_process_holds_the_log_then_nobody_but_the_writer_waits(tmp_path: Path) -> None:
    stock = LiveStock(tmp_path / "stock.jsonl")
    with (tmp_path / "stock.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer = threading.Thread(target=lambda: stock.add([StockRow("c", 1, "", 3)]))
        writer.start()
        time.sleep(0.1)
        other.write(b'{"item_id":"b","stock":0,"region":"","at_us":2}\n')
        other.flush()
        started = time.monotonic()
        stock.refresh()
        assert time.monotonic() - started < 5
        assert list(stock.rows()) == [("b", "")]
    writer.join()
    assert list(stock.rows()) == [("b", ""), ("c", "")]


@pytest.mark.usefixtures("often_switching")
def test_shown_to_anyone_when_two_threads_ask_and_a_third_tells_stock_then_both_are_answered(
    tiny_state: ReleaseState, tmp_path: Path
) -> None:
    stock = LiveStock(tmp_path / "stock.jsonl")
    stock.add([StockRow("item-9", 0, "", 1)])
    merchandiser = Merchandiser(tiny_state, stock=stock)
    found: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            for turn in range(500):
                region = f"r{(turn + number) % 97}"  # more than are kept
                shown = merchandiser.shown_to_anyone(RecommendRequest(filters=Filters(region=region)))
                assert shown is not None
                assert not shown[tiny_state.item_codes["item-9"]]
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in (0, 3)]
    for one in threads:
        one.start()
    for number in range(20):
        stock.add([StockRow("item-3", number % 2, f"r{number}", number + 2)])
    for one in threads:
        one.join()
    assert not found


def test_stock_when_it_is_told_many_times_then_what_is_kept_does_not_grow(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.merchandising.stock._TAIL", 5)
    stock = LiveStock(tmp_path / "stock.jsonl")
    merchandiser = Merchandiser(tiny_state, stock=stock)
    ids = list(tiny.vocabulary.ids)
    for number in range(60):
        stock.add([StockRow(ids[row % 7], (number + row) % 2, "", 2 * number + row) for row in range(number % 9 + 1)])
        shown = merchandiser.shown_to_anyone(RecommendRequest())
        out = [item for (item, _), row in stock.rows().items() if not row.stock]
        assert [bool(shown is None or shown[tiny_state.item_codes[item]]) for item in out] == [False] * len(out)
        told = [item for (item, _), row in stock.rows().items() if row.stock]
        assert shown is None or all(shown[tiny_state.item_codes[item]] for item in told)
    assert len(stock._changes) <= 5
    assert len(merchandiser._shown) == 1
    assert stock.refresh() > 60
    late = Merchandiser(tiny_state, stock=stock).shown_to_anyone(RecommendRequest())
    now = merchandiser.shown_to_anyone(RecommendRequest())
    assert late is not None
    assert now is not None
    assert (late == now).all()
