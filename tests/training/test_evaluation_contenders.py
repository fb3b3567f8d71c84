"""Which baselines stand in a report, what is told of them, and who they are asked about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.build import FeatureSet
from features.splits import Split
from training.evaluation.baselines import Ease, Popularity, als_is_installed
from training.evaluation.comparison import Comparison
from training.evaluation.contenders import Contenders
from training.evaluation.kept_answers import KeptAnswers
from training.evaluation.retrieval import evaluate_retrieval
from training.evaluation.segments import groupings_before_test
from training.evaluation.tasks import tasks_of
from training.retrieval.config import RetrievalConfig
from training.retrieval.lessons import split_for

pytestmark = pytest.mark.xdist_group("simulated_shop")
QUALITY = {"diversity", "popularity_percentile", "popularity_lift", "gini", "calibration_kl"}


@pytest.fixture
def shop(simulated_shop: Path) -> Path:
    return simulated_shop


def test_evaluate_retrieval_when_every_baseline_fits_then_all_rows_hold_cost_and_quality(
    baselines_report: dict[str, Any],
) -> None:
    report = baselines_report
    everybody = ["item-kNN", "EASE", "ALS", "attribute-kNN", "popularity", "personal frequency"]
    everybody = [name for name in everybody if name != "ALS" or als_is_installed()]
    assert [row["model"] for row in report["tables"][1]["rows"]] == everybody
    assert [row["model"] for row in report["tables"][0]["rows"]] == everybody[:-1]
    assert report["protocol"]["similarity"] == "category, brand, price band, title"
    for table in report["tables"]:
        names = {name.split("@")[0] for name in table["rows"][0]["lists"]}
        assert names == {"coverage", "novelty", "mean_popularity"} | QUALITY
        assert {part["group"] for part in table["slices"]} >= {"Cold item", "Customer lifecycle"}
        assert all(seconds >= 0 for row in table["rows"] for seconds in row["cost"].values())
        assert set(table["answers"]) == {"mean_popularity", "novelty", "popularity_percentile"}


def test_evaluate_retrieval_when_the_catalogue_is_too_large_for_ease_then_the_report_says_so(
    shop: Path, tmp_path: Path
) -> None:
    evaluate_retrieval(shop / "features", tmp_path, resamples=20, ease_items=10)
    report = json.loads((tmp_path / "report" / "retrieval.json").read_text())
    assert "EASE" not in {row["model"] for table in report["tables"] for row in table["rows"]}
    assert "expected at most 10 items" in report["protocol"]["baselines_left_out"]["EASE"]
    assert "EASE: " in report["protocol"]["facts"]["Baselines left out"]


def test_evaluate_retrieval_when_stages_are_drawn_then_nothing_after_the_cut_off_was_looked_at(shop: Path) -> None:
    found = FeatureSet.load(shop / "features")
    split = split_for(found.sequences, RetrievalConfig())
    assert split.cutoffs_us is not None
    log = found.event_log.to_pandas(["user_id", "event_type", "ts", "local_day"], purpose="analytics")
    cutoff = pd.Timestamp(split.cutoffs_us[1], unit="us", tz="UTC")
    as_of = pd.Timestamp(cutoff.tz_convert(found.shop.zone).date()) - pd.Timedelta(days=1)
    before = log[log["local_day"] <= as_of]
    assert before["ts"].max() < cutoff
    bought = before[before["event_type"] == "purchase"].groupby("user_id")["local_day"].agg(["min", "max"])
    bought_ids = set(bought.index) & set(found.users.ids)
    groupings = {one.title: one for one in groupings_before_test(found, split)}
    stage = dict(zip(found.users.ids, groupings["Customer lifecycle"].of_user, strict=True))
    growth = dict(zip(found.users.ids, groupings["Growth stage"].of_user, strict=True))
    segment = dict(zip(found.users.ids, groupings["RFM segment"].of_user, strict=True))
    assert {user for user in growth if growth[user]} == {user for user in segment if segment[user]} == bought_ids
    unseen = set(stage) - set(before["user_id"])
    assert all(stage[user] == "" for user in unseen)
    assert all(stage[user] == "prospect" for user in set(before["user_id"]) & set(stage) - set(bought.index))
    clock = found.shop.lifecycle
    assert set(stage.values()) >= {"new", "active"}
    for user, days in bought[bought.index.isin(list(stage))].iterrows():
        since_first, since_last = (as_of - days["min"]).days, (as_of - days["max"]).days
        if since_first <= clock.new_days:
            assert stage[user] == "new"
            assert growth[user] in {"newcomer", "growing", "loyal", "silent"}
        elif since_last <= clock.active_days:
            assert stage[user] == "active"
        else:
            assert stage[user] in {"cooling", "churned", "dormant"}


def test_stages_when_left_one_out_then_there_is_no_day_to_draw_them_on(shop: Path) -> None:
    found = FeatureSet.load(shop / "features")
    assert groupings_before_test(found, Split.leave_one_out(found.sequences)) == ()


def test_contenders_when_settings_refuse_the_data_then_the_reason_is_kept_and_the_others_stay(shop: Path) -> None:
    found = FeatureSet.load(shop / "features")
    contenders = Contenders()
    for limit in (1, 1000):
        contenders.add(
            f"EASE {limit}",
            lambda: Ease.fit(found.sequences, candidates=found.catalog.available, max_items=limit),  # noqa: B023
        )
    assert len(contenders.models) == 1
    assert set(contenders.fit_seconds) == {"EASE 1000"}
    assert "raise max_items" in contenders.left_out["EASE 1"]


def test_contenders_when_an_evaluation_was_cut_off_then_what_answered_everything_is_not_fitted_or_asked_again(
    shop: Path, tmp_path: Path
) -> None:
    found = FeatureSet.load(shop / "features")
    split = Split.leave_one_out(found.sequences)
    tasks, candidates, fitted = tasks_of(split.test), found.catalog.available, list[str]()

    def run(key: str) -> tuple[list[Comparison], Contenders]:
        def fit() -> Popularity:
            fitted.append(key)
            return Popularity.fit(split.fit, candidates=candidates)

        contenders = Contenders(kept=KeptAnswers.open(tmp_path / "answers", key, tasks))
        contenders.add(Popularity.name, fit)
        counts = np.bincount(split.fit.item, minlength=len(found.vocabulary))
        return [
            Comparison.run(
                task,
                contenders.models,
                counts=counts,
                num_candidates=int(candidates.sum()),
                fit_seconds=contenders.fit_seconds,
                kept=contenders.kept,
            )
            for task in tasks
        ], contenders

    first, whole = run("a")
    again, kept = run("a")
    assert fitted == ["a"]
    assert [one.to_dict() for one in again] == [one.to_dict() for one in first]  # what it took, too
    assert kept.fit_seconds == whole.fit_seconds
    (tmp_path / "answers" / f"{Popularity.name}.all.npz").unlink()  # as if it had been cut off between its tasks
    assert [one.to_dict()["rows"][0]["metrics"] for one in run("a")[0]] == [
        one.to_dict()["rows"][0]["metrics"] for one in first
    ]
    run("b")
    assert fitted == ["a", "a", "b"]
    assert kept.kept is not None
    kept.kept.remove()
    assert not (tmp_path / "answers").exists()
