"""Champion and challenger on one window: which is served, and what may be asked at all."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import footfall
from features.build import FeatureSet
from features.errors import NotPromoted
from features.release import Part, ReleaseStore
from features.splits import Split
from tests.training import promotion_world as world
from training.evaluation.bootstrap import Interval, paired_difference
from training.evaluation.window import AttemptLedger, Window, configuration_digest
from training.promotion import promote_release
from training.promotion_retrieval import relative_difference, window_split
from training.promotion_rule import decide, is_refresh, judge
from training.retrieval.config import RetrievalConfig
from training.tracking import open_client, tracked_run

pytestmark = pytest.mark.xdist_group("promotion_world")
OTHER = world.config(schedule={"learning_rate": 0.01})


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture
def logs(last_week: Path, today: Path) -> tuple[Path, Path]:
    return last_week, today


def test_world_when_a_week_passes_then_the_codes_have_moved(last_week: Path, today: Path) -> None:
    codes = [FeatureSet.load(path).vocabulary.code_of("i07") for path in (last_week, today)]
    assert codes[0] != codes[1]


def test_refresh_when_the_champion_is_from_before_a_setting_existed_then_its_default_is_what_it_learned_with(
    last_week: Path, tmp_path: Path
) -> None:
    now = dataclasses.asdict(RetrievalConfig())
    before = copy.deepcopy(now)
    for name in ("num_members", "num_plain_members"):
        del before[name]
    for name in ("neighbour_share", "num_neighbours", "neighbour_decay"):
        del before["loss"][name]
    champion = world.train(tmp_path, last_week, "old", knows=0.5, settings=before)
    assert is_refresh(world.train(tmp_path, last_week, "same", knows=0.5, settings=now), champion)
    for group, other in (("", {"num_members": 2}), ("loss", {"neighbour_share": 0.2}), ("loss", {"event_weights": {}})):
        changed = copy.deepcopy(now)
        (changed[group] if group else changed).update(other)
        assert not is_refresh(world.train(tmp_path, last_week, "other", knows=0.5, settings=changed), champion)


def test_judge_when_nothing_is_served_then_it_is_the_first(last_week: Path, tmp_path: Path) -> None:
    part = world.train(tmp_path, last_week, "a", knows=0.5)
    verdict = judge(tmp_path, part, None, features=None)
    assert (verdict.rule, verdict.earned, verdict.figures) == ("first", True, None)


def test_judge_when_the_part_is_served_already_then_there_is_nothing_to_decide(last_week: Path, tmp_path: Path) -> None:
    part = world.train(tmp_path, last_week, "a", knows=0.5)
    verdict = judge(tmp_path, part, part, features=None)
    assert (verdict.rule, verdict.earned, verdict.figures) == ("unchanged", True, None)


@pytest.mark.parametrize(
    ("settings", "knows", "expected"),
    [
        (world.config(), 0.6, ("refresh", True)),
        (world.config(schedule={"threads": 2}), 0.6, ("refresh", True)),  # as fast as it may be, it learned the same
        (world.config(), 0.4, ("refresh", False)),
        (OTHER, 0.9, ("better", True)),
        (OTHER, 0.6, ("better", False)),
        (world.config(seed=1), 0.6, ("better", False)),  # or the luckiest seed would win
    ],
)
def test_judge_when_a_challenger_follows_then_a_refresh_may_be_as_good_and_another_must_be_better(
    settings: dict[str, object], knows: float, expected: tuple[str, bool], logs: tuple[Path, Path], tmp_path: Path
) -> None:
    last_week, today = logs
    champion = world.train(tmp_path, last_week, "champion", knows=0.6)
    challenger = world.train(tmp_path, today, "challenger", knows=knows, settings=settings)
    verdict = judge(tmp_path, challenger, champion, features=None)
    assert (verdict.rule, verdict.earned) == expected
    assert verdict.figures is not None
    assert verdict.figures.scored == {"challenger": "evaluated", "champion": "evaluated"}
    assert verdict.figures.window.data_fingerprint == FeatureSet.load(today).fingerprint
    if knows == 0.6:
        assert verdict.figures.relative.mean == 0  # codes differ, answers do not
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_judge_when_scored_then_the_figures_are_those_of_the_definition(
    last_week: Path, today: Path, tmp_path: Path
) -> None:
    """Every answer in a list has its gain; a brute-force NDCG over the champion's own table gives the same mean."""
    champion = world.train(tmp_path, last_week, "champion", knows=0.5)
    challenger = world.train(tmp_path, today, "challenger", knows=1.0, settings=OTHER)
    verdict = judge(tmp_path, challenger, champion, features=None)
    found = FeatureSet.load(today)
    split, _ = window_split(found, tmp_path, challenger)
    vocabulary = FeatureSet.load(last_week).vocabulary
    table = world.table_of(vocabulary, 0.5)
    values = []
    for user in range(split.test.num_users):
        last = found.vocabulary.decode(split.test.query.items_of(user)[-1:])[0]
        order = np.argsort(-table[vocabulary.code_of(last), 2:], kind="stable")[:20]
        shown = vocabulary.ids[order].tolist()
        answers = set(found.vocabulary.decode(split.test.targets.items_of(user)))
        gains = [1 / np.log2(rank + 2) for rank, item in enumerate(shown) if item in answers]
        values.append(sum(gains) / sum(1 / np.log2(rank + 2) for rank in range(len(answers))))
    assert verdict.figures is not None
    assert verdict.figures.champion == pytest.approx(np.mean(values))
    assert verdict.figures.num_users == world.NUM_USERS


def test_judge_when_data_are_older_then_it_is_no_refresh(last_week: Path, today: Path, tmp_path: Path) -> None:
    older = world.train(tmp_path, last_week, "older", knows=0.6)
    newer = world.train(tmp_path, today, "newer", knows=0.6)
    assert is_refresh(newer, older)
    assert not is_refresh(older, newer)
    verdict = judge(tmp_path, older, newer, features=None)  # going back: the old window is known to the newer part
    assert not verdict.earned
    assert "champion" in verdict.reason
    assert "expected a model that has not seen the window" in verdict.reason


def test_attempts_when_configurations_are_tried_then_the_interval_widens_and_a_lucky_one_is_kept_back(
    last_week: Path, today: Path, tmp_path: Path
) -> None:
    champion = world.train(tmp_path, last_week, "champion", knows=0.6)
    challenger = world.train(tmp_path, today, "challenger", knows=0.67, settings=OTHER)
    alone = judge(tmp_path, challenger, champion, features=None)
    again = judge(tmp_path, challenger, champion, features=None)
    assert alone == again
    assert alone.earned
    assert alone.figures is not None
    assert (alone.figures.attempts, alone.figures.num_configurations) == (1, 2)
    ledger = AttemptLedger(root=tmp_path)
    for rate in range(60):
        tried = dataclasses.replace(challenger, about={**challenger.about, "config": {"rate": rate}})
        ledger.record(alone.figures.window, tried)
    late = judge(tmp_path, challenger, champion, features=None)
    assert late.figures is not None
    assert late.figures.attempts == 61
    assert late.figures.relative.mean == alone.figures.relative.mean
    assert late.figures.relative.low < alone.figures.relative.low
    assert "widened for 61 configurations" in late.reason
    assert not late.earned
    # A refresh was planned, not picked: it stays one comparison.
    refresh = world.train(tmp_path, today, "refresh", knows=0.6)
    figures = judge(tmp_path, refresh, champion, features=None).figures
    assert figures is not None
    assert (figures.attempts, figures.num_configurations) == (1, 62)


def test_ledger_when_windows_do_not_overlap_then_attempts_are_counted_apart(last_week: Path, tmp_path: Path) -> None:
    part = world.train(tmp_path, last_week, "a", knows=0.5)
    ledger = AttemptLedger(root=tmp_path)
    window = Window(data_fingerprint="x", protocol="global_temporal", from_us=100, until_us=200)
    ledger.record(window, part)
    ledger.record(window, part)
    elsewhere = dataclasses.replace(window, data_fingerprint="y")
    counts = {
        span: len(ledger.configurations(dataclasses.replace(elsewhere, from_us=span[0], until_us=span[1])))
        for span in [(199, 300), (200, 300), (50, 100), (50, 101)]
    }
    assert counts == {(199, 300): 1, (200, 300): 0, (50, 100): 0, (50, 101): 1}
    assert ledger.configurations(window) == {configuration_digest(part)}
    every = Window(data_fingerprint="x", protocol="leave_one_out", from_us=0, until_us=0)
    assert len(ledger.configurations(every)) == 1  # the same data, cut otherwise


def test_champion_when_only_what_has_seen_the_window_is_left_then_it_is_never_scored(
    last_week: Path, today: Path, tmp_path: Path
) -> None:
    champion = world.train(tmp_path, last_week, "champion", knows=1.0)
    long = world.config(split={"test_days": 12})  # its window begins before the champion's did
    challenger = world.train(tmp_path, today, "challenger", knows=1.0, settings=long)
    (tmp_path / "parts" / "retrieval" / champion.version / "user_tower.onnx").unlink()  # it would not open
    verdict = judge(tmp_path, challenger, champion, features=None)
    assert (verdict.earned, verdict.figures) == (False, None)
    assert "evaluated part: has seen events until 2024-01-25" in verdict.reason
    assert "served part: has seen events until 2024-01-30" in verdict.reason
    assert not (tmp_path / "attempts").exists()


@pytest.mark.parametrize("attempts", [1, 5])
def test_relative_difference_when_widened_then_arms_are_those_of_the_normal_quantiles(attempts: int) -> None:
    rng = np.random.default_rng(0)
    champion = rng.uniform(0.2, 0.4, 4000)
    challenger = champion * 1.1 + rng.normal(0, 0.05, 4000)
    found = relative_difference(challenger, champion, attempts=attempts, seed=0)
    assert found.mean == pytest.approx(challenger.mean() / champion.mean() - 1)
    plain = paired_difference(challenger, champion, resamples=2000, seed=1)
    half = (plain.high - plain.low) / 2 / champion.mean()
    stretch = {1: 1.0, 5: 2.5758 / 1.9600}[attempts]  # quantiles at 0.975 and 0.995
    assert (found.high - found.low) / 2 == pytest.approx(half * stretch, rel=0.08)


@pytest.mark.parametrize(
    ("low", "refresh", "promoted"),
    [(-0.019, True, True), (-0.02, True, False), (0.001, False, True), (0.0, False, False), (-0.019, False, False)],
)
def test_decide_when_the_interval_begins_there_then_the_rule_says(low: float, refresh: bool, promoted: bool) -> None:
    assert decide(Interval(mean=0.05, low=low, high=0.1), refresh=refresh)[0] is promoted


def test_window_split_when_somebody_is_to_be_forgotten_then_is_not_asked(today: Path, tmp_path: Path) -> None:
    part = world.train(tmp_path, today, "a", knows=0.5)
    ReleaseStore(root=tmp_path).erasures.add("u05")
    split, _ = window_split(FeatureSet.load(today), tmp_path, part)
    assert isinstance(split, Split)
    assert split.test.num_users == world.NUM_USERS - 1


def train_tracked(store: Path, features: Path, *, knows: float, settings: dict[str, object]) -> Part:
    with tracked_run(store, "footfall-retrieval", name="two-tower") as run:
        run_id = run.run_id
    return world.train(store, features, run_id, knows=knows, settings=settings)


def test_promote_when_refused_then_nothing_moves_and_force_says_what_it_went_over(
    last_week: Path, today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    champion = train_tracked(tmp_path, last_week, knows=0.6, settings=world.config())
    first = promote_release(tmp_path, features=None, versions={})
    assert (first["decision"]["outcome"], first["decision"]["rule"]) == ("promoted", "first")
    assert first["parts"]["retrieval"]["trained_on"] == "all"
    challenger = train_tracked(tmp_path, today, knows=0.3, settings=OTHER)
    before = sorted(str(path) for path in tmp_path.rglob("*") if "releases" in path.parts or "customers" in path.parts)
    assert footfall.main(["promote", str(tmp_path), "--features", str(today)]) == NotPromoted.exit_code == 4
    said = capsys.readouterr().err
    assert f"retrieval {challenger.version} is not promoted: another configuration" in said
    assert f"{champion.version} is served as before" in said
    assert "`--force` promotes it" in said
    store, client = ReleaseStore(root=tmp_path), open_client(tmp_path)
    after = sorted(str(path) for path in tmp_path.rglob("*") if "releases" in path.parts or "customers" in path.parts)
    assert after == before
    assert store.current_id == first["release_id"]
    assert client.get_run(challenger.run_id).data.tags["footfall.promotion.decision"] == "refused"

    forced = promote_release(tmp_path, features=None, versions={}, force=True)
    assert forced["decision"]["outcome"] == "forced"
    assert "another configuration" in forced["decision"]["overridden"]
    assert store.current_id == forced["release_id"]
    tags = client.get_run(challenger.run_id).data.tags
    assert tags["footfall.promotion.decision"] == "forced"
    assert tags["footfall.promotion.overridden"] == forced["decision"]["overridden"]
    assert tags["footfall.promotion.attempts"] == "2"
    for model in ("footfall-retrieval", "footfall-release"):
        newest = max(client.search_model_versions(f"name = '{model}'"), key=lambda version: int(version.version))
        assert newest.tags["footfall.promotion.decision"] == "forced"
    decisions = [json.loads(path.read_text()) for path in sorted((tmp_path / "decisions").glob("*.json"))]
    assert [row["outcome"] for row in decisions] == ["promoted", "refused", "forced"]
    assert [row["release_id"] for row in decisions] == [first["release_id"], None, forced["release_id"]]

    again = promote_release(tmp_path, features=None, versions={})  # as a repeated demo
    assert again["decision"]["outcome"] == "unchanged"
    assert len(list((tmp_path / "decisions").glob("*.json"))) == 3


def test_judge_when_no_features_are_left_then_says_which_option_names_some(
    last_week: Path, today: Path, tmp_path: Path
) -> None:
    champion = world.train(tmp_path, last_week, "champion", knows=0.5)
    challenger = world.train(tmp_path, today, "challenger", knows=0.5)
    (tmp_path / "runs" / "challenger" / "result.json").unlink()
    verdict = judge(tmp_path, challenger, champion, features=None)
    assert not verdict.earned
    assert "name them with --features DIR" in verdict.reason
    assert judge(tmp_path, challenger, champion, features=today).earned


def test_judge_when_a_challenger_is_scored_on_features_newer_than_its_own_then_its_window_is_the_newest(
    last_week: Path, today: Path, tmp_path: Path
) -> None:
    champion = world.train(tmp_path, last_week, "champion", knows=0.5)
    challenger = world.train(tmp_path, last_week, "challenger", knows=0.9, settings=OTHER)
    shutil.rmtree(tmp_path / "runs" / "champion" / "evaluated")
    verdict = judge(tmp_path, challenger, champion, features=today)
    assert verdict.earned
    assert verdict.figures is not None
    assert verdict.figures.scored == {"challenger": "evaluated", "champion": "served"}
