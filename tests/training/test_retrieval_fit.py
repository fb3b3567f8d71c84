"""From a feature directory to a part, tracked, and gone on with where it was cut off."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from features.build import FeatureSet
from features.contract.data_directory import write_data_directory
from features.errors import ConfigError, DataError
from features.release import ReleaseStore, write_part
from features.settings import EngineSettings, ShopSettings
from tests.features.model_features import build_model_features
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, SplitConfig, TowerConfig
from training.retrieval.fit import train_retrieval
from training.retrieval.learn import Lesson
from training.retrieval.lessons import split_for
from training.retrieval.recommender import TwoTowerRecommender
from training.tracking import open_client

CONFIG = RetrievalConfig(
    tower=TowerConfig(dim=8, max_length=10, num_title_buckets=100),
    loss=LossConfig(event_weights={"purchase": 1.0}),
    schedule=ScheduleConfig(batch_tokens=256, max_epochs=3, warmup_steps=2, checkpoint_steps=5),
    split=SplitConfig(validation_days=10, test_days=10),
    exclude_seen=False,
    min_item_events=1,
)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty users buying thirty items over a hundred days."""
    root: Path = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    num_events = 1200
    item = rng.integers(0, 30, num_events)
    events = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, 40, num_events)],
            "event_type": "purchase",
            "ts": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 100 * 86400, num_events), "s"),
            "item_id": [f"i{number}" for number in item],
            "quantity": 1,
            "price": 100 + item,
            "event_id": [f"e{number}" for number in range(num_events)],
        }
    )
    ids = [f"i{number}" for number in range(30)]
    items = pd.DataFrame({"item_id": ids, "title": ids, "category": [f"c{n % 3}/d{n % 6}" for n in range(30)]})
    engine = EngineSettings(threads=1)
    tables = {"events": events, "items": items}
    write_data_directory(root / "data", tables, shop=ShopSettings(), source="test", engine=engine)
    build_model_features(root / "data", root / "features", engine=engine)
    return root / "features"


def test_train_retrieval_when_run_then_both_parts_one_run_and_a_refit_on_all_data(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = train_retrieval(features, tmp_path, CONFIG)
    part = ReleaseStore(root=tmp_path).latest_part("retrieval")
    assert part is not None
    assert str(part.directory) == result["part"]
    assert part.about["trained_on"] == "all"
    assert part.run_id == result["run_id"]
    evaluated = ReleaseStore(root=tmp_path / "runs" / result["run_id"] / "evaluated").latest_part("retrieval")
    assert evaluated is not None
    assert evaluated.about["trained_on"] == "fit"
    split = split_for(FeatureSet.load(features).sequences, CONFIG)
    assert split.cutoffs_us is not None
    assert evaluated.about["as_of_us"] == split.cutoffs_us[0]
    answers = TwoTowerRecommender.from_part(evaluated).recommend(split.test.query, k=5, exclude_seen=False)
    assert (np.diff(answers.offsets) == 5).all()
    client = open_client(tmp_path)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert [run.info.run_id for run in runs] == [result["run_id"]]
    assert runs[0].info.status == "FINISHED"
    assert "loss" in runs[0].data.metrics
    history = client.get_metric_history(result["run_id"], "validation_ndcg_at_10")
    assert len({point.step for point in history}) == len(history) > 1
    best = runs[0].data.metrics["best_validation_ndcg_at_10"]
    assert best == result["validation"]["ndcg@10"] == pytest.approx(max(point.value for point in history))

    # Resumed after its end, it finds every stage done, and the run and the parts stay as they are,
    # though another run has written a newer part that is damaged.
    with write_part(tmp_path, "retrieval", data_fingerprint="f", run_id="other", version="99990101") as draft:
        (draft.directory / "file").write_bytes(b"x")
    (tmp_path / "parts" / "retrieval" / "99990101" / "file").write_bytes(b"y")
    again = train_retrieval(features, tmp_path, CONFIG, resume=result["run_id"])
    assert {**again, "seconds": 0, "positions_per_second": 0} == {**result, "seconds": 0, "positions_per_second": 0}
    assert len(client.search_runs(experiments)) == 1
    other = dataclasses.replace(CONFIG, seed=1, tower=dataclasses.replace(CONFIG.tower, dim=16))
    differing = (
        "resume: model.tower.dim: the run was started with 8, found 16; model.seed: the run was started with 0, found 1"
    )
    with pytest.raises(ConfigError, match=differing):
        train_retrieval(features, tmp_path, other, resume=result["run_id"])
    # `mlflow run` names the run in the environment: its checkpoints are not mixed with other settings either.
    monkeypatch.setenv("MLFLOW_RUN_ID", result["run_id"])
    with pytest.raises(ConfigError, match="was started with"):
        train_retrieval(features, tmp_path, dataclasses.replace(CONFIG, seed=1))
    mlflow.set_tracking_uri(None)


def test_train_retrieval_when_resumed_run_is_unknown_then_its_runs_are_named(features: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a run of this store, found 'nope'"):
        train_retrieval(features, tmp_path, CONFIG, resume="nope")


def test_train_retrieval_when_a_user_is_erased_then_teaches_nothing_and_windows_stay(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FeatureSet.load(features)
    # The user of the log's last event: without it, the windows would move if they were laid anew.
    last = int(found.sequences.user_of_event[found.sequences.ts.argmax()])
    store = ReleaseStore(root=tmp_path)
    store.erasures.add(str(found.users.ids[last]))
    lessons = []

    def taught(lesson: Lesson, *_: object, **__: object) -> None:
        lessons.append(lesson)
        raise KeyboardInterrupt

    monkeypatch.setattr("training.retrieval.stages.learn", taught)
    with pytest.raises(KeyboardInterrupt):
        train_retrieval(features, tmp_path, CONFIG)
    whole = split_for(found.sequences, CONFIG)
    (lesson,) = lessons
    assert lesson.validation is not None
    assert lesson.fit.lengths.tolist() == [0 if u == last else n for u, n in enumerate(whole.fit.lengths)]
    assert last not in lesson.validation.users
    assert lesson.validation.users.tolist() == [u for u in whole.validation.users if u != last]

    # What a cut-off run has learned from somebody who has been erased since is not gone on with.
    (run_id,) = (path.name for path in (tmp_path / "runs").iterdir())
    store.erasures.add(str(found.users.ids[(last + 1) % len(found.users.ids)]))
    with pytest.raises(ConfigError, match="num_forgotten: the run was started with 1, found 2"):
        train_retrieval(features, tmp_path, CONFIG, resume=run_id)


def test_split_when_leave_one_out_is_asked_for_then_each_last_event_is_the_answer(features: Path) -> None:
    sequences = FeatureSet.load(features).sequences
    split = split_for(sequences, dataclasses.replace(CONFIG, split=SplitConfig(protocol="leave_one_out")))
    assert split.protocol == "leave_one_out"
    last = sequences.offsets[split.test.users + 1] - 1
    assert split.test.targets.item.tolist() == sequences.item[last].tolist()


def test_split_when_every_user_is_erased_then_it_says_so(features: Path) -> None:
    sequences = FeatureSet.load(features).sequences
    nobody = sequences.where(np.zeros(sequences.num_events, bool))
    with pytest.raises(DataError, match="customers who may be learned from, found none"):
        split_for(nobody, CONFIG, last_us=int(sequences.ts.max()))


def test_split_when_the_log_is_shorter_than_the_windows_then_it_says_so(features: Path) -> None:
    sequences = FeatureSet.load(features).sequences
    with pytest.raises(DataError, match="validation_days \\+ test_days = 200"):
        split_for(sequences, dataclasses.replace(CONFIG, split=SplitConfig(validation_days=100, test_days=100)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TowerConfig(dim=10, num_heads=3), "expected num_heads to divide dim, found 3 and 10"),
        (lambda: TowerConfig(mixer="mamba"), "expected 'attention' or 'ligr', found 'mamba'"),  # type: ignore[arg-type]
        (lambda: LossConfig(event_weights={"purchse": 1.0}), "Did you mean 'purchase'"),
        (lambda: LossConfig(temperature=0), "expected a positive number, found 0"),
        (lambda: ScheduleConfig(batch_tokens=0), "schedule.batch_tokens: expected at least 1, found 0"),
        (lambda: TowerConfig(dropout=1.0), "expected a share in \\[0, 1\\), found 1.0"),
    ],
)
def test_config_when_a_value_does_not_fit_then_it_says_what_was_expected(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]
