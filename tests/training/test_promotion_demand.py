"""Champion and challenger of the demand part on one window: which is served, and what may be asked at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from features.build import FeatureSet
from features.errors import DataError, NotPromoted, ReleaseError
from features.release import Part, PartKind, ReleaseStore, write_part
from features.release.layout import QUANTILES
from features.release.registry import RELEASE_MODEL
from tests.training import demand_promotion_world as world
from training.demand.config import DemandConfig
from training.demand.evaluated import EvaluatedModel, config_of
from training.demand.fit import train_demand
from training.demand.inputs.panel_inputs import PanelInputs
from training.evaluation.bootstrap import paired_difference
from training.evaluation.window import AttemptLedger, Window, configuration_digest
from training.promotion import promote_release
from training.promotion_demand import DemandFigures, newest_window, relative_gain
from training.promotion_rule import is_refresh, judge
from training.tracking import open_client, tracked_run

pytestmark = pytest.mark.xdist_group("demand_promotion_world")
HIGH = 1.0  # e times too high


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture
def then(demand_then: Path) -> Path:
    return demand_then


@pytest.fixture
def now(demand_now: Path) -> Path:
    return demand_now


@pytest.fixture
def logs(then: Path, now: Path) -> tuple[Path, Path]:
    return then, now


def evaluated(store: Path, run_id: str) -> Part:
    part = ReleaseStore(root=store / "runs" / run_id / "evaluated").part_of_run("demand", run_id)
    assert part is not None
    return part


def test_kept_model_when_the_panel_has_grown_then_it_reads_the_old_days_as_before(
    then: Path, now: Path, tmp_path: Path
) -> None:
    """A new item, category and brand have moved every code; before its first sale they change nothing."""
    world.train(tmp_path, then, "a", noise=0.3)
    part, (old, new) = evaluated(tmp_path, "a"), (FeatureSet.load(path).panel for path in (then, now))
    assert part.about["layout"]["static"]["brand"] == ["", "b0", "b1", "b2", "b3"]
    rows = [list(new.item_ids).index(item_id) for item_id in old.item_ids]
    plain = PanelInputs.from_panel(new, config_of(part))
    mine = EvaluatedModel.open(part, new)
    assert not np.array_equal(plain.static[rows], mine.inputs.static[rows])  # the codes had moved
    assert (mine.inputs.static[list(new.item_ids).index("a-new")] == 0).any()  # it never met this brand
    expected, found = (model.forecast(35) for model in (EvaluatedModel.open(part, old), mine))
    np.testing.assert_allclose(found.mean[rows], expected.mean, rtol=1e-4)
    np.testing.assert_array_equal(found.quantiles[rows], expected.quantiles)
    moved = EvaluatedModel(
        model=mine.model, inputs=dataclasses.replace(mine.inputs, static=plain.static % 4), calibration=None
    )
    assert np.abs(moved.forecast(35).mean[rows] / expected.mean - 1).max() > 1e-2  # codes matter


def test_settings_when_written_and_read_then_the_same(then: Path, tmp_path: Path) -> None:
    part = world.train(tmp_path, then, "a", evaluated=False)
    assert config_of(part) == world.CONFIG
    about = {**part.about, "settings": {"horizon": 3, "of_another_version": 1}}
    assert config_of(dataclasses.replace(part, about=about)) == DemandConfig(horizon=3)


@pytest.mark.parametrize(
    ("config", "ratios", "expected"),
    [
        (world.CONFIG, (0.0, 0.0), ("refresh", True)),
        (world.other(num_threads=2, service_levels=(0.8,), lead_time_days=5), (0.0, 0.0), ("refresh", True)),
        (world.CONFIG, (HIGH, 0.0), ("refresh", False)),
        (world.CONFIG, (0.0, HIGH), ("refresh", True)),
        (world.other(dropout=0.2), (0.0, HIGH), ("better", True)),
        (world.other(dropout=0.2), (0.0, 0.0), ("better", False)),
        (world.other(dropout=0.2), (HIGH, 0.0), ("better", False)),
    ],
)
def test_judge_when_a_challenger_follows_then_lower_loss_earns_the_place(
    config: DemandConfig,
    ratios: tuple[float, float],
    expected: tuple[str, bool],
    logs: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    then, now = logs
    champion = world.train(tmp_path, then, "champion", log_ratio=ratios[1])
    challenger = world.train(tmp_path, now, "challenger", log_ratio=ratios[0], config=config)
    verdict = judge(tmp_path, challenger, champion, features=None)
    assert (verdict.rule, verdict.earned) == expected, verdict.reason
    figures = verdict.figures
    assert isinstance(figures, DemandFigures)
    assert figures.scored == {"challenger": "evaluated", "champion": "evaluated"}
    assert (figures.num_items, figures.num_windows) == (world.NUM_ITEMS + 1, 2)
    assert figures.window.label == "2024-04-11 00:00 to 2024-04-18 23:59"
    if ratios[0] != ratios[1]:
        assert (figures.challenger < figures.champion) == (figures.relative.low > 0) == (ratios[0] < ratios[1])
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_judge_when_scored_then_the_figures_are_those_of_the_definition(then: Path, now: Path, tmp_path: Path) -> None:
    champion = world.train(tmp_path, then, "champion", log_ratio=HIGH)
    challenger = world.train(tmp_path, now, "challenger")
    figures = judge(tmp_path, challenger, champion, features=None).figures
    assert figures is not None
    panel = FeatureSet.load(now).panel
    for role in ("challenger", "champion"):
        model = EvaluatedModel.open(evaluated(tmp_path, role), panel)
        loss = sold = 0.0
        for origin in (41, 45):
            found = model.forecast(origin).quantiles
            for item in range(panel.num_items):
                for step in range(world.HORIZON):
                    units = float(panel.units[item, origin + step])
                    sold += units
                    for level, quantile in zip(QUANTILES, found[item, step], strict=True):
                        error = units - float(quantile)
                        loss += 2 * max(level * error, (level - 1) * error) / len(QUANTILES)
        assert getattr(figures, role) == pytest.approx(loss / sold, rel=1e-5)
    assert figures.relative.mean == pytest.approx(1 - figures.challenger / figures.champion)
    assert f"{figures.relative.mean:+.1%} better" in figures.words
    assert figures.words.startswith(f"WQL {figures.challenger:.4f} against {figures.champion:.4f} of the champion")


@pytest.mark.parametrize("attempts", [1, 5])
def test_relative_gain_when_widened_then_arms_are_those_of_the_normal_quantiles(attempts: int) -> None:
    rng = np.random.default_rng(0)
    champion = rng.uniform(0.2, 0.4, 4000)
    challenger = champion * 0.9 + rng.normal(0, 0.05, 4000)
    found = relative_gain(challenger, champion, attempts=attempts, seed=0)
    assert found.mean == pytest.approx(1 - challenger.sum() / champion.sum())
    plain = paired_difference(champion, challenger, resamples=2000, seed=1)
    half = (plain.high - plain.low) / 2 / champion.mean()
    stretch = {1: 1.0, 5: 2.5758 / 1.9600}[attempts]  # quantiles at 0.975 and 0.995
    assert (found.high - found.low) / 2 == pytest.approx(half * stretch, rel=0.08)


def test_judge_when_the_two_cannot_be_compared_then_says_why(then: Path, now: Path, tmp_path: Path) -> None:
    champion = world.train(tmp_path, then, "champion")
    cases = {
        "found 3 periods of the challenger and 4 of the champion": world.other(horizon=3),
        "train with some": world.other(test_windows=0),
        "has seen events until 2024-04-07": world.other(test_windows=4),  # its windows begin before the champion's did
    }
    for number, (words, config) in enumerate(cases.items()):
        challenger = world.train(tmp_path, now, f"challenger-{number}", config=config)
        verdict = judge(tmp_path, challenger, champion, features=None)
        assert (verdict.earned, verdict.figures) == (False, None)
        assert words in verdict.reason
    assert not (tmp_path / "attempts").exists()


def test_judge_when_nothing_is_left_to_ask_then_says_what(then: Path, now: Path, tmp_path: Path) -> None:
    champion = world.train(tmp_path, then, "champion", evaluated=False)
    challenger = world.train(tmp_path, now, "challenger")
    assert "found none; it was removed" in judge(tmp_path, challenger, champion, features=None).reason
    (tmp_path / "runs" / "challenger" / "result.json").unlink()
    assert "name them with --features DIR" in judge(tmp_path, challenger, champion, features=None).reason


def test_refresh_when_the_champion_is_from_before_a_setting_existed_then_its_default_counts(
    then: Path, now: Path, tmp_path: Path
) -> None:
    champion, challenger = (world.train(tmp_path, path, path.parent.name, evaluated=False) for path in (then, now))
    settings = {name: value for name, value in champion.about["settings"].items() if name != "peer_prior"}
    older = dataclasses.replace(champion, about={**champion.about, "settings": settings})
    assert world.CONFIG.peer_prior == DemandConfig().peer_prior
    assert is_refresh(challenger, older)
    assert not is_refresh(champion, challenger)  # older data
    assert configuration_digest(champion) != configuration_digest(
        world.train(tmp_path, then, "seed", config=world.other(seed=1), evaluated=False)
    )


def test_attempts_when_kinds_differ_then_they_are_counted_apart(then: Path, tmp_path: Path) -> None:
    part = world.train(tmp_path, then, "a", evaluated=False)
    window, origins = newest_window(FeatureSet.load(then), world.CONFIG)
    assert origins == (37, 41)
    AttemptLedger(root=tmp_path, kind="demand").record(window, part)
    counts = {
        kind: len(AttemptLedger(root=tmp_path, kind=kind).configurations(window)) for kind in ("retrieval", "demand")
    }
    assert counts == {"retrieval": 0, "demand": 1}
    before = Window(data_fingerprint="x", protocol="rolling_origin", from_us=0, until_us=window.from_us)
    assert not AttemptLedger(root=tmp_path, kind="demand").configurations(before)


def test_training_when_done_then_leaves_what_a_promotion_scores_and_its_report_is_an_attempt(
    then: Path, now: Path, tmp_path: Path
) -> None:
    """Two trainings a few days apart: the challenger's score is that of the model that its training kept."""
    first = train_demand(then, tmp_path, world.CONFIG)
    champion = ReleaseStore(root=tmp_path).latest_part("demand")
    assert sorted(path.name for path in (tmp_path / "runs" / first["run_id"]).iterdir()) == ["evaluated", "result.json"]
    second = train_demand(now, tmp_path, world.CONFIG)
    challenger = ReleaseStore(root=tmp_path).latest_part("demand")
    assert champion is not None
    assert challenger is not None
    verdict = judge(tmp_path, challenger, champion, features=None)
    assert verdict.rule == "refresh"
    assert verdict.figures is not None
    assert verdict.figures.challenger == pytest.approx(slow_wql(tmp_path, second["run_id"], now), rel=1e-5)
    ledger = AttemptLedger(root=tmp_path, kind="demand")
    assert ledger.configurations(verdict.figures.window) == {configuration_digest(challenger)}
    assert configuration_digest(evaluated(tmp_path, second["run_id"])) == configuration_digest(challenger)


def slow_wql(store: Path, run_id: str, features: Path) -> float:
    """The kept model's loss on the newest window; its calibration has no level, which is of another moment."""
    panel = FeatureSet.load(features).panel
    model = EvaluatedModel.open(evaluated(store, run_id), panel)
    assert model.calibration is not None
    assert model.calibration.level == 0
    losses, sold = np.zeros(len(QUANTILES)), 0.0
    for origin in newest_window(FeatureSet.load(features), world.CONFIG)[1]:
        units = model.inputs.targets_at(origin).numpy()
        known = np.isfinite(units)
        for column, level in enumerate(QUANTILES):
            miss = (units - model.forecast(origin).quantiles[..., column])[known]
            losses[column] += 2 * np.maximum(level * miss, (level - 1) * miss).sum()
        sold += units[known].sum()
    return float(losses.mean() / sold)


def any_retrieval_part(store: Path) -> None:
    """The first is promoted whatever it is, and then it is the champion."""
    with write_part(store, "retrieval", data_fingerprint="f") as draft:
        (draft.directory / "file.txt").write_text("x")


def train_tracked(store: Path, features: Path, *, log_ratio: float) -> Part:
    with tracked_run(store, "footfall-demand", name="demand") as run:
        run_id = run.run_id
    return world.train(store, features, run_id, log_ratio=log_ratio)


def test_promote_when_the_newest_demand_part_is_refused_then_the_others_go_on_with_the_one_that_is_served(
    then: Path, now: Path, tmp_path: Path
) -> None:
    versions: dict[PartKind, str] = {}
    any_retrieval_part(tmp_path)
    champion = train_tracked(tmp_path, then, log_ratio=0.0)
    first = promote_release(tmp_path, features=None, versions=versions)
    assert first["demand_decision"]["rule"] == "first"
    challenger = train_tracked(tmp_path, now, log_ratio=HIGH)

    kept = promote_release(tmp_path, features=None, versions=versions)
    assert (kept["decision"]["outcome"], kept["demand_decision"]["outcome"]) == ("unchanged", "refused")
    assert kept["parts"]["demand"]["version"] == champion.version
    (warning,) = (text for text in kept["warnings"] if "is not promoted" in text)
    assert f"demand {challenger.version} is not promoted: a refresh needs an interval above -2%" in warning
    assert warning.endswith(
        "is served as before, and its forecasts end on 2024-04-18; the champion's configuration trained on newer "
        "features renews them"
    )
    client = open_client(tmp_path)
    assert client.get_run(challenger.run_id).data.tags["footfall.promotion.decision"] == "refused"
    assert len(client.search_model_versions("name = 'footfall-demand'")) == 1

    with pytest.raises(NotPromoted, match=f"demand {challenger.version} is not promoted.*nothing has moved"):
        promote_release(tmp_path, features=None, versions={"demand": challenger.version})
    assert ReleaseStore(root=tmp_path).current_id == kept["release_id"]

    (served,) = {part.name for part in (tmp_path / "parts" / "retrieval").iterdir()}
    going_back = promote_release(tmp_path, features=None, versions={"retrieval": served}, force=True)
    assert going_back["demand_decision"]["outcome"] == "refused"  # forced is what was named

    forced = promote_release(tmp_path, features=None, versions=versions, force=True)
    assert forced["parts"]["demand"]["version"] == challenger.version
    assert "a refresh needs" in forced["demand_decision"]["overridden"]
    tags = client.get_run(challenger.run_id).data.tags
    assert tags["footfall.promotion.overridden"] == forced["demand_decision"]["overridden"]
    assert tags["footfall.promotion.relative_wql"].startswith("-")
    releases = client.search_model_versions(f"name = '{RELEASE_MODEL}'")
    newest = max(releases, key=lambda version: int(version.version))
    assert newest.tags["footfall.promotion.demand.decision"] == "forced"
    rows = [json.loads(path.read_text()) for path in sorted((tmp_path / "decisions").glob("*.json"))]
    assert [(row["kind"], row["outcome"], row["release_id"]) for row in rows] == [
        ("retrieval", "promoted", first["release_id"]),
        ("demand", "promoted", first["release_id"]),
        ("demand", "refused", None),
        ("demand", "refused", None),
        ("demand", "refused", None),
        ("demand", "forced", forced["release_id"]),
    ]


def test_kept_model_when_it_cannot_read_the_panel_then_says_why(then: Path, now: Path, tmp_path: Path) -> None:
    world.train(tmp_path, then, "a")
    part, panel = evaluated(tmp_path, "a"), FeatureSet.load(now).panel

    def changed(**layout: object) -> Part:
        return dataclasses.replace(part, about={**part.about, "layout": {**part.about["layout"], **layout}})

    for layout, words in (
        ({"observed": ["footsteps"]}, "found none called footsteps"),
        ({"frequency": "W"}, "expected a panel of frequency W, found D"),
        ({"season": 52}, "with season 52, found 7"),
    ):
        with pytest.raises(DataError, match=words):
            EvaluatedModel.open(changed(**layout), panel)
    settings = {**part.about["settings"], "hidden_size": 16}
    with pytest.raises(ReleaseError, match="expected the weights of today's network, found others"):
        EvaluatedModel.open(dataclasses.replace(part, about={**part.about, "settings": settings}), panel)
    with pytest.raises(ReleaseError, match="expected the settings of its training in the manifest"):
        config_of(dataclasses.replace(part, about={}))
