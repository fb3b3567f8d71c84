from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

import pytest

from features.errors import ConfigError, UnknownId
from features.privacy.pseudonyms import KEY_VARIABLE, KeyRing, Pseudonyms

ONE, TWO = "11" * 32, "22" * 32


def test_pseudonym_when_worked_out_by_hand_then_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f"k1:{ONE}, k2:{TWO}")
    scoped = hmac.new(bytes.fromhex(TWO), b"footfall pseudonym\nagency", hashlib.sha256).digest()
    expected = "k2:" + hmac.new(scoped, "用户-1".encode(), hashlib.sha256).hexdigest()[:32]
    assert KeyRing.load().pseudonyms("agency").of("用户-1") == expected


def test_pseudonyms_when_scope_or_key_differs_then_nothing_joins() -> None:
    ring = KeyRing(keys={1: bytes.fromhex(ONE), 2: bytes.fromhex(TWO)})
    names = [ring.pseudonyms(scope, number=n).of("ann") for scope in ("agency", "bank") for n in (1, 2)]
    assert len({name.split(":")[1] for name in names}) == 4
    assert ONE not in repr(ring)
    assert "key" not in repr(ring.pseudonyms("agency")).replace("keys", "")
    once = [Pseudonyms.one_time(scope="report").of("ann") for _ in range(2)]
    assert once[0] != once[1]
    assert all(name.startswith("k0:") for name in once)


def test_key_file_when_rotated_then_new_names_use_the_new_key_and_old_ones_still_lead_back(tmp_path: Path) -> None:
    path = tmp_path / "pseudonyms.key"
    with pytest.raises(ConfigError, match="expected a key file, found none; `footfall data key"):
        KeyRing.load(path)
    assert not path.exists()  # made on request only
    old = KeyRing.create(path).pseudonyms("agency").of("ann")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    new = KeyRing.rotate(path).pseudonyms("agency").of("ann")
    assert (old[:3], new[:3]) == ("k1:", "k2:")
    ring = KeyRing.load(path)
    assert [ring.holder(name, ["bob", "ann"], scope="agency") for name in (old, new)] == ["ann", "ann"]
    with pytest.raises(UnknownId, match="in scope 'bank', found none; check the scope"):
        ring.holder(new, ["bob", "ann"], scope="bank")
    with pytest.raises(ConfigError, match="expected one of the keys k1, k2, found k7"):
        ring.holder("k7:" + "0" * 32, ["ann"], scope="agency")
    with pytest.raises(ConfigError, match="expected no file, found one"):
        KeyRing.create(path)


def test_key_file_when_others_may_read_it_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "pseudonyms.key"
    KeyRing.create(path)
    os.chmod(path, 0o640)  # noqa: PTH101
    with pytest.raises(ConfigError, match=r"for its owner alone \(0600\), found 0640; chmod 600 it"):
        KeyRing.load(path)


@pytest.mark.parametrize("text", ["secret", "11" * 8, f"k1:{ONE},k1:{TWO}", f"k1:{ONE},k2:zz", f"k0:{ONE}"])
def test_key_when_it_is_none_then_refused_without_repeating_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, text)
    with pytest.raises(ConfigError) as error:
        KeyRing.load()
    assert text not in str(error.value)
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match="expected a key file or the variable FOOTFALL_PSEUDONYM_KEY, found neither"):
        KeyRing.load()


def test_key_when_given_in_hex_alone_then_it_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, ONE)
    assert KeyRing.load().keys == {1: bytes.fromhex(ONE)}
