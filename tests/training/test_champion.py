"""Which of a served release's models may be asked about a window, and how it answers in other codes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES
from features.errors import ReleaseError
from features.release import ReleaseStore
from features.sequences import Sequences
from features.vocabulary import Vocabulary
from tests.training import promotion_world as world
from training.evaluation.champion import PartRecommender, add_champion, scorable_part, seen_until_us
from training.evaluation.contenders import Contenders
from training.evaluation.window import Window
from training.promotion_retrieval import window_split

pytestmark = pytest.mark.xdist_group("promotion_world")


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.mark.parametrize(("from_day", "artifact"), [(24, ""), (25, ""), (30, "served")])
def test_scorable_when_the_evaluated_part_is_gone_then_the_served_one_stands_in_if_its_data_end_before(
    from_day: int, artifact: str, last_week: Path, tmp_path: Path
) -> None:
    part = world.train(tmp_path, last_week, "a", knows=0.5, evaluated=False)
    end_us = seen_until_us(part)
    assert end_us is not None
    from_us = end_us - (30 - from_day) * world.DAY_US
    window = Window(
        data_fingerprint="x", protocol="global_temporal", from_us=from_us, until_us=from_us + 5 * world.DAY_US
    )
    if artifact:
        assert scorable_part(tmp_path, part, window, role="champion")[0] == artifact
        return
    with pytest.raises(ReleaseError, match="expected a model that has not seen the window it is scored on"):
        scorable_part(tmp_path, part, window, role="champion")


def test_scorable_when_manifests_say_less_then_the_windows_of_the_settings_are_added(
    last_week: Path, tmp_path: Path
) -> None:
    part = world.train(tmp_path, last_week, "a", knows=0.5)
    about = {name: value for name, value in part.about.items() if name != "seen_until_us"}
    assert seen_until_us(dataclasses.replace(part, about=about)) == about["as_of_us"]
    fitted = {**about, "trained_on": "fit"}
    assert seen_until_us(dataclasses.replace(part, about=fitted)) == about["as_of_us"] + 5 * world.DAY_US
    assert seen_until_us(dataclasses.replace(part, about={})) is None


def test_scorable_when_last_events_are_asked_for_then_only_a_part_that_left_out_these_very_ones(
    last_week: Path, tmp_path: Path
) -> None:
    part = world.train(tmp_path, last_week, "a", knows=0.5)
    left_out = dataclasses.replace(part, run_id="", about={"trained_on": "fit", "as_of_us": 0})
    window = Window(data_fingerprint=part.data_fingerprint, protocol="leave_one_out", from_us=0, until_us=0)
    assert scorable_part(tmp_path, left_out, window, role="champion") == ("served", left_out)
    for other in (
        dataclasses.replace(left_out, data_fingerprint="other"),
        dataclasses.replace(left_out, about={"trained_on": "all", "as_of_us": 0}),
    ):
        with pytest.raises(ReleaseError, match="does not say until when"):
            scorable_part(tmp_path, other, window, role="champion")


def test_part_recommender_when_items_are_unknown_to_the_part_then_read_as_the_service_would(
    last_week: Path, tmp_path: Path
) -> None:
    part = world.train(tmp_path, last_week, "a", knows=1.0)
    vocabulary = Vocabulary.from_ids(["new", *reversed([f"i{number:02d}" for number in range(29)])])  # i29 is gone
    recommender = PartRecommender.open(part, vocabulary, name="champion")
    codes = vocabulary.encode(["i03", "new", "i28", "new"])
    purchase = EVENT_TYPE_CODES["purchase"]
    query = Sequences.from_arrays(offsets=[0, 2, 3, 4], item=codes, event_type=[purchase] * 4)
    lists = recommender.recommend(query, k=5, exclude_seen=False)
    first = [vocabulary.decode(lists.list_of(row)[0][:1])[0] for row in range(3)]
    # i03 leads to i04; what follows i28 is gone; who has nothing readable gets the favourites.
    assert first[0] == "i04"
    assert first[1] != "i29"
    favourites = FeatureSet.load(last_week).vocabulary.ids[:3].tolist()
    assert vocabulary.decode(lists.list_of(2)[0]).tolist() == favourites


def test_champion_when_a_report_is_written_then_stands_beside_the_baselines_if_it_may_be_scored(
    last_week: Path, today: Path, tmp_path: Path
) -> None:
    champion = world.train(tmp_path, last_week, "champion", knows=1.0)
    store, found = ReleaseStore(root=tmp_path), FeatureSet.load(today)
    split, _ = window_split(found, tmp_path, champion)
    window = Window.of(found, split)

    def joined(run_id: str, window: Window) -> Contenders:
        contenders = Contenders()
        add_champion(contenders, found, window, store=tmp_path, run_id=run_id)
        return contenders

    assert joined("challenger", window) == Contenders()  # nothing is served yet
    store.set_current(store.create({"retrieval": champion}).release_id)
    (model,) = joined("challenger", window).models
    answers = model.recommend(split.test.query, k=1, exclude_seen=False).top(1)[0][:, 0]
    next_items = split.test.targets.item[split.test.targets.offsets[:-1]]
    right = answers == next_items
    assert (model.name, right.mean()) == ("champion", 1.0)
    assert joined("champion", window) == Contenders()  # it is what the report is about
    earlier = dataclasses.replace(window, from_us=window.from_us - 6 * world.DAY_US)
    left_out = joined("challenger", earlier).left_out
    assert "expected a model that has not seen the window" in left_out["champion"]
