"""From an exposures table and an event log to a slot's bandit log."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from features.build import FeatureSet
from features.contract.tables import EXPOSURES
from features.errors import DataError
from features.settings import EngineSettings
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import arrow_table, event, utc, write_shop
from training.evaluation.off_policy.exposures import Question, read_slot

START = utc("2024-05-01 10:00")
HOUR = dt.timedelta(hours=1)


def us(at: dt.datetime) -> int:
    return int(at.timestamp() * 1e6)


def shown(user: str, item: str, at: dt.datetime, *, slot: str = "top", propensity: float | None = 0.25, **more) -> dict:
    return {"user_id": user, "item_id": item, "slot": slot, "ts": at, "propensity": propensity, **more}


def asked(**changes) -> Question:
    values = {"slot": "top", "variant": "", "reward": "click", "window_hours": 24.0, "from_us": us(START)}
    return Question(**(values | changes))


EVENTS = [
    event("a", "view", START - 5 * HOUR, "i1"),
    event("a", "purchase", START - 4 * HOUR, "i1", price=1),
    event("a", "view", START + HOUR, "i2", slot="top"),
    event("a", "view", START + 2 * HOUR, "i3"),  # not from the slot
    event("a", "purchase", START + 30 * HOUR, "i2", price=1),
    event("b", "view", START + 3 * HOUR, "i2", slot="top"),  # nothing before it
    event("c", "view", START - HOUR, "i1"),
    event("d", "view", START - HOUR, "i1"),
    event("d", "view", START + 100 * HOUR, "i1"),  # the log ends here
]
SHOWN = [
    shown("a", "i2", START),
    shown("a", "i3", START + HOUR),
    shown("b", "i2", START + 2 * HOUR),
    shown("b", "i9", START + 4 * HOUR),
    shown("c", "i2", START),
    shown("d", "i2", START, variant="green"),
    shown("d", "i2", START + 90 * HOUR),
    shown("d", "i2", START - 10 * HOUR),  # before the period
    shown("d", "i2", START, slot="side", propensity=None),
    shown("a", "i2", START, slot="arms", campaign_id="home+top", variant="control+explore"),
    shown("a", "i3", START + HOUR, slot="arms", campaign_id="home", variant="control"),
    shown("d", "i2", START, slot="arms", campaign_id="home+top", variant="strict+control"),
]
CONSENTS = [
    {"user_id": user, "purpose": purpose, "granted": True, "at": START - 100 * HOUR}
    for user in "abd"
    for purpose in ("analytics", "personalisation")
] + [{"user_id": "c", "purpose": "personalisation", "granted": True, "at": START - 100 * HOUR}]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FeatureSet]:
    root = tmp_path_factory.mktemp("exposures")
    write_shop(root / "data", events=EVENTS, exposures=SHOWN, consents=CONSENTS)
    build_model_features(root / "data", root / "features", engine=EngineSettings(threads=1))
    return root / "data", FeatureSet.load(root / "features")


@pytest.mark.parametrize(
    ("experiment", "variant", "number"),
    [("", "explore", 1), ("", "strict", 1), ("home", "control", 2), ("top", "control", 1), ("top", "", 2), ("", "", 3)],
)
def test_read_slot_when_customers_are_in_several_experiments_then_each_arm_is_found(
    shop: tuple[Path, FeatureSet], *, experiment: str, variant: str, number: int
) -> None:
    found = read_slot(*shop, asked(slot="arms", experiment=experiment, variant=variant))
    assert len(found.log.item) == number


def test_read_slot_when_two_experiments_have_the_variant_then_one_must_be_named(shop: tuple[Path, FeatureSet]) -> None:
    with pytest.raises(DataError, match="found 'control' in home, top; name the experiment"):
        read_slot(*shop, asked(slot="arms", variant="control"))


def test_read_slot_when_rows_cannot_be_used_then_each_is_set_aside_with_its_reason(
    shop: tuple[Path, FeatureSet],
) -> None:
    data, features = shop
    found = read_slot(data, features, asked(), erased={"d"})
    assert found.set_aside == {
        "too late to tell": 1,
        "without an earlier event for analytics": 2,
        "without an earlier event for personalisation": 0,
        "erased": 1,
    }
    # c never agreed to analytics; b's first exposure came before any event that tells of consent.
    users = [features.users.ids[row] for row in found.log.user]
    assert users == ["a", "a", "b"]
    assert found.log.propensity.tolist() == [0.25] * 3
    codes = features.vocabulary.encode(["i2", "i3", "i9"])
    assert found.log.item.tolist() == codes.tolist()
    assert set(found.support) == set(codes[:2]), "i9 is unknown to the vocabulary"


def test_read_slot_when_views_carry_the_slot_then_only_those_are_clicks(shop: tuple[Path, FeatureSet]) -> None:
    data, features = shop
    found = read_slot(data, features, asked())
    assert found.log.reward.tolist() == [1, 0, 0, 0]
    assert "from this slot within 24 hours" in found.success


def test_read_slot_when_purchases_count_then_the_window_decides(shop: tuple[Path, FeatureSet]) -> None:
    data, features = shop
    assert read_slot(data, features, asked(reward="purchase")).log.reward.sum() == 0
    found = read_slot(data, features, asked(reward="purchase", window_hours=31.0))
    assert found.log.reward.tolist() == [1, 0, 0, 0]
    assert found.success == "the customer bought the shown item within 31 hours"


def test_read_slot_when_histories_are_taken_then_they_end_before_the_exposure(shop: tuple[Path, FeatureSet]) -> None:
    data, features = shop
    found = read_slot(data, features, asked())
    one, two, three = features.vocabulary.encode(["i1", "i2", "i3"])
    # The second exposure stands at the instant of a click, which is not yet history.
    assert [found.query.items_of(row).tolist() for row in range(4)] == [[one, one], [one, one], [two], [one]]
    assert three not in found.query.item


def test_read_slot_when_one_variant_is_asked_then_others_stay_out(shop: tuple[Path, FeatureSet]) -> None:
    data, features = shop
    found = read_slot(data / "exposures.parquet", features, asked(variant="green"))
    assert [features.users.ids[row] for row in found.log.user] == ["d"]


def test_read_slot_when_the_slot_is_not_named_or_unknown_then_the_error_lists_them(
    shop: tuple[Path, FeatureSet],
) -> None:
    data, features = shop
    listing = r"side \(0 of 1 with a propensity\); top \(8 of 8 with a propensity\)"
    with pytest.raises(DataError, match=f"{listing}, found ''"):
        read_slot(data, features, asked(slot=""))
    with pytest.raises(DataError, match=rf"{listing}, found 'tip'. Did you mean 'top'\?"):
        read_slot(data, features, asked(slot="tip"))


def test_read_slot_when_propensities_are_missing_then_it_is_refused(shop: tuple[Path, FeatureSet]) -> None:
    data, features = shop
    with pytest.raises(DataError, match="found 1 of 1 missing"):
        read_slot(data, features, asked(slot="side"))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([shown("a", "i2", START, propensity=1.0), shown("a", "i3", START + HOUR, propensity=1.0)], "deterministic"),
        ([shown("a", "i2", START), shown("a", "i3", START)], "one item for a user at an instant, found 1 exposures"),
        ([shown("c", "i2", START)], "expected usable exposures of slot 'top', found none"),
        ([shown("a", "i2", START - 10 * HOUR)], "expected exposures of a slot, found none"),
    ],
)
def test_read_slot_when_the_log_cannot_be_weighed_then_it_is_refused(
    shop: tuple[Path, FeatureSet], tmp_path: Path, rows: list[dict], reason: str
) -> None:
    write_shop(tmp_path, exposures=rows)
    with pytest.raises(DataError, match=reason):
        read_slot(tmp_path, shop[1], asked(slot=""))


def test_read_slot_when_the_file_is_none_then_the_error_says_what_to_name(
    shop: tuple[Path, FeatureSet], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="expected the contract's exposures table, found none"):
        read_slot(tmp_path, shop[1], asked())
    arrow = arrow_table(EXPOSURES, SHOWN).drop_columns(["propensity"]).to_pandas()
    arrow.to_parquet(tmp_path / "exposures.parquet")
    with pytest.raises(DataError, match="expected column 'propensity'"):
        read_slot(tmp_path, shop[1], asked())
