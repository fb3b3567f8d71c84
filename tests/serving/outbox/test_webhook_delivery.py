"""Messages on their way out: once each, signed, tried again, given up, withdrawn."""

from __future__ import annotations

import itertools
import logging
import random
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from features.errors import ConfigError
from serving.outbox.delivery import Delivery
from serving.outbox.leases import Lease
from serving.outbox.messages import DAY_US, Draft, Messages
from serving.outbox.metrics import OutboxMetrics
from serving.outbox.pauses import pause_seconds
from serving.outbox.posting import Poster
from serving.outbox.settings import WebhookEndpoint, WebhookSettings
from serving.outbox.signing import Signer, new_secret
from tests.serving.clock import Clock
from tests.serving.webhook_receiver import Receiver

START_US = 1_790_000_000_000_000
SECRET = new_secret()
WANTED = {"name": "crm", "triggers": ("all",), "secret_env": "X"}


@pytest.fixture
def clock() -> Clock:
    return Clock(START_US)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def messages(tmp_path: Path) -> Messages:
    return Messages(tmp_path / "outbox.sqlite")


def draft(number: int = 0, *, subject: str | None = None, occasion: str = "once", endpoint: str = "crm") -> Draft:
    body = msgspec.json.encode({"number": number})
    return Draft(endpoint=endpoint, about=("t", str(number)), occasion=occasion, body=body, subject=subject)


def add(messages: Messages, *drafts: Draft, now_us: int = START_US) -> int:
    return messages.add(drafts, now_us=now_us, again_us=30 * DAY_US)


@pytest.fixture
def delivery(messages: Messages, receiver: Receiver, clock: Clock, tmp_path: Path) -> Iterator[Callable[..., Delivery]]:
    posters = []

    def of(*, may_send: Callable[[str], bool] = lambda _: True, url: str = "", **settings: float) -> Delivery:
        held = WebhookSettings(
            endpoints=(WebhookEndpoint(**WANTED, url=url or receiver.url),),
            **settings,
        )
        poster = Poster(held.timeout_seconds)
        posters.append(poster)
        return Delivery(
            endpoint=held.endpoints[0],
            settings=held,
            messages=messages,
            lease=Lease(tmp_path / "outbox.sqlite", "send crm", seconds=40, wall=clock),
            signer=Signer.parse(SECRET, where="here"),
            may_send=may_send,
            poster=poster,
            metrics=OutboxMetrics(CollectorRegistry()),
            wall=clock,
            rng=random.Random(0),
        )

    yield of
    for poster in posters:
        poster.close()


def test_signature_when_computed_then_it_is_the_one_that_the_specification_publishes() -> None:
    signer = Signer.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", where="here")
    body = b'{"test": 2432232314}'
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, at_s=1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signer.accepts(headers, body, now_s=1614265330 + 299)
    assert not signer.accepts(headers, body, now_s=1614265330 + 301)  # replayed
    assert not signer.accepts(headers, body + b" ", now_s=1614265330)
    both = Signer.parse(f"{new_secret()}\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", where="here")
    moved = both.headers("msg_1", body, at_s=5)
    assert signer.accepts(moved, body, now_s=5)  # a receiver that has not moved to the new secret yet


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"url": "http://crm.example/hooks"}, "expected https, found http to crm.example"),
        ({"url": "ftp://crm.example"}, "expected one such as https://"),
        ({"url": "https://me:secret@crm.example"}, "without a login"),
        ({"secret_env": ""}, "either secret_file or secret_env"),
        ({"triggers": ()}, "triggers or alerts"),
        ({"alerts": ("reorder_nov",)}, "Did you mean 'reorder_now'"),
        ({"name": "My CRM"}, "a name such as `crm`"),
    ],
)
def test_endpoint_when_it_is_wrong_then_the_error_says_why(given: dict[str, object], expected: str) -> None:
    good = {"name": "crm", "url": "https://crm.example/h", "triggers": ("all",), "secret_env": "X"}
    WebhookEndpoint(**good)
    WebhookEndpoint(**good | {"url": "http://crm.example/h", "allow_plain_http": True})
    WebhookEndpoint(**good | {"url": "http://[::1]:8080/h"})
    with pytest.raises(ConfigError, match=expected):
        WebhookEndpoint(**good | given)


def test_secret_when_others_can_read_its_file_then_it_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o644)
    endpoint = WebhookEndpoint(name="crm", url="https://a.example", triggers=("all",), secret_file=str(path))
    with pytest.raises(ConfigError, match="found 0644; chmod 600") as error:
        Signer.of(endpoint)
    assert SECRET not in str(error.value)
    path.chmod(0o600)
    assert SECRET not in repr(Signer.of(endpoint))
    path.write_text("whsec_c2hvcnQ=")
    with pytest.raises(ConfigError, match="24 to 64 bytes"):
        Signer.of(endpoint)


def test_message_when_added_again_then_it_is_one(messages: Messages) -> None:
    assert add(messages, draft(1), draft(1), draft(2)) == 2
    assert add(messages, draft(1), draft(1, occasion="twice"), draft(1, endpoint="erp")) == 2
    # Nobody knows since when it holds: one in 30 days.
    assert add(messages, draft(3, occasion=""), draft(3, occasion="")) == 1
    assert add(messages, draft(3, occasion=""), now_us=START_US + 29 * DAY_US) == 0
    assert add(messages, draft(3, occasion=""), now_us=START_US + 31 * DAY_US) == 1


def test_delivery_when_all_goes_well_then_each_arrives_signed_in_order_and_its_content_is_forgotten(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, clock: Clock, tmp_path: Path
) -> None:
    add(messages, *(draft(number, subject="ann-secret-id") for number in range(5)))
    assert delivery().run_once() == 5
    assert [msgspec.json.decode(body)["number"] for _, body in receiver.arrived] == [0, 1, 2, 3, 4]
    signer = Signer.parse(SECRET, where="here")
    assert all(signer.accepts(headers, body, now_s=clock.us / 1e6) for headers, body in receiver.arrived)
    assert messages.counts() == {"crm": {"delivered": 5}}
    rows = sqlite3.connect(tmp_path / "outbox.sqlite").execute("SELECT subject, body FROM messages").fetchall()
    assert set(rows) == {(None, None)}
    assert add(messages, draft(3, subject="ann-secret-id")) == 0  # still known, so not sent again


def test_delivery_when_a_fifth_of_attempts_fails_then_everything_arrives(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, clock: Clock
) -> None:
    rng = random.Random(4)
    receiver.answers = lambda _: (500 if rng.random() < 0.2 else 200, {})
    add(messages, *(draft(number) for number in range(300)))
    sending = delivery()
    passes = 0
    while messages.waiting("crm")[0]:
        sending.run_once()
        clock.pass_(5)
        passes += 1
        assert passes < 1000
    assert messages.counts() == {"crm": {"delivered": 300}}  # 99.5% are asked for
    assert len(set(receiver.taken)) == len(receiver.taken) == 300
    assert 330 < len(receiver.arrived) < 425  # 300 / 0.8 = 375 attempts on average


def test_delivery_when_attempts_fail_then_pauses_double_and_the_message_is_set_aside(
    delivery: Callable[..., Delivery],
    messages: Messages,
    receiver: Receiver,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.answers = lambda _: (500, {})
    add(messages, draft(7, subject="ann-secret-id"))
    sending, at = delivery(max_attempts=5), []
    with caplog.at_level(logging.INFO):
        for _ in range(200):
            at += [clock.us] * sending.run_once()
            clock.pass_(1)
    pauses = [(b - a) / 1e6 for a, b in itertools.pairwise(at)]
    assert len(at) == 5
    assert [round(pause / first) for pause, first in zip(pauses, (5, 10, 20, 40), strict=True)] == [1, 1, 1, 1]
    (dead,) = messages.dead()
    assert (dead.attempts, dead.said) == (5, "HTTP 500")
    assert "given up after 5 attempts" in caplog.text
    assert "ann-secret-id" not in caplog.text
    assert messages.retry(endpoint="crm", now_us=clock.us) == 1
    receiver.answers = lambda _: (200, {})
    clock.pass_(120)  # the pause of the endpoint is over too
    assert sending.run_once() == 1
    assert messages.counts() == {"crm": {"delivered": 1}}


def test_delivery_when_the_receiver_asks_for_time_then_nothing_is_sent_until_then(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, clock: Clock
) -> None:
    receiver.answers = lambda number: (429, {"retry-after": "300"}) if number == 0 else (204, {})
    add(messages, draft(1), draft(2))
    sending = delivery()
    assert sending.run_once() == 1
    clock.pass_(299)
    assert sending.run_once() == 0
    clock.pass_(2)
    assert sending.run_once() == 2


def test_delivery_when_the_receiver_is_gone_then_no_attempt_follows(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, clock: Clock
) -> None:
    receiver.answers = lambda _: (410, {})
    add(messages, draft(1), draft(2))
    sending = delivery()
    assert sending.run_once() == 1
    clock.pass_(10**6)
    assert sending.run_once() == 0
    assert messages.counts() == {"crm": {"dead": 2}}


def test_delivery_when_the_receiver_is_down_then_messages_behind_keep_their_attempts(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, clock: Clock
) -> None:
    receiver.__exit__()
    add(messages, *(draft(number) for number in range(100)))
    sending = delivery()
    tried = 0
    for _ in range(600):
        tried += sending.run_once()
        clock.pass_(1)
    assert tried < 15  # three failures in a row, then one each 5, 10, 20, ... seconds
    assert messages.waiting("crm")[0] == 100


def test_delivery_when_redirected_then_it_is_a_failure(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver
) -> None:
    receiver.answers = lambda _: (302, {"location": receiver.url})
    add(messages, draft(1))
    assert delivery().run_once() == 1
    assert len(receiver.arrived) == 1


def test_customer_when_gone_then_messages_are_dropped_and_overwritten(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, tmp_path: Path
) -> None:
    add(messages, draft(1, subject="ann-secret-id"), draft(2, subject="bob"), draft(3))
    assert messages.withdraw(lambda user: user == "ann-secret-id") == 1
    held = b"".join(path.read_bytes() for path in tmp_path.glob("outbox.sqlite*"))
    assert b"ann-secret-id" not in held
    assert delivery(may_send=lambda user: user != "bob").run_once() == 1  # bob has withdrawn consent meanwhile
    assert messages.counts() == {"crm": {"delivered": 1, "dropped": 2}}


def test_lease_when_its_holder_dies_then_another_takes_it_once_it_has_run_out(clock: Clock, tmp_path: Path) -> None:
    first, second = (Lease(tmp_path / "leases.sqlite", "x", seconds=30, wall=clock) for _ in range(2))
    assert first.take()
    assert not second.take()
    clock.pass_(29)
    assert first.take()  # renewed
    clock.pass_(29)
    assert not second.take()
    clock.pass_(2)
    assert second.take()
    assert not first.take()
    second.leave()
    assert first.take()
    clock.pass_(-(10**6))  # set back: the lease lies far ahead now
    assert second.take()


def test_pauses_when_many_failures_then_they_stay_below_the_longest() -> None:
    settings, rng = WebhookSettings(), random.Random(1)
    # 17 pauses before the 18th attempt: a little over a day.
    total = sum(pause_seconds(number, settings, rng) for number in range(1, 18))
    assert 24 < total / 3600 < 48
    assert pause_seconds(10_000, settings, rng) <= 1.25 * 6 * 3600


def test_client_when_made_then_it_reads_nothing_from_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Receiver() as receiver:
        poster = Poster(5.0)
        assert poster.post(receiver.url, b"", {}).status == httpx.codes.NO_CONTENT
        poster.close()


def test_delivery_when_an_answer_drips_then_the_attempt_is_over_in_time_and_the_next_one_is_a_new_one(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver, clock: Clock
) -> None:
    receiver.drips = 1  # a header each 50 ms, without end
    add(messages, draft(1))
    sending = delivery(timeout_seconds=1.5)  # a busy machine answers the second attempt within it
    started = time.monotonic()
    assert sending.run_once() == 1
    assert time.monotonic() - started < 5
    assert messages.waiting("crm")[0] == 1
    clock.pass_(10)
    assert sending.run_once() == 1
    assert messages.counts() == {"crm": {"delivered": 1}}


def test_delivery_when_the_process_ends_then_no_further_message_is_sent(
    delivery: Callable[..., Delivery], messages: Messages, receiver: Receiver
) -> None:
    add(messages, *(draft(number) for number in range(9)))
    assert delivery().run_once(lambda: len(receiver.arrived) < 3) == 3


def test_message_when_nobody_ever_took_it_then_it_is_forgotten_like_the_others(messages: Messages) -> None:
    add(messages, draft(1, endpoint="renamed", subject="ann"))
    add(messages, draft(2), now_us=START_US + 5)
    assert messages.forget_before(START_US + 1) == 1
    assert messages.counts() == {"crm": {"pending": 1}}


def test_outbox_file_when_made_then_its_owner_alone_can_read_it(messages: Messages, tmp_path: Path) -> None:
    add(messages, draft(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("outbox.sqlite*")}
    assert modes == dict.fromkeys(("outbox.sqlite", "outbox.sqlite-wal", "outbox.sqlite-shm"), 0o600)
