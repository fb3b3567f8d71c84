"""Settings of a shop: what fits is kept, what does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import ConfigError
from features.settings import LifecycleSettings, ShopSettings


def test_shop_settings_when_saved_then_load_gives_them_back(tmp_path: Path) -> None:
    shop = ShopSettings(name="茶", time_zone="Asia/Shanghai", currency="CNY", country="CN", event_types=("purchase",))
    shop.save(tmp_path)
    assert ShopSettings.load(tmp_path) == shop


def test_shop_settings_when_there_is_no_file_then_the_defaults_hold(tmp_path: Path) -> None:
    assert ShopSettings.load(tmp_path) == ShopSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "shop.yaml: expected YAML"),
        ("- a", "expected a mapping of settings, found list"),
        ("time_zon: UTC", "unknown setting 'time_zon'. Did you mean 'time_zone'?"),
        ("time_zone: 5", "time_zone: expected an IANA zone name"),
        ("time_zone: Europe/Pariss", "Did you mean 'Europe/Paris'?"),
        ("num_price_bands: 0", "num_price_bands: expected a whole number from 1 to 100, found 0"),
        ("repeat: sometimes", "repeat: expected one of allow, discount, exclude, found 'sometimes'"),
        ("num_price_bands: 500", "num_price_bands: expected a whole number from 1 to 100, found 500"),
        ("num_price_bands: five", "num_price_bands: expected a whole number from 1 to 100, found 'five'"),
        ("minor_units: 0", "minor_units: expected a whole number of 1 or more, found 0"),
        ("event_types: []", "event_types: expected at least one of"),
        ("event_types: view", "expected event_types as a list, found 'view'"),
        ("event_types: [vew]", "Did you mean 'view'?"),
        ("consent_default: perhaps", "consent_default: expected 'granted' or 'denied'"),
        ("lifecycle: 3", "lifecycle: expected a mapping of settings, found int"),
        ("privacy: {minimum_group: 0}", "privacy.minimum_group: expected a whole number of 1 or more, found 0"),
        ("privacy: {minimum_grup: 5}", "Did you mean 'minimum_group'?"),
        ("lifecycle: {new_days: x}", "lifecycle.new_days: expected a whole number of 0 or more, found 'x'"),
    ],
)
def test_shop_settings_when_a_value_does_not_fit_then_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "shop.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        ShopSettings.load(tmp_path)
    assert message in str(caught.value)


def test_lifecycle_settings_when_negative_then_refused() -> None:
    with pytest.raises(ConfigError, match="expected a whole number of 0 or more, found -1"):
        LifecycleSettings(active_days=-1)
