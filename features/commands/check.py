"""``footfall data check``: is the tracking sound."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from features.errors import ConfigError, DataError
from features.settings import EngineSettings


def check(
    directory: Path,
    out: Path | None = None,
    *,
    limit_minutes: float | None = None,
    limits: Path | None = None,
    arrivals: Path | None = None,
    strict: bool = False,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Say what is missing, twice, late or at the wrong time in a shop's events, and what to do about it, worst first.

    Args:
        directory: data directory, whose repeated events are still there, or feature directory.
        out: JSON file to write as well.
        limit_minutes: an event is late that takes longer than this to the table; 15 where nothing says otherwise.
        limits: YAML file of further limits: null_share, drop_share, weeks, late_share, session_hours and others.
        arrivals: Parquet file with event_id and received_at, where the events do not say when they were received.
        strict: end with exit code 3 where there is an error or a warning.
        engine: where tables are computed.
    """
    from features.files import write_json
    from features.insight.health import HealthSettings, check_health

    settings = HealthSettings.parse(_read(limits), where="limits")
    if limit_minutes is not None:
        settings = dataclasses.replace(settings, limit_minutes=limit_minutes)
    report = check_health(directory, settings=settings, arrivals=arrivals, engine=engine)
    result = report.as_json()
    if out is not None:
        write_json(out, result)
    if strict and not report.is_healthy:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        counts = report.counts
        raise DataError(
            f"{directory}: expected neither errors nor warnings, found {counts['error']} and {counts['warning']}; "
            "each finding above says what to do."
        )
    return result


def _read(limits: Path | None) -> Any:
    import yaml

    if limits is None:
        return None
    try:
        return yaml.safe_load(limits.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--limits: expected a YAML file of limits, found {limits} ({error}).") from None
