"""Settings of access and of limits: sections ``access`` and ``limits`` of the service's settings."""

from __future__ import annotations

import math
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from features.errors import ConfigError
from serving.api.roles import Role
from serving.api.schemas import EventType

# Asymmetric only: a provider's public key must never do as the secret of an HMAC.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _check_above_zero(settings: Any, section: str, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise ConfigError(f"{section}.{name}: expected a number above 0, found {value}.")


def is_private(url: str) -> bool:
    """Return whether nobody on the way can change what an address answers: HTTPS, or this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE)
    )


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bearer tokens of an OpenID provider, beside keys.

    Args:
        issuer: as it stands in the tokens; its keys are found through ISSUER/.well-known/openid-configuration.
            No token is accepted where empty.
        audience: as it stands in the tokens.
        roles_claim: claim that lists what a caller may do, with dots for claims in claims: ``realm_access.roles``.
        roles: role by what the claim says, such as ``{merchandising: analyst}``; the claim's own words where empty.
        name_claim: claim that names the caller in the log, which should name no person.
        algorithms: signatures that are accepted.
        leeway_seconds: how far clocks may be apart.
        refresh_seconds: how often the provider's keys are fetched again, in the background.
        timeout_seconds: how long one fetch may take.
    """

    issuer: str = ""
    audience: str = ""
    roles_claim: str = "roles"
    roles: dict[str, Role] = {}
    name_claim: str = "azp"
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    leeway_seconds: float = 30.0
    refresh_seconds: float = 600.0
    timeout_seconds: float = 3.0

    def __post_init__(self) -> None:
        _check_above_zero(self, "access.oidc", "refresh_seconds", "timeout_seconds")
        if not 0 <= self.leeway_seconds <= 600:
            raise ConfigError(f"access.oidc.leeway_seconds: expected 0 to 600, found {self.leeway_seconds}.")
        if self.issuer and not self.audience:
            raise ConfigError("access.oidc.audience: expected one, found none; any other service's token would do.")
        if self.issuer and not self.algorithms:
            raise ConfigError("access.oidc.algorithms: expected at least one such as RS256, found none.")
        if self.issuer and not is_private(self.issuer):
            raise ConfigError(
                f"access.oidc.issuer: expected an address such as https://login.example, found {self.issuer!r}; "
                "keys that come over plain HTTP could be anyone's."
            )


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which other sites' pages may read answers in a browser.

    Args:
        origins: such as ``https://www.shop.example``; none where empty.
        max_age_seconds: how long a browser may keep the answer to its question beforehand.
    """

    origins: tuple[str, ...] = ()
    max_age_seconds: int = 600

    def __post_init__(self) -> None:
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise ConfigError(
                    f"access.cors.origins: expected origins such as https://www.shop.example, found {origin!r}; "
                    "name each one, without a path."
                )


class TrackerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key of role tracker may send: it stands in the page's source, so anyone may send it.

    Args:
        max_rows: events in a request; every ten of them count as a request of the rate.
        event_types: what browsers tell. A purchase, a refund or a message is for the shop's server to tell, which knows.
    """

    max_rows: int = 50
    event_types: tuple[EventType, ...] = (
        *("impression", "view", "view_section", "search", "favorite", "cart", "remove_from_cart", "checkout"),
    )

    def __post_init__(self) -> None:
        _check_above_zero(self, "access.tracker", "max_rows")


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call.

    Args:
        keys: file of keys, made by `footfall keys add`; api_keys.json inside the store where empty.
        anonymous: ask nobody for a key, on whatever address; only a loopback address without a file of keys does so
            by itself.
        hosts: names under which a service on a loopback address is called while it asks nobody for a key, beside
            addresses, names without a dot and `*.localhost`; a page of another name could otherwise read what a browser
            here can reach.
        metrics: whether /metrics asks for a key: `auto` does where calls do, except on a loopback address.
        oidc: tokens of an OpenID provider.
        cors: other sites' pages.
        tracker: what a public key may send.
    """

    keys: str = ""
    anonymous: bool = False
    hosts: tuple[str, ...] = ()
    metrics: Literal["auto", "open", "key"] = "auto"
    oidc: OidcSettings = OidcSettings()
    cors: CorsSettings = CorsSettings()
    tracker: TrackerSettings = TrackerSettings()


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token bucket.

    Args:
        per_second: requests that flow in; no limit where 0.
        burst: requests that may come at once.
    """

    per_second: float = 0.0
    burst: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.per_second < math.inf or self.burst < 1:
            raise ConfigError(
                f"limits.rates: expected per_second of 0 or more and a burst of 1 or more, found "
                f"{self.per_second:g} and {self.burst}."
            )


class RoleRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests a key, by its role; a key with a rate of its own keeps to that.

    Args:
        app: of keys of this role.
        analyst: of keys of this role.
        admin: of keys of this role.
        tracker: of each address that sends with a key of this role.
        anonymous: of all callers without a key together.
    """

    app: Rate = Rate()
    analyst: Rate = Rate()
    admin: Rate = Rate()
    tracker: Rate = Rate(per_second=10.0, burst=50)
    anonymous: Rate = Rate()


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much at once, and for how long; all figures are a worker's, rates are the whole server's.

    Args:
        rates: requests a second.
        max_body_bytes: larger request bodies are refused.
        max_batch: the most recommend requests computed in one batch.
        deadline_seconds: a request that takes longer is answered with an error.
        recommend_seconds: a recommend call that takes longer is answered with the shop's favourites.
        max_wait_seconds: a recommend call that would wait longer for its turn is turned away with 429.
        write_wait_seconds: the same of events and consents.
        lookup_wait_seconds: the same of calls that look one thing up.
        bulk_waiting: calls that may take seconds, such as 10,000 segments or an export, that wait behind the one that
            is at work.
        body_seconds: a body that takes longer to arrive is refused.
        header_seconds: a connection whose request has not said all its headers by then is closed.
        max_header_bytes: address and headers of a request.
        max_connections: more are told to come back.
    """

    rates: RoleRates = RoleRates()
    max_body_bytes: int = 1 << 20
    max_batch: int = 32
    deadline_seconds: float = 10.0
    recommend_seconds: float = 2.0
    max_wait_seconds: float = 0.25
    write_wait_seconds: float = 1.0
    lookup_wait_seconds: float = 1.0
    bulk_waiting: int = 4
    body_seconds: float = 5.0
    header_seconds: float = 10.0
    max_header_bytes: int = 32_768
    max_connections: int = 1_000

    def __post_init__(self) -> None:
        seconds = [name for name in self.__struct_fields__ if name.endswith("_seconds")]
        counts = ("max_body_bytes", "max_batch", "max_header_bytes", "max_connections")
        _check_above_zero(self, "limits", *seconds, *counts)
        if self.bulk_waiting < 0:
            raise ConfigError(f"limits.bulk_waiting: expected 0 or more, found {self.bulk_waiting}.")
