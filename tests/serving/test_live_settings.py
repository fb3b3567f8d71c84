"""What live state refuses to be set to, and where it then is."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import ConfigError
from serving.live.settings import LiveSettings
from serving.process.settings import ServeSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_events": 0}, "live.max_events: expected a number above 0, found 0"),
        ({"max_age_days": float("nan")}, "live.max_age_days: expected a number above 0, found nan"),
        ({"url": "http://x"}, "live.url: expected one that begins with redis://, rediss://, unix://, found 'http://x'"),
        ({"url": "redis://x", "file": "y"}, "live.file: expected none beside live.url"),
        ({"prefix": "a:*"}, r"live.prefix: expected letters, digits, _ and -, found 'a:\*'"),
        ({"logged_only": ("impresion",)}, "found 'impresion'. Did you mean 'impression'?"),
    ],
)
def test_settings_when_wrong_then_the_error_says_what_was_expected(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LiveSettings(**settings)  # type: ignore[arg-type]


def test_settings_when_read_from_a_file_then_the_section_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "serving.yaml").write_text("live: {durability: process, max_events: 50, logged_only: [impression]}\n")
    found = ServeSettings.read(tmp_path / "serving.yaml", {"store": "s"}).live
    assert (found.durability, found.max_events, found.logged_only) == ("process", 50, ("impression",))
    assert found.path(Path("s")) == Path("s/live_events.sqlite")
    assert found.resolved(Path("s")).file == str(Path("s/live_events.sqlite").resolve())
    (tmp_path / "serving.yaml").write_text("live: {durability: disk}\n")
    with pytest.raises(ConfigError, match=r"live\.durability: expected one of power, process, found 'disk'"):
        ServeSettings.read(tmp_path / "serving.yaml", {})
