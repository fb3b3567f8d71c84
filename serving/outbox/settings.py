"""Where webhooks go, what goes there, and how often it is tried."""

from __future__ import annotations

import ipaddress
import math
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from features.errors import ConfigError, did_you_mean
from serving.api.demand_schemas import ALERT_KINDS

EVERY: Final = "all"
_FILE: Final = "outbox.sqlite"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NUMBERS: Final = (
    *("max_attempts", "first_retry_seconds", "max_retry_seconds", "timeout_seconds"),
    *("settle_seconds", "keep_days", "again_days"),
)


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver.

    Args:
        name: stands in metrics, logs and commands; its messages are kept under it.
        url: https, or http where only this machine is reached.
        triggers: names of triggers to send, or ``all``.
        alerts: kinds of demand alerts to send, or ``all``.
        secret_file: file for its owner alone (0600) with signing secrets, ``whsec_...``, one a line; each signs, so that a
            receiver can move from one to the next.
        secret_env: variable that holds such secrets instead.
        allow_plain_http: send over http to another machine too, readable and changeable on the way.
    """

    name: str
    url: str
    triggers: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    secret_file: str = ""
    secret_env: str = ""
    allow_plain_http: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"webhooks: expected a name such as `crm`, of a-z, 0-9, _ and -, found {self.name!r}.")
        where = f"webhooks, endpoint {self.name}"
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.fragment:
            raise ConfigError(f"{where}: url: expected one such as https://crm.example/hooks, without a login in it.")
        if parts.scheme == "http" and not (_is_loopback(parts.hostname) or self.allow_plain_http):
            raise ConfigError(
                f"{where}: url: expected https, found http to {parts.hostname}: anyone on the way could read and change "
                "it; use https, or say allow_plain_http: true."
            )
        if bool(self.secret_file) == bool(self.secret_env):
            raise ConfigError(
                f"{where}: expected either secret_file or secret_env; `footfall webhooks secret` makes one."
            )
        if not self.triggers and not self.alerts:
            raise ConfigError(
                f"{where}: expected triggers or alerts to send, such as `triggers: [all]`, found neither."
            )
        for kind in self.alerts:
            if kind not in (EVERY, *ALERT_KINDS):
                hint = did_you_mean(kind, ALERT_KINDS)
                raise ConfigError(
                    f"{where}: alerts: expected all or some of {', '.join(ALERT_KINDS)}, found {kind}.{hint}"
                )

    def wants_trigger(self, name: str) -> bool:
        """Whether a trigger is sent there."""
        return EVERY in self.triggers or name in self.triggers

    def wants_alert(self, kind: str) -> bool:
        """Whether an alert is sent there."""
        return EVERY in self.alerts or kind in self.alerts


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The outbox: it works where there are endpoints.

    Args:
        endpoints: receivers.
        path: SQLite file of messages; ``outbox.sqlite`` in the store where empty.
        send: whether the service sends; where not, ``footfall webhooks send`` does.
        max_attempts: a message that failed so often is set aside as dead.
        first_retry_seconds: pause after the first failure; each further one doubles it, give or take a quarter.
        max_retry_seconds: the longest pause.
        timeout_seconds: an attempt that is not over by then has failed, whatever it waited for.
        settle_seconds: a customer's triggers are looked at once in so many seconds, however many events they send.
        cpu_share: the most of one core that looking at triggers takes.
        keep_days: what was sent is remembered for so long, so that it is not sent again; what was not taken by then is dropped.
        again_days: what rests on the customer table alone is sent again after so many days at the earliest.
    """

    endpoints: tuple[WebhookEndpoint, ...] = ()
    path: str = ""
    send: bool = True
    max_attempts: int = 18
    first_retry_seconds: float = 5.0
    max_retry_seconds: float = 6 * 3600.0
    timeout_seconds: float = 15.0
    settle_seconds: float = 5.0
    cpu_share: float = 0.05
    keep_days: float = 100.0
    again_days: float = 30.0

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"webhooks: {name}: expected a number above 0, found {value}.")
        if not 0 < self.cpu_share <= 1:
            raise ConfigError(f"webhooks: cpu_share: expected a share above 0 and up to 1, found {self.cpu_share}.")
        names = [one.name for one in self.endpoints]
        if len(set(names)) < len(names):
            raise ConfigError(f"webhooks: endpoints: expected a name each, found {names}.")

    def resolved(self, store: Path) -> WebhookSettings:
        """Return the same with absolute paths, for processes that work in another directory."""
        endpoints = tuple(
            msgspec.structs.replace(one, secret_file=str(Path(one.secret_file).resolve()) if one.secret_file else "")
            for one in self.endpoints
        )
        return msgspec.structs.replace(self, endpoints=endpoints, path=str(self.file(store).resolve()))

    def file(self, store: Path) -> Path:
        """Return where messages are kept."""
        return Path(self.path) if self.path else store / _FILE

    def endpoint(self, name: str) -> WebhookEndpoint:
        """Return an endpoint by its name.

        Raises:
            ConfigError: there is none.
        """
        for one in self.endpoints:
            if one.name == name:
                return one
        names = [one.name for one in self.endpoints]
        raise ConfigError(
            f"webhooks: expected an endpoint of {', '.join(names) or 'none'}, found {name!r}.{did_you_mean(name, names)}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
