"""The public keys of an OpenID provider, fetched beside the requests and kept."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from serving.access.settings import OidcSettings, is_private

_log = logging.getLogger(__name__)
_DISCOVERY: Final = "/.well-known/openid-configuration"
_LARGEST: Final = 1 << 20
# Tokens with invented key ids must not make us ask the provider more often than this.
_AT_LEAST_SECONDS: Final = 5.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A provider that sends us elsewhere, to plain HTTP perhaps, has no keys for us: the 3xx is an error."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener: Final = urllib.request.build_opener(_NoRedirects)


class UnknownSigningKey(Exception):
    """A token's key is not among those that were fetched; the provider may have changed them since."""


class ProviderKeys:
    """Keys by id. They are fetched when the service starts, every so often, and when a token names a new one.

    While the provider cannot be reached the last ones hold: who has signed in can go on.

    Args:
        settings: where they are, and how long a fetch may take.
        parse: makes a key set of a JSON object; keys have ``key_id`` and ``public_key_use``.
        changed: called when other keys hold.
    """

    def __init__(self, settings: OidcSettings, *, parse: Callable[[Any], Any], changed: Callable[[], None]) -> None:
        self._settings = settings
        self._parse = parse
        self._changed = changed
        self._keys: dict[str | None, Any] = {}
        self._fetching = threading.Lock()
        self._fetched_at = -_AT_LEAST_SECONDS
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="provider-keys", daemon=True)
        self._thread.start()

    def of(self, key_id: str | None) -> Any:
        """Return the key of an id; without one, the only key there is.

        Raises:
            UnknownSigningKey: there is none.
        """
        keys = self._keys
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        if key_id not in keys:
            raise UnknownSigningKey
        return keys[key_id]

    def fetch(self) -> None:
        """Fetch the keys now, unless that was tried a moment ago; on trouble, the last ones hold."""
        with self._fetching:
            if self._stopped.is_set() or time.monotonic() - self._fetched_at < _AT_LEAST_SECONDS:
                return
            self._fetched_at = time.monotonic()
            try:
                keys = self._fetched()
            except Exception as error:  # whatever a provider answers, requests go on
                _log.warning("keys of %s: cannot be fetched (%r); the last ones hold", self._settings.issuer, error)
                return
            if keys.keys() != self._keys.keys():
                _log.info("keys of %s: %d", self._settings.issuer, len(keys))
            self._keys = keys
            self._changed()

    def stop(self) -> None:
        """Fetch no more; what is being fetched is waited for, as long as one answer may take."""
        self._stopped.set()
        self._thread.join(self._settings.timeout_seconds)

    def _fetched(self) -> dict[str | None, Any]:
        issuer = self._settings.issuer
        about = self._json(issuer.rstrip("/") + _DISCOVERY)
        if about.get("issuer") != issuer:
            raise ValueError(f"expected issuer {issuer!r} in its own description, found {about.get('issuer')!r}")
        keys = self._parse(self._json(str(about["jwks_uri"]))).keys
        return {one.key_id: one for one in keys if one.public_key_use in (None, "sig")}

    def _json(self, url: str) -> Any:
        if not is_private(url):
            raise ValueError(f"expected an https address, found {url!r}")
        with _opener.open(url, timeout=self._settings.timeout_seconds) as answer:
            content = answer.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"expected at most {_LARGEST} bytes, found more")
        return json.loads(content)

    def _keep_fresh(self) -> None:
        while True:
            self.fetch()
            # Until there are keys nobody can come in: try again soon.
            if self._stopped.wait(self._settings.refresh_seconds if self._keys else _AT_LEAST_SECONDS):
                return
