"""MLflow runs: where they go, and that one launch leaves one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import ConfigError
from features.release.registry import tracking_uri
from training.tracking import open_client, tracked_run


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def test_run_when_the_block_ends_well_then_holds_params_metrics_and_artifacts(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "index.faiss").write_bytes(b"index")
    with tracked_run(tmp_path / "store", "retrieval", name="first") as run:
        run.log_params({"model": {"dim": 64}})
        run.log_metrics({"ndcg@10": 0.5}, step=3)
        run.logger.log_metrics({"loss": 2.0}, step=4)
        run.log_artifacts(part, "part")
    client = open_client(tmp_path / "store")
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"model.dim": "64"}
    assert found.data.metrics == {"ndcg_at_10": 0.5, "loss": 2.0}
    assert [file.path for file in client.list_artifacts(run.run_id, "part")] == ["part/index.faiss"]


def test_run_when_another_store_follows_in_the_process_then_each_has_its_own_database(tmp_path: Path) -> None:
    runs = {}
    for name in ("one", "two"):
        with tracked_run(tmp_path / name, "retrieval", name="first") as run:
            run.logger.log_metrics({"loss": 2.0}, step=1)  # this is where Lightning sets the process's tracking URI
        runs[name] = run.run_id
    for name, run_id in runs.items():
        client = open_client(tmp_path / name)
        found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        assert [run.info.run_id for run in found] == [run_id]


def test_run_when_the_block_raises_then_is_marked_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run(tmp_path, "retrieval", name="first") as run:
        raise ZeroDivisionError
    assert open_client(tmp_path).get_run(run.run_id).info.status == "FAILED"


def test_run_when_continued_then_leaves_one_run(tmp_path: Path) -> None:
    with tracked_run(tmp_path, "retrieval", name="first") as first:
        pass
    with tracked_run(tmp_path, "retrieval", name="ignored", run_id=first.run_id) as second:
        second.log_metrics({"loss": 1.0})
    client = open_client(tmp_path)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    assert [run.info.run_id for run in client.search_runs(experiments)] == [first.run_id]


@pytest.mark.parametrize("end", [ZeroDivisionError, KeyboardInterrupt])
def test_run_when_it_was_finished_and_a_continuation_breaks_then_stays_finished(
    tmp_path: Path, end: type[BaseException]
) -> None:
    with tracked_run(tmp_path, "retrieval", name="first") as first:
        pass
    client = open_client(tmp_path)
    before = client.get_run(first.run_id).info

    def attempt() -> None:
        with tracked_run(tmp_path, "retrieval", name="first", run_id=first.run_id):
            assert client.get_run(first.run_id).info.status == "FINISHED"  # what a kill would leave
            client.set_terminated(first.run_id, status="FAILED")
            raise end

    with pytest.raises(end):
        attempt()
    after = client.get_run(first.run_id).info
    assert (after.status, after.end_time) == ("FINISHED", before.end_time)


def test_run_when_it_had_failed_and_a_continuation_ends_well_then_is_finished(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run(tmp_path, "retrieval", name="first") as first:
        raise ZeroDivisionError
    with tracked_run(tmp_path, "retrieval", name="first", run_id=first.run_id):
        pass
    assert open_client(tmp_path).get_run(first.run_id).info.status == "FINISHED"


def test_run_when_continued_in_a_store_that_lacks_it_then_says_where_it_looked(tmp_path: Path) -> None:
    expected = pytest.raises(ConfigError, match=r"expected it at sqlite:///.*set MLFLOW_TRACKING_URI")
    with expected, tracked_run(tmp_path, "retrieval", name="x", run_id="0" * 32):
        pass


@pytest.mark.parametrize(
    ("directory", "file"),
    [
        ("parts/customers/20260101", "histories.npy"),
        ("parts/customers/20260101/histories", "item.npy"),
        ("features", "customers.parquet"),
        ("parts", "customers/20260101/users.parquet"),
    ],
)
def test_customers_when_uploaded_from_wherever_then_refused(tmp_path: Path, directory: str, file: str) -> None:
    path = tmp_path / directory / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"ann")
    with tracked_run(tmp_path, "retrieval", name="x") as run, pytest.raises(ConfigError, match="personal data"):
        run.log_artifacts(tmp_path / directory, "part")


def test_part_when_the_store_stands_on_a_disk_called_customers_then_is_uploaded(tmp_path: Path) -> None:
    store = tmp_path / "customers" / "store"
    (store / "parts").mkdir(parents=True)
    (store / "parts" / "index.faiss").write_bytes(b"index")
    with tracked_run(store, "retrieval", name="x") as run:
        run.log_artifacts(store / "parts", "part")
    assert len(open_client(store).list_artifacts(run.run_id, "part")) == 1


def test_tracking_uri_when_the_working_directory_changes_then_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Path("store")) == f"sqlite:///{tmp_path}/store/mlflow.db"


def test_tracking_uri_when_relative_sqlite_then_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(ConfigError, match="expected an absolute path"):
        tracking_uri(tmp_path)


def test_open_client_when_the_store_is_a_file_then_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(ConfigError, match="expected the directory of a release store, found a file"):
        open_client(tmp_path / "store")
