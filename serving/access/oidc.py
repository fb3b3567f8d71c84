"""Bearer tokens of an OpenID provider (OpenID Connect Core 1.0, RFC 9068 where the provider issues access tokens so)."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from features.errors import ConfigError
from serving.access.caller import Caller
from serving.access.provider_keys import ProviderKeys, UnknownSigningKey
from serving.access.settings import OidcSettings, RoleRates
from serving.api.errors import RequestError
from serving.api.roles import ROLES, Role

_log = logging.getLogger(__name__)
_CACHED: Final = 4_096
_LONGEST: Final = 16_384


class TokenReader:
    """Verifies tokens: signature, issuer, audience, times, and what the caller may do.

    Args:
        settings: the provider; its issuer is not empty.
        rates: by role.

    Raises:
        ConfigError: PyJWT is not installed.
    """

    def __init__(self, settings: OidcSettings, rates: RoleRates) -> None:
        self._settings = settings
        self._rates = rates
        self._jwt = _library()
        self._verified: dict[bytes, tuple[float, Caller]] = {}
        self.keys = ProviderKeys(settings, parse=self._jwt.PyJWKSet.from_dict, changed=self._verified.clear)

    def caller_of(self, token: str) -> Caller:
        """Return who a token is about.

        Raises:
            RequestError: it is none of the provider's for us, or no longer; 401. It names no role of ours; 403.
            UnknownSigningKey: its key is not known yet; fetch the provider's keys and ask again.
        """
        if len(token) > _LONGEST:
            raise refused_token(f"it is longer than {_LONGEST} characters")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and known[0] > time.time():
            return known[1]
        claims = self._claims(token)
        caller = self._caller(claims)
        if len(self._verified) >= _CACHED:
            self._verified.clear()
        self._verified[digest] = (float(claims["exp"]), caller)
        return caller

    def _claims(self, token: str) -> dict[str, Any]:
        settings, jwt = self._settings, self._jwt
        try:
            header = jwt.get_unverified_header(token)
            # Before the key is looked for: what is signed otherwise must not make us fetch anything.
            if header.get("alg") not in settings.algorithms:
                raise refused_token(f"expected a signature of {', '.join(settings.algorithms)}")
            claims = jwt.decode(
                token,
                self.keys.of(header.get("kid")),
                algorithms=list(settings.algorithms),
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise refused_token(str(error)) from None
        assert isinstance(claims, dict)
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        roles = self._roles(claims)
        if not roles:
            raise RequestError(
                403,
                "no_role",
                f"The token's claim {self._settings.roles_claim!r} names no role of this service; expected one of "
                f"{', '.join(self._settings.roles or ROLES)}.",
            )
        widest = next(role for role in ("admin", "app", "analyst", "tracker") if role in roles)
        owner = f"{claims.get('azp') or claims.get('client_id') or ''}/{claims.get('sub') or ''}"
        return Caller(
            name=str(claims.get(self._settings.name_claim) or "token")[:64],
            roles=roles,
            rate=getattr(self._rates, widest),
            bucket_key=owner.encode(),
            by_address=roles == {"tracker"},
        )

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        found: Any = claims
        for step in self._settings.roles_claim.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        meant: Mapping[str, Role] = self._settings.roles or {role: role for role in ROLES}
        return frozenset(meant[word] for word in words if isinstance(word, str) and word in meant)


def refused_token(why: str) -> RequestError:
    """Return the answer to a token that opens nothing."""
    return RequestError(401, "token_invalid", f"The token is not accepted: {why}. Sign in again for a new one.")


def _library() -> ModuleType:
    try:
        import jwt  # noqa: PLC0415 (an extra: who uses keys only does without it)
        import jwt.algorithms  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "access.oidc: expected PyJWT, which reads tokens, found it missing; `pip install footfall[oidc]`."
        ) from None
    if not jwt.algorithms.has_crypto:
        raise ConfigError("access.oidc: expected cryptography beside PyJWT; `pip install footfall[oidc]`.")
    return jwt


__all__ = ["TokenReader", "UnknownSigningKey", "refused_token"]
