"""Lists drawn at random: the chances that are stated are those of the draw."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import duckdb
import numpy as np
import pytest

from features.exposure_log import ExposureLog, ExposureRow, exposures_sql
from serving.api.errors import RequestError
from serving.api.schemas import RecommendRequest
from serving.experiments.arm import Arm
from serving.experiments.explore import Explore, place_chances, weights
from serving.experiments.exposures import ExposureWriter
from serving.merchandising.house import Merchandising
from serving.merchandising.rules import Cap, Pin, Rule, RuleSet
from serving.release.state import ReleaseState
from serving.surfaces.question import Drawn
from tests.serving.asking import engine_over, ids
from tests.serving.tiny_release import TinyRelease


def one_by_one(weight: np.ndarray) -> np.ndarray:
    """Chances by going through every order."""
    found = np.zeros((len(weight), len(weight)))
    for order in itertools.permutations(range(len(weight))):
        chance, left = 1.0, weight.sum()
        for item in order:
            chance, left = chance * weight[item] / left, left - weight[item]
        found[list(order), range(len(weight))] += chance
    return found


@pytest.mark.parametrize("weight", [[0.5, 0.2, 0.15, 0.1, 0.05], [1.0, 1.0, 1.0], [0.999, 0.0009, 0.0001], [3.0]])
def test_place_chances_when_every_order_is_gone_through_then_they_are_the_same(weight: list[float]) -> None:
    np.testing.assert_allclose(place_chances(np.array(weight)), one_by_one(np.array(weight)), rtol=1e-9)


@pytest.mark.parametrize(("num", "half_life", "epsilon"), [(50, 5.0, 0.1), (200, 2.0, 0.02), (100, 50.0, 1.0)])
def test_chance_when_there_are_many_candidates_then_each_place_and_each_item_sums_to_one(
    num: int, half_life: float, epsilon: float
) -> None:
    chance = Explore(half_life=half_life, epsilon=epsilon).chance(num)
    np.testing.assert_allclose(chance.sum(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(chance.sum(axis=1), 1, rtol=1e-9)
    assert chance.min() > 0
    np.testing.assert_allclose(chance[:, 0], weights(num, half_life, epsilon), rtol=1e-9)


def test_recommend_when_it_explores_then_frequencies_are_the_stated_chances_at_every_place(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    explore = Explore(half_life=2.0, epsilon=0.3, candidates=6)
    rules = RuleSet(
        rules=(
            Rule(name="pin", effect=Pin(places={"item-3": 2})),
            Rule(name="cap", effect=Cap(of="brand", most=1)),
        ),
        version="1",
    )  # fmt: skip
    house = Merchandising(rules=lambda: rules, rng=np.random.default_rng(5))
    engine = engine_over(tiny_state, tiny, tmp_path, merchandising=house)
    arm, request = Arm(variants={"e": "v"}, unit="user-4", explore=explore), RecommendRequest(user_id="user-4", k=4)
    num = 1500
    answers = engine.recommend([request] * num, [arm] * num)
    shown = np.array([ids(one) for one in answers if not isinstance(one, RequestError)])  # [num, 4]
    assert set(shown[:, 1]) == {"item-3"}
    brands = tiny.catalog.brand[tiny.vocabulary.encode(shown.reshape(-1))].reshape(shown.shape)
    assert all(len(set(row)) == 4 for row in brands.tolist()), "a pinned item counts for the cap"
    plain = engine.recommend([RecommendRequest(user_id="user-4", k=7)])[0]
    assert not isinstance(plain, RequestError)
    candidates = [item for item in ids(plain) if item != "item-3"][:6]
    chance = explore.chance(6)
    for draw, place in enumerate((0, 2, 3)):
        counts = np.array([(shown[:, place] == item).sum() for item in candidates])
        expected = num * chance[:, draw]
        assert counts.sum() == num, "nothing else is drawn"
        assert ((counts - expected) ** 2 / expected).sum() < 25, "chi-squared with 5 degrees of freedom: 1 in 7,000"


def test_recommend_when_a_list_is_long_then_its_first_places_are_drawn_and_the_others_follow_in_order(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.experiments.explore.MOST_DRAWN", 6)
    explore = Explore(half_life=2.0, epsilon=1.0, candidates=2)
    log = ExposureWriter(tmp_path / "log", flush_seconds=60)
    engine = engine_over(tiny_state, tiny, tmp_path, exposures=log)
    request = RecommendRequest(user_id="user-4", k=20)
    plain = ids(engine.recommend([request])[0])  # type: ignore[arg-type]
    [found] = engine.answered([request], [Arm(variants={"e": "v"}, unit="user-4", explore=explore)])
    assert not isinstance(found, RequestError)
    assert found.keep is not None
    found.keep()
    assert sorted(ids(found.answer)[:6]) == sorted(plain[:6])
    assert ids(found.answer)[6:] == plain[6:]
    log.close()
    chance = {slot: share for _, _, slot, _, share, _, _ in written(tmp_path / "log")}
    assert [chance.get(f"for_you_{place}") for place in range(1, 7)] == [pytest.approx(1 / 6)] * 6
    assert [chance[f"for_you_{place}_pinned"] for place in range(7, 21)] == [None] * 14
    assert explore.size(5000, 1000) == 6


def written(log: Path) -> list[tuple[object, ...]]:
    return duckdb.sql(f"SELECT * REPLACE (epoch_us(ts) AS ts) FROM ({exposures_sql(log)}) ORDER BY ts, slot").fetchall()


def test_exposure_writer_when_a_list_is_drawn_then_each_place_states_its_chance(tmp_path: Path) -> None:
    explore = Explore(half_life=2.0, epsilon=0.3)
    arm = Arm(variants={"a": "x", "b": "y"}, unit="ann", explore=explore)
    writer = ExposureWriter(tmp_path / "log", wall=lambda: 1_000_000, is_erased={"bob"}.__contains__, flush_seconds=60)
    drawn = Drawn(num=5, ranks=np.array([3, -1, 0]), places=np.array([0, -1, 1]))
    writer.keep(arm, "for_you", ["i", "pinned", "j"], drawn)
    writer.keep(Arm(variants={"a": "c"}, unit="ann"), "similar", ["k"], None)
    writer.keep(Arm(variants={"a": "c"}, unit="bob"), "similar", ["k"], None)
    writer.keep(Arm(variants={"a": "c"}, unit="visit", is_logged=False), "similar", ["k"], None)
    writer.close()
    chance = explore.chance(5)
    rows = [
        (user, item, slot, share, test, variant)
        for user, item, slot, _, share, test, variant in written(tmp_path / "log")
    ]
    assert rows == [
        ("ann", "i", "for_you_1", pytest.approx(chance[3, 0]), "a+b", "x+y"),
        ("ann", "pinned", "for_you_2_pinned", None, "a+b", "x+y"),
        ("ann", "j", "for_you_3", pytest.approx(chance[0, 1]), "a+b", "x+y"),
        ("ann", "k", "similar_1", None, "a", "c"),
    ]
    at = [row[3] for row in written(tmp_path / "log")]
    assert at[0] == at[1] == at[2] != at[3], "two lists are of two instants"
    [file] = ExposureLog(directory=tmp_path / "log").files()
    assert file.parent.name == "1970-01-01"
    assert file.stat().st_mode & 0o777 == 0o600


def test_exposure_writer_when_one_list_has_no_rows_then_the_others_are_written(tmp_path: Path) -> None:
    told: list[int] = []
    writer = ExposureWriter(tmp_path / "log", flush_seconds=60, lost=lambda: told.append(1))
    arm, nothing = Arm(variants={"a": "x"}, unit="ann", explore=Explore()), np.zeros(0, np.int64)
    writer.keep(arm, "for_you", ["i"], Drawn(num=5, ranks=np.array([3]), places=np.array([0])))
    writer.keep(arm, "upgrade", [], Drawn(num=0, ranks=nothing, places=nothing))
    writer.keep(arm, "similar", ["j"], Drawn(num=5, ranks=np.array([99]), places=np.array([0])))  # none of the five
    only = np.array([-1])
    writer.keep(arm, "trending", ["pinned"], Drawn(num=0, ranks=only, places=only))
    writer.keep(arm, "trending", ["k"], Drawn(num=5, ranks=np.array([0]), places=np.array([0])))
    writer.close()
    rows = [(item, slot, share is None) for _, item, slot, _, share, _, _ in written(tmp_path / "log")]
    assert rows == [("i", "for_you_1", False), ("pinned", "trending_1_pinned", True), ("k", "trending_1", False)]
    assert writer.num_lost == len(told) == 1


def test_exposure_log_when_it_is_erased_from_while_it_is_written_then_no_row_is_lost(tmp_path: Path) -> None:
    log = ExposureLog(directory=tmp_path)
    rows = [ExposureRow(f"u{number % 3}", "i", "s", number * 1000, 0.5, None, None) for number in range(600)]

    def write() -> None:
        for start in range(0, 600, 20):
            log.append(rows[start : start + 20], writer="w")

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        log.erase(["u1"])
    thread.join()
    log.erase(["u1"])
    assert len(written(tmp_path)) == 400
    with log.files()[0].open("ab") as file:
        file.write(b'{"user_id": "torn')
    log.append(rows[:1], writer="w")
    assert len(written(tmp_path)) == 400, "the torn line is no row, and the same row counts once"


def test_exposure_log_when_few_rows_are_a_customers_then_no_other_row_is_read_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, read = ExposureLog(directory=tmp_path), []
    strange = 'é"\\ 7'  # written with escapes
    users = [f"u{number % 50}" for number in range(2_000)] + [strange]
    for day in (0, 1):
        at_us = [day * 86_400_000_000 + number for number in range(len(users))]
        rows = [ExposureRow(user, "u7", "s", at, None, None, "a") for user, at in zip(users, at_us, strict=True)]
        log.append(rows if day else rows[:-1], writer="w")
    loads = json.loads
    monkeypatch.setattr("features.exposure_log.json.loads", lambda line: read.append(line) or loads(line))
    assert len(log.of([strange])) == 1
    assert len(read) == 2  # to see whose it is, and to hand it out
    assert log.erase([strange, "nobody"]) == 1
    assert len(read) == 3
    assert log.erase(["u7"]) == 2 * 40  # and no row of an item of that name
    assert len(written(tmp_path)) == 2 * 1_960
    assert log.of([]) == []


def test_exposure_writer_when_days_are_older_than_are_kept_then_they_go_and_no_others(tmp_path: Path) -> None:
    day_us = 86_400_000_000
    log = ExposureLog(directory=tmp_path)
    log.append([ExposureRow("ann", "i", "s", day * day_us, None, None, None) for day in range(5)], writer="w")
    (tmp_path / "1970-01-02" / "notes.txt").write_text("mine")
    writer = ExposureWriter(tmp_path, keep_days=2, wall=lambda: 4 * day_us + 1)
    assert writer.prune() == 2
    assert [path.parent.name for path in log.files()] == ["1970-01-03", "1970-01-04", "1970-01-05"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"1970-01-0{day}" for day in (2, 3, 4, 5)]
    assert writer.prune() == 0
    assert ExposureWriter(tmp_path, wall=lambda: 400 * day_us).prune() == 0  # 0 keeps all
