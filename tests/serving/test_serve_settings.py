"""What the service refuses to be started with."""

from __future__ import annotations

import math

import pytest

from features.errors import ConfigError
from serving.process.settings import ServeSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 0}, "port: expected a number above 0, found 0"),
        ({"port": 70_000}, "port: expected at most 65535, found 70000"),
        ({"workers": -1}, "workers: expected a number above 0, found -1"),
        ({"deadline_seconds": math.inf}, "deadline_seconds: expected a number above 0, found inf"),
        ({"deadline_seconds": math.nan}, "deadline_seconds: expected a number above 0, found nan"),
    ],
)
def test_settings_when_a_number_is_out_of_range_then_the_error_names_it(
    settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ServeSettings(**settings)  # type: ignore[arg-type]


def test_settings_when_handed_over_through_the_environment_then_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServeSettings(store="somewhere", port=3001, deadline_seconds=0.5)
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert ServeSettings.from_environment() == settings
