"""Keys: shown once, kept as digests, known to every worker at once."""

from __future__ import annotations

import hashlib
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from features.errors import ConfigError
from serving.access.key_watch import KeyWatch
from serving.access.keys import KeyFile, id_of
from serving.access.settings import Rate, RoleRates
from serving.commands.keys import run


def test_add_when_a_key_is_made_then_the_file_holds_its_digest_alone_and_is_private(tmp_path: Path) -> None:
    made = KeyFile(tmp_path / "keys.json").add(name="shop-app", role="app")
    content = (tmp_path / "keys.json").read_text()
    assert made.secret not in content
    assert made.secret.split("_", 2)[2] not in content
    assert hashlib.sha256(made.secret.encode()).hexdigest() in content
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert id_of(made.secret) == made.key.id
    assert len(made.secret.split("_", 2)[2]) == 43  # 256 bits in base64


def test_caller_of_when_a_key_is_right_wrong_or_revoked_then_only_the_right_one_opens(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    watch = KeyWatch(file.path, RoleRates(app=Rate(per_second=7)))
    assert not watch.exists
    made, other = file.add(name="a", role="app"), file.add(name="b", role="admin", rate=Rate(per_second=3))
    assert watch.caller_of(made.secret) is None  # not read yet
    watch.refresh()
    assert watch.exists
    caller = watch.caller_of(made.secret)
    assert caller is not None
    assert (caller.name, caller.roles, caller.rate.per_second) == ("a", {"app"}, 7)
    admin = watch.caller_of(other.secret)
    assert admin is not None
    assert (admin.rate.per_second, admin.bucket) == (3, 2)
    mixed = f"footfall_{made.key.id}_{other.secret.split('_', 2)[2]}"
    for wrong in (made.secret[:-1], made.secret + "x", mixed, "footfall_", "footfall__", "", "Ω", "footfall_Ω_Ω"):
        assert watch.caller_of(wrong) is None
    file.revoke("a")
    watch.refresh()
    assert watch.caller_of(made.secret) is None
    assert watch.caller_of(other.secret) is not None
    assert file.add(name="a", role="app").key.number == 3  # numbers are never given again


def test_refresh_when_the_file_is_damaged_or_gone_then_nobody_else_comes_in(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    made = file.add(name="a", role="app")
    watch = KeyWatch(file.path, RoleRates())
    file.path.write_text("{")
    watch.refresh()
    assert watch.exists
    assert watch.caller_of(made.secret) is not None
    file.path.unlink()
    watch.refresh()
    assert watch.exists
    assert watch.caller_of(made.secret) is not None
    file.path.write_text("{")
    with pytest.raises(ConfigError, match="expected keys as `footfall keys add` writes them"):
        file.load()


def test_refresh_when_a_revocation_could_not_be_read_then_it_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    made = file.add(name="a", role="app")
    watch = KeyWatch(file.path, RoleRates())
    file.revoke("a")
    with monkeypatch.context() as full:
        full.setattr(KeyFile, "load", lambda _: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        for _ in range(3):
            watch.refresh()
    assert watch.caller_of(made.secret) is not None
    assert caplog.text.count("Too many open files") == 1
    watch.refresh()
    assert watch.caller_of(made.secret) is None


def test_add_when_many_add_at_once_then_none_is_lost(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    threads = [threading.Thread(target=file.add, kwargs={"name": f"k{n}", "role": "app"}) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.number for one in file.load()) == list(range(1, 13))


def test_keys_command_when_used_then_it_adds_lists_and_revokes(tmp_path: Path) -> None:
    added = run(["add", str(tmp_path), "--role", "tracker", "--name", "web", "--origins", "[https://shop.example]"])
    assert added is not None
    assert added["key"].startswith("footfall_")
    listed = run(["list", str(tmp_path)])
    assert listed is not None
    assert added["key"] not in msgspec.json.encode(listed).decode()
    assert listed["keys"][0]["origins"] == ["https://shop.example"]
    with pytest.raises(ConfigError, match="'web' is the name of a key in use"):
        run(["add", str(tmp_path), "--role", "app", "--name", "web"])
    with pytest.raises(ConfigError, match=r"no key in use is called 'wev'\. Did you mean 'web'"):
        run(["revoke", str(tmp_path), "--name", "wev"])
    with pytest.raises(ConfigError, match="name each one, without a path"):
        run(["add", str(tmp_path), "--role", "tracker", "--name", "x", "--origins", "[https://shop.example/a]"])
    assert run(["revoke", str(tmp_path), "--name", "web"]) == {"revoked": 1, "name": "web"}
