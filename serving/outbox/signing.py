"""Signatures of webhooks, by the Standard Webhooks specification 1.0.0 (https://www.standardwebhooks.com).

A message carries `webhook-id` (the same on every attempt: the receiver's idempotency key), `webhook-timestamp` (of the
attempt, Unix seconds) and `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each
secret, separated by spaces.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from features.errors import ConfigError
from serving.outbox.settings import WebhookEndpoint, WebhookSettings

_PREFIX: Final = "whsec_"
_LEAST_BYTES: Final = 24
_MOST_BYTES: Final = 64
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
TOLERANCE_SECONDS: Final = 300


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Signs with each of some secrets.

    Args:
        keys: of 24 to 64 bytes.
    """

    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, endpoint: WebhookEndpoint, environment: Mapping[str, str] = os.environ) -> Signer:
        """Read an endpoint's secrets.

        Raises:
            ConfigError: they are missing, readable by others, or none; the message shows nothing of them.
        """
        if endpoint.secret_env:
            where, text = endpoint.secret_env, environment.get(endpoint.secret_env, "")
        else:
            where, text = endpoint.secret_file, _private(Path(endpoint.secret_file))
        return cls.parse(text, where=where)

    @classmethod
    def parse(cls, text: str, *, where: str) -> Signer:
        """Read secrets separated by white space.

        Raises:
            ConfigError: there is none, or one is none.
        """
        keys = tuple(_key(word, where) for word in text.split())
        if not keys:
            raise ConfigError(f"{where}: expected a signing secret, found none; `footfall webhooks secret` makes one.")
        return cls(keys=keys)

    def headers(self, message_id: str, body: bytes, *, at_s: int) -> dict[str, str]:
        """Return what makes a body a signed webhook.

        Args:
            message_id: the same on every attempt.
            body: as it is sent.
            at_s: the attempt's instant, Unix seconds.
        """
        signed = f"{message_id}.{at_s}.".encode() + body
        signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in self.keys]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
        }

    def accepts(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
        """Return whether a webhook was signed with one of the secrets within five minutes, as a receiver asks."""
        try:
            at_s = int(headers["webhook-timestamp"])
            message_id, found = headers["webhook-id"], headers["webhook-signature"].split()
        except (KeyError, ValueError):
            return False
        wanted = self.headers(message_id, body, at_s=at_s)["webhook-signature"].split()
        is_signed = any(hmac.compare_digest(one, other) for one in wanted for other in found)
        return is_signed and abs(now_s - at_s) <= TOLERANCE_SECONDS


def checked(settings: WebhookSettings) -> WebhookSettings:
    """Return settings whose secrets can all be read, so that a wrong one is told before the service starts.

    Raises:
        ConfigError: one cannot.
    """
    for endpoint in settings.endpoints:
        Signer.of(endpoint)
    return settings


def new_secret() -> str:
    """Return a random signing secret.

    >>> Signer.parse(new_secret(), where="here").keys[0] == Signer.parse(new_secret(), where="here").keys[0]
    False
    """
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _private(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _FOR_OTHERS:
            raise ConfigError(f"{path}: expected a file for its owner alone (0600), found {mode:04o}; chmod 600 it.")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path}: expected a file with a signing secret; `footfall webhooks secret` makes one."
        ) from None


def _key(word: str, where: str) -> bytes:
    try:
        key = base64.b64decode(word.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ConfigError(
            f"{where}: expected secrets such as whsec_ and the base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes, found one "
            "that is not; `footfall webhooks secret` makes one."
        )
    return key
