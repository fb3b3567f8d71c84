"""What the service refuses to be started with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from features.errors import ConfigError
from serving.access.settings import LimitSettings
from serving.process.reference import settings_page
from serving.process.settings import ServeSettings
from tests.serving.server_process import ROOT


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 0}, "port: expected a number above 0, found 0"),
        ({"port": 70_000}, "port: expected at most 65535, found 70000"),
        ({"workers": -1}, "workers: expected a number above 0, found -1"),
        ({"limits": {"deadline_seconds": math.inf}}, r"limits.deadline_seconds: expected a number above 0, found inf"),
        ({"limits": {"deadline_seconds": math.nan}}, r"limits.deadline_seconds: expected a number above 0, found nan"),
        ({"limits": {"max_body_bytes": 0}}, r"limits.max_body_bytes: expected a number above 0, found 0"),
        ({"deadline_seconds": 5}, "unknown field `deadline_seconds`"),
    ],
)
def test_settings_when_a_number_is_out_of_range_then_the_error_names_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServeSettings.read(None, settings)


def test_settings_when_handed_over_through_the_environment_then_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServeSettings(store="somewhere", port=3001, limits=LimitSettings(deadline_seconds=0.5))
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert ServeSettings.from_environment() == settings


def test_example_file_when_read_then_every_setting_stands_there_with_its_default() -> None:
    example = ROOT / "docs" / "examples" / "serving.yaml"
    assert ServeSettings.read(example, {}) == ServeSettings()
    assert _names(yaml.safe_load(example.read_text())) == _names(msgspec.to_builtins(ServeSettings()))


def test_settings_page_when_written_again_then_the_one_in_the_documents() -> None:
    page = ROOT / "docs" / "serving-settings.md"
    assert settings_page() == page.read_text(), "run `footfall settings > docs/serving-settings.md`"


def test_settings_when_given_beside_a_file_then_they_win(tmp_path: Path) -> None:
    (tmp_path / "serving.yaml").write_text("port: 3001\nlive: {max_events: 7}\n")
    settings = ServeSettings.read(tmp_path / "serving.yaml", {"port": 3002})
    assert (settings.port, settings.live.max_events) == (3002, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ports: 3001", r"unknown field `ports`\. Did you mean 'port'\?"),
        ("live: {max_evnts: 7}", r"unknown field `max_evnts`"),
        ("port: many", r"port: expected `int`, got `str`"),
        ("- port", "expected settings such as `port: 3000`, found list"),
        ("port: [", "expected settings of the service as YAML"),
    ],
)
def test_settings_file_when_wrong_then_the_error_names_file_and_setting(
    content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "serving.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message) as found:
        ServeSettings.read(tmp_path / "serving.yaml", {})
    assert "serving.yaml" in str(found.value)


def _names(settings: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the names of all settings, dotted."""
    return {
        name
        for key, value in settings.items()
        for name in (_names(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}"})
    }
