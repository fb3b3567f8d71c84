"""The door: who calls, whether they may make this call, and whether they call too often."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from serving.access.caller import Caller, anonymous
from serving.access.key_watch import KeyWatch
from serving.access.keys import id_of
from serving.access.oidc import TokenReader, UnknownSigningKey, refused_token
from serving.access.rates import SharedBuckets
from serving.access.settings import AccessSettings, LimitSettings
from serving.api.errors import RequestError
from serving.api.roles import Role

Headers = Mapping[bytes, bytes]
_BEARER: Final = b"bearer "
# What a proxy says of who called it; a caller on this machine has no reason to.
_OF_PROXIES: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_HOW: Final = "send `Authorization: Bearer KEY`; `footfall keys add STORE --role app --name NAME` makes a key"


class Door:
    """Lets callers in.

    Args:
        access: who may call.
        limits: how often.
        keys: the file of keys.
        host: address that the service listens on.
        buckets: what callers have used of their rates.
        noted: a file by which the workers of one server know that there were keys.

    Raises:
        ConfigError: tokens are to be read, and the library for it is missing.
    """

    def __init__(
        self,
        access: AccessSettings,
        limits: LimitSettings,
        *,
        keys: Path,
        host: str,
        buckets: SharedBuckets,
        noted: Path | None = None,
    ) -> None:
        self._access = access
        self._keys = KeyWatch(keys, limits.rates, noted=noted)
        self._tokens = TokenReader(access.oidc, limits.rates) if access.oidc.issuer else None
        self._is_loopback = is_loopback(host)
        self._anonymous = anonymous(limits.rates.anonymous)
        self._buckets = buckets

    def close(self) -> None:
        """Fetch no more keys of a provider."""
        if self._tokens is not None:
            self._tokens.keys.stop()

    @property
    def asks_for_keys(self) -> bool:
        """Whether a caller must show a key or a token."""
        self._keys.refresh()
        return not self._access.anonymous and (
            self._keys.exists or self._tokens is not None or not self._is_loopback
        )  # fmt: skip

    @property
    def metrics_ask_for_keys(self) -> bool:
        """Whether /metrics does."""
        wanted = self._access.metrics
        return self.asks_for_keys and (wanted == "key" or (wanted == "auto" and not self._is_loopback))

    async def caller_of(self, headers: Headers, query: bytes) -> Caller:
        """Return who calls.

        Raises:
            RequestError: the key or the token opens nothing, or there is none where one is asked for; 401. A page of
                another site calls in a browser's name, or a proxy for someone, while nobody is asked for a key; 403.
        """
        asks = self.asks_for_keys
        if (shown := headers.get(b"authorization")) is not None and (asks or self._keys.exists):
            return await self._shown(shown)
        if b"key=" in query and (key := parse_qs(query.decode("latin-1")).get("key")):
            return self._tracker(key[-1], headers)
        if asks:
            raise RequestError(401, "key_missing", f"Expected a key or a token, found none; {_HOW}.")
        if not self._access.anonymous:
            _check_own_machine(headers)
        self._check_own_page(headers)
        return self._anonymous

    def check(self, caller: Caller, roles: Collection[Role], *, address: str) -> None:
        """Let a caller make a call.

        Raises:
            RequestError: it has not the role, 403; it called too often, 429.
        """
        if caller.roles.isdisjoint(roles):
            found = ", ".join(sorted(caller.roles))
            raise RequestError(
                403,
                "forbidden",
                f"This call asks for a key of role {' or '.join(roles)}; {caller.name!r} has {found}.",
            )
        if caller.rate.per_second <= 0:
            return
        if caller.by_address:
            wait = self._buckets.take_named(_at(caller, address), caller.rate)
        elif caller.bucket >= 0:
            wait = self._buckets.take(caller.bucket, caller.rate)
        else:
            wait = self._buckets.take_named(caller.bucket_key, caller.rate)
        if wait:
            seconds = max(1, math.ceil(wait))
            message = f"Expected at most {caller.rate.per_second:g} requests a second; try again in {seconds} s."
            raise RequestError(429, "too_many_requests", message, retry_after=seconds)

    def charge(self, caller: Caller, requests: int, *, address: str) -> None:
        """Count what a tracker sent as so many requests more than the one that was let in."""
        self._buckets.charge_named(_at(caller, address), caller.rate, requests)

    async def _shown(self, header: bytes) -> Caller:
        if header[:7].lower() != _BEARER:
            raise RequestError(401, "key_unknown", f"Expected a key in another form: {_HOW}.")
        shown = header[7:].strip().decode("latin-1")
        if id_of(shown) is not None or self._tokens is None:
            if (caller := self._keys.caller_of(shown)) is None:
                raise RequestError(
                    401, "key_unknown", "No key in use is this one; it may have been revoked. Ask for another."
                )
            return caller
        try:
            return self._tokens.caller_of(shown)
        except UnknownSigningKey:
            fetching = asyncio.get_running_loop().run_in_executor(None, self._tokens.keys.fetch)
        with contextlib.suppress(TimeoutError):  # a provider that is slow must not make this request wait for long
            await asyncio.wait_for(fetching, self._access.oidc.timeout_seconds)
        try:
            return self._tokens.caller_of(shown)
        except UnknownSigningKey:
            raise refused_token("the provider has no key that signed it") from None

    def _tracker(self, key: str, headers: Headers) -> Caller:
        caller = self._keys.caller_of(key)
        if caller is None or caller.roles != {"tracker"}:
            raise RequestError(
                401,
                "key_unknown",
                "Expected a key of role tracker after `key=`: addresses are logged and remembered, so any other key "
                "belongs into the Authorization header.",
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if caller.origins and origin not in caller.origins:
            raise RequestError(
                403, "origin_refused", f"The key {caller.name!r} is not for pages of {origin or 'no site'!r}."
            )
        return caller

    def _check_own_page(self, headers: Headers) -> None:
        """Keep other sites' pages from calling through the browser of someone who can reach a service without keys."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        asks_by_name = self._is_loopback and not self._access.anonymous
        if asks_by_name and not _is_own_name(host, self._access.hosts):
            raise RequestError(
                403,
                "host_refused",
                f"Expected to be called by an address or a name in access.hosts, found {host!r}; "
                "name it there, or make keys: `footfall keys add`.",
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin.partition("://")[2] != host and origin not in self._access.cors.origins:
            raise RequestError(
                403, "origin_refused", f"Pages of {origin!r} may not call; name it in access.cors.origins, or use keys."
            )


def _at(caller: Caller, address: str) -> bytes:
    """Return the name of the bucket that a caller has at an address."""
    return caller.bucket_key + b"@" + address.encode()


def _check_own_machine(headers: Headers) -> None:
    """Keep out whom a proxy lets through to a loopback address: they are not who may do everything."""
    if any(name in headers for name in _OF_PROXIES):
        raise RequestError(
            403,
            "proxy_refused",
            "This call came through a proxy, and nobody has a key yet, so anyone could do anything: make keys with "
            "`footfall keys add STORE --role app --name shop-app`, or say `access: {anonymous: true}` in the settings "
            "where the proxy asks who calls.",
        )


@lru_cache(maxsize=256)
def _is_own_name(host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a name cannot be one that a stranger lets lead here: an address, or a name without a domain."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if "." not in name or name.endswith(".localhost") or name in allowed:
        return True
    return all(part.isdigit() for part in name.split("."))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; names count as what they usually mean."""
    try:
        return ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
    except ValueError:
        return host == "localhost"
