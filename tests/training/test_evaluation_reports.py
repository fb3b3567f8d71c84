"""From features to the report pages, on a small simulated shop."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES
from features.errors import ConfigError, DataError
from features.release import ReleaseStore, layout, write_part
from features.settings import EngineSettings
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, utc, write_shop
from training.demand.backtesting.classes import demand_classes
from training.evaluation.baselines import als_is_installed
from training.evaluation.demand import chosen_items, evaluate_demand
from training.evaluation.off_policy.evaluate import PolicySettings, evaluate_policy
from training.evaluation.retrieval import evaluate_retrieval
from training.retrieval.config import RetrievalConfig, ScheduleConfig, SplitConfig, TowerConfig
from training.retrieval.fit import train_retrieval
from training.tracking import open_client, tracked_run

pytestmark = pytest.mark.xdist_group("simulated_shop")


@pytest.fixture(scope="module")
def shop(simulated_shop: Path) -> Path:
    return simulated_shop


def test_evaluate_retrieval_when_no_run_is_named_then_baselines_stand_beside_the_oracle(
    shop: Path, tmp_path: Path
) -> None:
    found = evaluate_retrieval(shop / "features", tmp_path, truth=shop / "data" / "truth", resamples=200)
    report = json.loads((tmp_path / "report" / "retrieval.json").read_text())
    assert found["report"] == str(tmp_path / "report" / "retrieval.html")
    assert [table["name"] for table in report["tables"]] == ["new", "all"]
    als = ["ALS"] if als_is_installed() else []
    everybody = ["item-kNN", "EASE", *als, "attribute-kNN", "popularity", "personal frequency"]
    assert [row["model"] for row in report["tables"][1]["rows"]] == everybody
    assert report["data"]["source"] == "synthetic"
    for table, beside in zip(report["tables"], report["oracle"], strict=True):
        for row in table["rows"]:
            share = beside["share_of_oracle"][row["model"]]["mean"]
            assert share == pytest.approx(row["metrics"]["recall@20"]["mean"] / beside["recall@20"])
    everything = report["oracle"][1]["share_of_oracle"]
    assert everything["popularity"]["mean"] < 1, "nothing that knows less can be better on average"
    page = Path(found["report"]).read_text()
    assert "oracle finds" in page
    assert "SYNTHETIC DATA" in page


def test_evaluate_retrieval_when_answers_are_purchases_then_every_target_is_one(
    shop: Path, baselines_report: dict[str, Any]
) -> None:
    report = baselines_report
    events = FeatureSet.load(shop / "features").event_log
    log = events.to_pandas(["user_id", "item_id", "event_type", "ts"], purpose="personalisation")
    test_from = pd.Timestamp(report["protocol"]["cutoffs_us"][1], unit="us", tz="UTC")
    before, after = log[log["ts"] < test_from], log[(log["ts"] >= test_from) & (log["event_type"] == "purchase")]
    in_sequences = ["view", "favorite", "cart", "purchase"]
    known = set(before.loc[before["event_type"].isin(in_sequences), "user_id"])
    asked = after[after["user_id"].isin(known)]
    assert report["tables"][1]["num_users"] == asked["user_id"].nunique()
    assert report["tables"][1]["num_answers"] == len(asked.drop_duplicates(["user_id", "item_id"]))


def test_evaluate_retrieval_when_the_run_is_unknown_then_error_names_those_there_are(
    shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="found 'nope'; its runs: none"):
        evaluate_retrieval(shop / "features", tmp_path, run_id="nope")


def test_evaluate_retrieval_when_everybody_only_repeats_then_the_table_of_new_items_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        event(f"u{user}", "purchase", utc("2024-05-01 10:00") + dt.timedelta(days=day), f"i{(user + day) % 2}", price=1)
        for user in range(4)
        for day in range(100)
    ]
    data = write_shop(tmp_path / "data", events=rows)
    (data / "about.json").write_text(
        json.dumps({"source": "tills", "assumptions": ["Times are UTC.", "<Prices> too."]})
    )
    build_model_features(data, tmp_path / "features", engine=EngineSettings(threads=1))
    found = evaluate_retrieval(tmp_path / "features", tmp_path / "store", resamples=20)
    assert list(found["recall@20"]) == ["all"]
    assert found["recall@20"]["all"]["personal frequency"]["mean"] == 1
    assert "no table of 'new' items" in caplog.text
    page = Path(found["report"]).read_text()
    assert "what customers choose next, repeats counted" in page
    assert "Times are UTC. &lt;Prices&gt; too." in page


def test_evaluate_retrieval_when_users_are_erased_then_they_are_not_asked_and_teach_no_baseline(
    shop: Path, baselines_report: dict[str, Any], tmp_path: Path
) -> None:
    found = FeatureSet.load(shop / "features")
    before = baselines_report["protocol"]
    validation_us, test_us = before["cutoffs_us"]
    fitted = found.sequences.between(None, validation_us).lengths
    later = found.sequences.between(test_us, None)
    bought = later.where(later.event_type == EVENT_TYPE_CODES["purchase"]).lengths > 0
    asked = (found.sequences.between(None, test_us).lengths > 0) & bought
    assert before["num_asked"] == asked.sum()
    # One who is asked, and the user of the log's last event: without it, the windows would move if they were laid anew.
    one, last = np.flatnonzero(asked & (fitted > 0))[0], found.sequences.user_of_event[found.sequences.ts.argmax()]
    gone = np.unique([one, last])
    for user in gone:
        ReleaseStore(root=tmp_path).erasures.add(str(found.users.ids[user]))
    evaluate_retrieval(shop / "features", tmp_path, resamples=20)
    after = json.loads((tmp_path / "report" / "retrieval.json").read_text())["protocol"]
    assert after["cutoffs_us"] == before["cutoffs_us"]
    assert after["num_fit_events"] == before["num_fit_events"] - fitted[gone].sum()
    assert after["num_asked"] == before["num_asked"] - asked[gone].sum()


@pytest.fixture(scope="module")
def scored(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with a small two-tower and its report."""
    store = tmp_path_factory.mktemp("scored")
    config = RetrievalConfig(
        tower=TowerConfig(dim=8, max_length=10, num_title_buckets=100),
        schedule=ScheduleConfig(batch_tokens=1024, max_epochs=1, warmup_steps=2),
        split=SplitConfig(validation_days=10, test_days=10),
        min_item_events=1,
        refit=False,
    )
    run_id = train_retrieval(shop / "features", store, config)["run_id"]
    evaluate_retrieval(shop / "features", store, run_id=run_id, resamples=20)
    return store, run_id


def test_evaluate_retrieval_when_tracked_then_no_customers_history_leaves_the_store(scored: tuple[Path, str]) -> None:
    store, run_id = scored
    here = store / "runs" / run_id / "report"
    report = json.loads((here / "retrieval.json").read_text())
    assert len(report["examples"]) == 10
    assert report["tables"][0]["rows"][0]["model"] == "two-tower"
    names = [[row["model"] for row in table["rows"]] for table in report["tables"]]
    assert names[1][:3] == ["for_you", "two-tower", "buy it again"], "what is served, then what each part gives"
    assert not {"for_you", "buy it again", "personal frequency"} & set(names[0])
    assert report["tables"][0]["rows"][0]["cost"]["fit_cpu_s"] > 0
    curve, loss = report["learning_curve"]
    assert (curve["metric"], loss["metric"]) == ("validation_ndcg@10", "loss")
    assert report["training"]["steps"] > 0
    assert report["training"]["part_bytes"] > 1000
    tracked = open_client(store).get_metric_history(run_id, "validation_ndcg_at_10")
    assert curve["points"] == [[point.step, point.value] for point in tracked]
    there = Path(open_client(store).download_artifacts(run_id, "report"))
    assert sorted(path.name for path in there.iterdir()) == ["retrieval.html", "retrieval.json"]
    uploaded = json.loads((there / "retrieval.json").read_text())
    assert uploaded == report | {"examples": []}
    page = (there / "retrieval.html").read_text()
    assert "Ten customers" in (here / "retrieval.html").read_text()
    assert "Ten customers" not in page
    assert not [row["customer"] for row in report["examples"] if row["customer"] in page]


def demand_part(store: Path, found: FeatureSet, run_id: str, *, fingerprint: str = "") -> None:
    days = [str(found.panel.periods[-1].date() + pd.Timedelta(days=ahead)) for ahead in range(1, 4)]
    ids = found.panel.item_ids
    frame = pd.DataFrame({"item_id": np.repeat(ids, 3), "day": days * len(ids), "mean": 1.0})
    frame = frame.assign(**{layout.quantile_column(level): 10 * level for level in layout.QUANTILES})
    names = {"footfall": 0.5, "empirical_quantiles": 0.6}
    summary = {"wape": 0.7, "rmsse": 0.9, "bias": 0.0, "pit80": 0.8, "service90": 0.9, "stock90": 4.0}
    report = {
        "origins": [40, 54],
        "models": {name: summary | {"wql": wql} for name, wql in names.items()},
        "wql_interval": {name: [wql - 0.01, wql + 0.01] for name, wql in names.items()},
        "resamples": 1234,
        "wql_less_gate": {"footfall": [-0.1, -0.12, -0.08]},
    }
    with write_part(store, "demand", data_fingerprint=fingerprint or found.fingerprint, run_id=run_id) as draft:
        frame.to_parquet(draft.directory / layout.FORECASTS, index=False)
        decisions = pd.DataFrame({"item_id": ids, "lead_time_days": 7, "reorder_point_90": 12})
        decisions.to_parquet(draft.directory / layout.DECISIONS, index=False)
        draft.about.update(report=report, horizon=3, settings={"service_levels": [0.9]})


def test_evaluate_demand_when_a_run_is_named_then_its_page_is_written_and_tracked(shop: Path, tmp_path: Path) -> None:
    found = FeatureSet.load(shop / "features")
    with tracked_run(tmp_path, "demand", name="demand") as run:
        run_id = run.run_id
    demand_part(tmp_path, found, run_id)
    result = evaluate_demand(shop / "features", tmp_path, run_id=run_id)
    assert result["wql"] == {"demand model": 0.5, "empirical quantiles": 0.6}
    report = json.loads((tmp_path / "runs" / run_id / "report" / "demand.json").read_text())
    assert report["items"][0]["quantiles"]["0.5"] == [5.0, 5.0, 5.0]
    assert report["items"][0]["decision"] == {"reorder_point": 12.0, "lead_time_days": 7.0}
    assert report["protocol"]["facts"]["Intervals"] == "95%, 1,234 draws of items"
    assert (
        "17% closer to what sold than each item&#39;s own past spread (empirical quantiles)"
        in Path(result["report"]).read_text()
    )
    tracked = {file.path for file in open_client(tmp_path).list_artifacts(run_id, "report")}
    assert tracked == {"report/demand.json", "report/demand.html"}


def test_evaluate_demand_when_the_features_are_others_then_error_says_so(shop: Path, tmp_path: Path) -> None:
    demand_part(tmp_path, FeatureSet.load(shop / "features"), "r1", fingerprint="0" * 64)
    assert ReleaseStore(root=tmp_path).latest_part("demand") is not None
    with pytest.raises(ConfigError, match="expected the features that run r1 was trained on"):
        evaluate_demand(shop / "features", tmp_path, run_id="r1")


def test_chosen_items_when_there_are_many_then_distinct_and_best_sellers_first(shop: Path) -> None:
    panel = FeatureSet.load(shop / "features").panel
    rows = chosen_items(panel, seed=0)
    sold, classes = np.nansum(panel.units, axis=1), demand_classes(panel.units)
    assert len(set(rows.tolist())) == len(rows) == min(20, panel.num_items)
    assert sold[rows[0]] == sold.max()
    assert set(classes[rows]) == set(classes)


def test_evaluate_policy_when_a_slot_was_random_then_report_and_page_are_tracked(
    shop: Path, scored: tuple[Path, str]
) -> None:
    store, run_id = scored
    settings = PolicySettings(slot="home_random", window_hours=12.0, candidates="logged", resamples=50)
    found = evaluate_policy(shop / "features", store, shop / "data", run_id=run_id, settings=settings)
    report = json.loads((store / "runs" / run_id / "report" / "policy.json").read_text())
    assert [row["policy"] for row in report["policies"]] == ["two-tower", "popularity", "at random"]
    assert found["policies"]["two-tower"]["value"] == report["policies"][0]["value"]["doubly_robust"]
    for row in report["policies"]:
        assert row["checks"]["unsupported"] == pytest.approx(0, abs=1e-6)
        assert 0 < row["checks"]["effective_sample_size"] <= row["checks"]["num_exposures"]
    page = Path(found["report"]).read_text()
    assert "per 1,000 showings" in page
    assert "SYNTHETIC DATA" in page
    assert not [user for user in FeatureSet.load(shop / "features").users.ids if user in page]
    there = Path(open_client(store).download_artifacts(run_id, "report"))
    assert (there / "policy.html").read_text() == page


def test_evaluate_policy_when_the_slot_was_no_lottery_then_it_is_refused(shop: Path, scored: tuple[Path, str]) -> None:
    store, run_id = scored
    with pytest.raises(DataError, match=r"missing\. Log the probability"):
        evaluate_policy(shop / "features", store, shop / "data", run_id=run_id, settings=PolicySettings(slot="home_1"))
