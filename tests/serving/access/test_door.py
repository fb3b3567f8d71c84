"""Who may make which call: through the app, without a server around it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from features.errors import ConfigError
from serving.access.keys import KeyFile
from serving.access.settings import AccessSettings, CorsSettings, LimitSettings, Rate, RoleRates
from serving.api.endpoints import ENDPOINTS
from serving.api.roles import ROLES, Role
from serving.http.app import ServiceApp
from serving.process.launch import _check_access
from serving.process.settings import ServeSettings


def call(
    app: ServiceApp, method: str, path: str, *, base: str = "http://127.0.0.1:3000", **more: Any
) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("10.0.0.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **more)

    return asyncio.run(send())


def app_of(store: Path, **more: Any) -> ServiceApp:
    return ServiceApp(msgspec.convert({"store": str(store)} | more, ServeSettings), version="test")


def bearer(key: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} | more


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# Without a release everything that is let in ends here.
IN = (503, "starting")


def test_each_call_when_a_key_of_each_role_asks_then_its_roles_come_in_and_no_other(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "api_keys.json")
    keys: dict[Role, str] = {role: file.add(name=role, role=role).secret for role in ROLES}
    app = app_of(tmp_path)
    for one in ENDPOINTS:
        path = one.path.replace("{", "").replace("}", "")
        for role, key in keys.items():
            answer = call(app, one.method, path, headers=bearer(key), content=b"{}")
            expected = IN if role in one.roles else (403, "forbidden")
            assert code_of(answer)[:1] == expected[:1] or answer.status_code in (400, 422), (
                one.path,
                role,
                answer.text,
            )
            assert (answer.status_code == 403) == (role not in one.roles)
        missing = call(app, one.method, path, content=b"{}")
        assert code_of(missing) == (401, "key_missing")
        assert missing.headers["www-authenticate"] == 'Bearer realm="footfall"'
    refused = call(app, "POST", "/v1/demand", headers=bearer(keys["app"]))
    assert refused.json()["error"]["message"] == (
        "This call asks for a key of role analyst or admin; 'app' has app."
    )  # fmt: skip


def test_each_call_when_listed_then_some_role_may_make_it_and_admin_any() -> None:
    assert all("admin" in one.roles for one in ENDPOINTS)
    erasing = [one for one in ENDPOINTS if one.method == "DELETE" or one.path.endswith("/export")]
    assert all(tuple(one.roles) == ("admin",) for one in erasing)
    assert [one.path for one in ENDPOINTS if "tracker" in one.roles] == ["/v1/events"]


def test_key_when_made_and_revoked_while_serving_then_the_next_request_knows(tmp_path: Path) -> None:
    app, file = app_of(tmp_path), KeyFile(tmp_path / "api_keys.json")
    assert code_of(call(app, "GET", "/v1/customers")) == IN
    key = file.add(name="a", role="admin").secret
    assert code_of(call(app, "GET", "/v1/customers")) == (401, "key_missing")
    assert code_of(call(app, "GET", "/v1/customers", headers=bearer(key))) == IN
    assert code_of(call(app, "GET", "/v1/customers", headers=bearer(key[:-1]))) == (401, "key_unknown")
    assert code_of(call(app, "GET", "/v1/customers", headers={"authorization": f"Basic {key}"})) == (401, "key_unknown")
    file.revoke("a")
    refused = call(app, "GET", "/v1/customers", headers=bearer(key))
    assert code_of(refused) == (401, "key_unknown")
    assert refused.headers["www-authenticate"] == 'Bearer realm="footfall", error="invalid_token"'
    open_to_all = app_of(tmp_path, host="10.0.0.1", access={"anonymous": True})
    assert code_of(call(open_to_all, "GET", "/v1/customers")) == IN


def test_file_of_keys_when_it_vanishes_while_serving_then_nobody_comes_in_without_a_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("FOOTFALL_SHARED", str(tmp_path / "shared"))
    app, file = app_of(tmp_path), KeyFile(tmp_path / "api_keys.json")
    beside = app_of(tmp_path)  # another worker, which nobody asks while there is a file
    key = file.add(name="a", role="admin").secret
    assert code_of(call(app, "GET", "/v1/customers/a/export", headers=bearer(key))) == IN
    file.path.rename(tmp_path / "elsewhere")
    for one in (app, beside, app_of(tmp_path)):  # the last takes the place of a worker that died
        assert code_of(call(one, "GET", "/v1/customers/a/export")) == (401, "key_missing")
        assert code_of(call(one, "GET", "/v1/customers", headers=bearer("nonsense"))) == (401, "key_unknown")
    assert code_of(call(app, "GET", "/v1/customers", headers=bearer(key))) == IN  # keys stay as they were
    assert caplog.text.count("is gone: keys stay as they were") == 3  # once a worker
    (tmp_path / "elsewhere").rename(file.path)
    assert code_of(call(beside, "GET", "/v1/customers", headers=bearer(key))) == IN
    file.revoke("a")
    assert code_of(call(app, "GET", "/v1/customers", headers=bearer(key))) == (401, "key_unknown")


def test_pages_when_keys_are_asked_for_then_they_open_without_one_and_metrics_by_setting(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "api_keys.json").add(name="a", role="analyst").secret
    for path in ("/", "/docs", "/style.css", "/openapi.json"):
        assert call(app_of(tmp_path), "GET", path).status_code == 200
    assert "securitySchemes" in call(app_of(tmp_path), "GET", "/openapi.json").json()["components"]
    assert code_of(call(app_of(tmp_path), "GET", "/metrics")) == IN
    assert code_of(call(app_of(tmp_path, host="10.0.0.1"), "GET", "/metrics")) == (401, "key_missing")
    closed = app_of(tmp_path, access={"metrics": "key"})
    assert code_of(call(closed, "GET", "/metrics")) == (401, "key_missing")
    assert code_of(call(closed, "GET", "/metrics", headers=bearer(key))) == IN


def test_tracker_when_it_sends_from_a_page_then_its_key_may_stand_in_the_address(tmp_path: Path) -> None:
    file, site = KeyFile(tmp_path / "api_keys.json"), "https://www.shop.example"
    public = file.add(name="web", role="tracker", origins=(site,)).secret
    private = file.add(name="app", role="app").secret
    app = app_of(tmp_path, limits={"rates": {"tracker": {"per_second": 1, "burst": 2}}})

    def send(key: str, origin: str, path: str = "/v1/events") -> tuple[int, str]:
        return code_of(call(app, "POST", path, params={"key": key}, content=b"{}", headers={"origin": origin}))

    assert send(private, site) == (401, "key_unknown")
    assert send(public, "https://other.example") == (403, "origin_refused")
    assert send(public, site, "/v1/recommend") == (403, "forbidden")
    assert [send(public, site)[0] for _ in range(3)][2:] == [429]
    refused = call(app, "POST", "/v1/events", params={"key": public}, content=b"{}", headers={"origin": site})
    assert refused.headers["retry-after"] == "1"


def test_rate_when_a_key_is_used_up_then_others_go_on(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "api_keys.json")
    slow = file.add(name="slow", role="admin", rate=Rate(per_second=0.5, burst=1)).secret
    other = file.add(name="other", role="admin").secret
    app = app_of(tmp_path)
    assert code_of(call(app, "GET", "/v1/customers", headers=bearer(slow))) == IN
    refused = call(app, "GET", "/v1/customers", headers=bearer(slow))
    assert code_of(refused) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "2"
    assert code_of(call(app, "GET", "/v1/customers", headers=bearer(other))) == IN


def test_service_without_keys_when_another_sites_page_calls_then_it_is_refused(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    evil = {"origin": "https://evil.example", "content-type": "text/plain"}
    assert code_of(call(app, "POST", "/v1/consents", headers=evil, content=b"{}")) == (403, "origin_refused")
    own = {"origin": "http://127.0.0.1:3000"}
    assert code_of(call(app, "GET", "/v1/customers", headers=own)) == IN
    # A name of theirs that leads to this machine (DNS rebinding).
    assert code_of(call(app, "GET", "/v1/customers", base="http://evil.example:3000")) == (403, "host_refused")
    for name in ("http://localhost:3000", "http://[::1]:3000", "http://footfall:3000", "http://a.localhost"):
        assert code_of(call(app, "GET", "/v1/customers", base=name)) == IN
    named = app_of(tmp_path, access={"hosts": ["serving.shop.example"]})
    assert code_of(call(named, "GET", "/v1/customers", base="http://serving.shop.example")) == IN


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_service_without_keys_when_a_proxy_stands_before_it_then_it_says_to_make_keys(
    tmp_path: Path, header: str
) -> None:
    through = {header: "203.0.113.7"}
    refused = call(app_of(tmp_path), "DELETE", "/v1/customers/a", headers=through)
    assert code_of(refused) == (403, "proxy_refused")
    assert "`footfall keys add STORE" in refused.json()["error"]["message"]
    asked_nobody = app_of(tmp_path, access={"anonymous": True})
    assert code_of(call(asked_nobody, "DELETE", "/v1/customers/a", headers=through)) == IN
    key = KeyFile(tmp_path / "api_keys.json").add(name="a", role="admin").secret
    assert code_of(call(app_of(tmp_path), "DELETE", "/v1/customers/a", headers=bearer(key) | through)) == IN


def test_serve_when_others_can_reach_it_and_nobody_has_a_key_then_it_refuses_to_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reachable = ServeSettings(store=str(tmp_path), host="10.0.0.1")
    with pytest.raises(ConfigError, match="make one with `footfall keys add"):
        _check_access(reachable)
    _check_access(ServeSettings(store=str(tmp_path)))
    with caplog.at_level(logging.WARNING):
        _check_access(msgspec.structs.replace(reachable, access=AccessSettings(anonymous=True)))
    assert "access.anonymous asks nobody who they are" in caplog.text
    KeyFile(tmp_path / "api_keys.json").add(name="a", role="app")
    _check_access(reachable)
    (tmp_path / "api_keys.json").write_text("{")
    with pytest.raises(ConfigError, match="expected keys as"):
        _check_access(reachable)
    behind_a_proxy = app_of(tmp_path / "other", host="10.0.0.1", access={"anonymous": True})
    assert code_of(call(behind_a_proxy, "GET", "/v1/customers", base="https://serving.shop.example")) == IN


def test_cors_when_an_origin_is_allowed_then_its_pages_may_read_and_others_not(tmp_path: Path) -> None:
    site = "https://www.shop.example"
    key = KeyFile(tmp_path / "api_keys.json").add(name="a", role="admin").secret
    app = app_of(tmp_path, access={"cors": {"origins": [site]}})
    asked = {"origin": site, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    before = call(app, "OPTIONS", "/v1/recommend", headers=asked)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == site
    assert before.headers["access-control-max-age"] == "600"
    assert "Origin" in before.headers["vary"]
    answer = call(app, "GET", "/v1/customers", headers=bearer(key, origin=site))
    assert answer.headers["access-control-allow-origin"] == site
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["access-control-expose-headers"] == "x-request-id, retry-after"
    other = call(app, "OPTIONS", "/v1/recommend", headers=asked | {"origin": "https://evil.example"})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in call(app_of(tmp_path), "OPTIONS", "/v1/events", headers=asked).headers


def test_methods_when_asked_for_then_options_lists_them_and_head_is_a_get_without_a_body(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    options = call(app, "OPTIONS", "/v1/customers/a")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, DELETE, HEAD, OPTIONS")
    refused = call(app, "PATCH", "/v1/recommend")
    assert code_of(refused) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "POST, OPTIONS"
    assert call(app, "HEAD", "/openapi.json").status_code == 200
    assert code_of(call(app, "GET", "/v1/customers/a/b")) == (404, "not_found")
    assert code_of(call(app, "GET", "/v1/customers/%FF")) == (422, "invalid_request")
    assert code_of(call(app, "GET", "/v1/customers/" + "a" * 257)) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("7c1f-a", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("ann@shop.example", False),
        ('"; drop', False),
        ("é", False),
    ],
)
def test_request_id_when_given_then_a_good_one_is_answered_and_any_other_replaced(
    tmp_path: Path, given: str, kept: bool
) -> None:
    answer = call(app_of(tmp_path), "GET", "/v1/customers", headers={"x-request-id": given.encode()})
    found = answer.headers["x-request-id"]
    assert (found == given) if kept else len(found) == 32
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"limits": {"max_wait_seconds": 0}}, r"limits.max_wait_seconds: expected a number above 0, found 0"),
        ({"limits": {"rates": {"app": {"per_second": -1}}}}, r"limits.rates: expected per_second of 0 or more"),
        ({"access": {"cors": {"origins": ["*"]}}}, r"access.cors.origins: expected origins such as"),
        ({"access": {"oidc": {"issuer": "https://a.example"}}}, r"access.oidc.audience: expected one, found none"),
        ({"access": {"oidc": {"issuer": "http://a.example", "audience": "x"}}}, r"keys that come over plain HTTP"),
        *(
            ({"access": {"oidc": {"issuer": issuer, "audience": "x"}}}, r"keys that come over plain HTTP")
            for issuer in (
                *("http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://localhost@evil.example"),
                *("https://", "ftp://localhost", "http://[::1"),
            )
        ),
        ({"logs": {"sample": 0}}, r"logs.sample: expected 1 or more"),
    ],
)
def test_settings_when_they_do_not_fit_then_the_error_names_the_field(section: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        msgspec.convert(section, ServeSettings)


def test_settings_when_left_out_then_nothing_is_limited_but_trackers() -> None:
    assert AccessSettings().cors == CorsSettings()
    rates = LimitSettings().rates
    assert rates == RoleRates(tracker=Rate(per_second=10, burst=50))
