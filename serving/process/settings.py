"""What the service is started with: one typed object, handed to the worker processes through their environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from features.errors import ConfigError
from serving.access.settings import AccessSettings, LimitSettings
from serving.api.decoding import explain
from serving.experiments.settings import ExperimentSettings
from serving.live.settings import LiveSettings
from serving.merchandising.settings import RulesSettings
from serving.outbox.settings import WebhookSettings
from serving.process.logs import LogSettings
from serving.release.settings import ReleaseSettings

SETTINGS_VARIABLE: Final = "FOOTFALL_SERVE"
SUPERVISOR_VARIABLE: Final = "FOOTFALL_SUPERVISOR_PID"
BOARD_VARIABLE: Final = "FOOTFALL_BOARD"
# A directory of the server's own, where its workers meet.
SHARED_VARIABLE: Final = "FOOTFALL_SHARED"
KEYS_FILE: Final = "api_keys.json"
KEYS_NOTED: Final = "keys_were_seen"  # in that directory, once there was a file of keys
_LAST_PORT: Final = 65_535


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the service runs.

    Args:
        store: directory of parts, releases and the erasure list.
        release_id: release to serve, whatever is promoted; what ``releases`` follows where empty.
        host: address to listen on; only this machine can reach the default.
        port: TCP port.
        workers: processes; with two or more, one may die without an outage.
        data: the shop's data directory, whose rows an export of a customer holds too; left out where empty.
        live: where events and consents sent to the service are kept, and for how long.
        releases: which release is followed, and how it is changed.
        rules: what merchandisers want.
        experiments: who gets which variant.
        access: who may call.
        limits: how often, how many at once, and for how long.
        logs: what is written of each request.
        webhooks: who hears of triggers and alerts.
    """

    store: str = "footfall-store"
    release_id: str = ""
    host: str = "127.0.0.1"
    port: int = 3000
    workers: int = 2
    data: str = ""
    live: LiveSettings = LiveSettings()
    releases: ReleaseSettings = ReleaseSettings()
    rules: RulesSettings = RulesSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    access: AccessSettings = AccessSettings()
    limits: LimitSettings = LimitSettings()
    logs: LogSettings = LogSettings()
    webhooks: WebhookSettings = WebhookSettings()

    def __post_init__(self) -> None:
        for name in ("port", "workers"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"{name}: expected a number above 0, found {value}.")
        if self.port > _LAST_PORT:
            raise ConfigError(f"port: expected at most {_LAST_PORT}, found {self.port}; choose another.")

    @property
    def keys_path(self) -> Path:
        """Where the callers' keys are kept."""
        return Path(self.access.keys) if self.access.keys else Path(self.store) / KEYS_FILE

    @property
    def gateway_timeout_seconds(self) -> float:
        """When BentoML cuts a request off: later than our deadline, so that the caller gets our own error."""
        return self.limits.deadline_seconds + 5

    def following(self, alias: str) -> ServeSettings:
        """Return these settings with an alias of the registry to follow."""
        releases = msgspec.structs.replace(self.releases, follow="alias", alias=alias)
        return msgspec.structs.replace(self, releases=releases)

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable that ``from_environment`` reads in a worker."""
        return {SETTINGS_VARIABLE: msgspec.json.encode(self).decode()}

    @classmethod
    def read(cls, path: Path | None, given: Mapping[str, Any]) -> ServeSettings:
        """Read settings from a YAML file; what is given beside it wins.

        Raises:
            ConfigError: the file is missing or no YAML, or a setting is unknown or does not fit.
        """
        held = {} if path is None else _content(path)
        try:
            return msgspec.convert(held | dict(given), cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path or 'settings'}: {explain(str(error), held | dict(given), cls)}") from None

    @classmethod
    def from_environment(cls) -> ServeSettings:
        """Read what ``to_environment`` wrote; defaults hold where it is absent.

        Raises:
            ConfigError: the variable does not hold settings.
        """
        text = os.environ.get(SETTINGS_VARIABLE, "{}")
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{SETTINGS_VARIABLE}: expected settings of the service as JSON ({error}).") from None


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected settings of the service as YAML ({error}).") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings such as `port: 3000`, found {type(content).__name__}.")
    return content
