"""Tokens of a real, small OpenID provider: discovery and keys over loopback HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jwt", reason="needs the extra `oidc`")

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from serving.access import provider_keys
from serving.access.keys import KeyFile
from serving.http.app import ServiceApp
from tests.serving.access.test_door import IN, app_of, bearer, call, code_of


class Provider:
    """An issuer with keys that can be changed, and that can fall silent."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.asked = 0
        self.apps: list[ServiceApp] = []
        self.is_down = False
        self.jwks_uri = ""
        self.moved_to = ""
        provider = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                if provider.is_down:
                    self.send_error(503)
                    return
                if self.path == "/keys" and provider.moved_to:
                    self.send_response(302)
                    self.send_header("location", provider.moved_to)
                    self.end_headers()
                    return
                about = {"issuer": provider.issuer, "jwks_uri": provider.jwks_uri or f"{provider.issuer}/keys"}
                content = json.dumps(provider.public() if "keys" in self.path else about).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def public(self) -> dict[str, Any]:
        rows = []
        for kid, key in self.keys.items():
            algorithm = (
                jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            )
            rows.append(algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"})
        return {"keys": rows}

    def token(self, kid: str, *, algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        held = {"iss": self.issuer, "aud": "footfall", "sub": "u", "azp": "desk", "exp": now + 60, "iat": now}
        held |= {"roles": ["analyst"]} | claims
        held = {name: value for name, value in held.items() if value is not None}
        return jwt.encode(held, self.keys[kid], algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    made.keys["one"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    yield made
    for one in made.apps:
        one.close()
    made.server.shutdown()
    assert not [thread for thread in threading.enumerate() if thread.name == "provider-keys"]


def app(provider: Provider, store: Path, **oidc: Any) -> Any:
    made = app_of(store, access={"oidc": {"issuer": provider.issuer, "audience": "footfall"} | oidc})
    provider.apps.append(made)
    deadline = time.monotonic() + 5
    while not made._door._tokens.keys._keys and time.monotonic() < deadline and not provider.is_down:
        time.sleep(0.01)
    return made


def ask(made: Any, token: str, path: str = "/v1/customers") -> tuple[int, str]:
    return code_of(call(made, "GET", path, headers=bearer(token)))


def test_token_when_the_provider_signed_it_then_its_roles_count(provider: Provider, tmp_path: Path) -> None:
    made = app(provider, tmp_path)
    assert ask(made, provider.token("one")) == IN
    assert ask(made, provider.token("one"), "/v1/customers/a/export") == (403, "forbidden")
    assert ask(made, provider.token("one", roles="analyst admin"), "/v1/customers/a/export") == IN
    assert ask(made, provider.token("one", roles=["cook"])) == (403, "no_role")
    assert ask(made, provider.token("one", roles=None)) == (403, "no_role")
    assert code_of(call(made, "GET", "/v1/customers")) == (401, "key_missing")
    key = KeyFile(tmp_path / "api_keys.json").add(name="a", role="admin").secret
    assert ask(made, key) == IN  # keys hold beside tokens
    nested = app(provider, tmp_path, roles_claim="realm_access.roles", roles={"merch": "analyst"})
    assert ask(nested, provider.token("one", realm_access={"roles": ["merch"]})) == IN
    assert ask(nested, provider.token("one", realm_access=["merch"])) == (403, "no_role")


def test_token_when_it_is_not_for_us_or_over_then_it_is_refused(provider: Provider, tmp_path: Path) -> None:
    made, now = app(provider, tmp_path), int(time.time())
    refused = (401, "token_invalid")
    assert ask(made, provider.token("one", exp=now - 60)) == refused
    assert ask(made, provider.token("one", exp=now - 10)) == IN  # clocks may be half a minute apart
    assert ask(made, provider.token("one", nbf=now + 600)) == refused
    assert ask(made, provider.token("one", iss="https://other.example")) == refused
    assert ask(made, provider.token("one", aud="billing")) == refused
    assert ask(made, provider.token("one", aud=None)) == refused
    assert ask(made, provider.token("one", exp=None)) == refused
    head, body, signature = provider.token("one").split(".")
    flipped = base64.urlsafe_b64encode(b'{"roles":["admin"]}').decode().rstrip("=")
    for wrong in (f"{head}.{flipped}.{signature}", f"{head}.{body}.", "a.b.c", "a", "x" * 20_000):
        assert ask(made, wrong) == refused


def test_token_when_its_signature_is_none_or_made_with_the_public_key_then_it_is_refused(
    provider: Provider, tmp_path: Path
) -> None:
    made = app(provider, tmp_path)
    claims = jwt.decode(provider.token("one"), options={"verify_signature": False})
    assert ask(made, jwt.encode(claims, "", algorithm="none", headers={"kid": "one"})) == (401, "token_invalid")
    public = provider.keys["one"].public_key()
    for kind in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1):
        secret = public.public_bytes(serialization.Encoding.PEM, kind)

        def part(value: dict[str, Any]) -> bytes:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

        text = part({"alg": "HS256", "typ": "JWT", "kid": "one"}) + b"." + part(claims)
        signature = base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=")
        assert ask(made, (text + b"." + signature).decode()) == (401, "token_invalid")


def test_keys_when_the_provider_changes_them_then_the_next_token_is_read_and_old_keys_end(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_keys, "_AT_LEAST_SECONDS", 0.0)
    made = app(provider, tmp_path)
    old = provider.token("one")
    assert ask(made, old) == IN
    provider.keys["two"] = ec.generate_private_key(ec.SECP256R1())
    assert ask(made, provider.token("two", algorithm="ES256")) == IN
    del provider.keys["one"]
    made._door._tokens.keys.fetch()
    assert ask(made, old) == (401, "token_invalid")  # also where it had been read before


def test_keys_when_tokens_name_invented_ones_then_the_provider_is_not_asked_each_time(
    provider: Provider, tmp_path: Path
) -> None:
    made = app(provider, tmp_path)
    asked = provider.asked
    provider.keys["invented"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = provider.token("invented")
    del provider.keys["invented"]
    for _ in range(20):
        assert ask(made, token) == (401, "token_invalid")
    assert provider.asked - asked <= 2  # once: its description and its keys


@pytest.mark.parametrize("jwks_uri", ["http://localhost.evil.example/keys", "http://127.0.0.1.evil.example/keys"])
def test_provider_when_it_names_keys_that_come_over_plain_http_then_they_are_not_fetched(
    provider: Provider, tmp_path: Path, jwks_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = app(provider, tmp_path)
    provider.jwks_uri = jwks_uri
    made._door._tokens.keys._fetched_at = 0.0
    made._door._tokens.keys.fetch()
    assert "expected an https address" in caplog.text


def test_provider_when_it_sends_us_elsewhere_for_its_keys_then_they_are_not_taken(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = app(provider, tmp_path)
    provider.moved_to = f"{provider.issuer}/other-keys"
    made._door._tokens.keys._fetched_at = 0.0
    made._door._tokens.keys.fetch()
    assert "302" in caplog.text
    assert ask(made, provider.token("one")) == IN  # the last keys hold


def test_provider_when_it_is_down_then_who_has_signed_in_goes_on(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_keys, "_AT_LEAST_SECONDS", 0.0)
    made, token = app(provider, tmp_path), provider.token("one")
    provider.is_down = True
    made._door._tokens.keys.fetch()
    assert ask(made, token) == IN
    assert ask(app(provider, tmp_path), token) == (401, "token_invalid")  # started while it was down: nobody comes in
