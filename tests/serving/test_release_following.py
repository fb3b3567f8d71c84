"""What is followed, held and compared."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from features.errors import ConfigError, ReleaseError
from features.release import ReleaseStore, write_part
from serving.api.errors import RequestError
from serving.api.release_schemas import ReleaseRequest
from serving.api.schemas import RecommendAnswer, RecommendedItem, RecommendRequest
from serving.process.alias_child import AliasChild
from serving.process.homes import home
from serving.process.releases import Releases, _first
from serving.process.settings import ServeSettings
from serving.release.board import Board, Content, Plan, Refusal, WorkerNote
from serving.release.coordinator import Coordinator
from serving.release.desk import ReleaseDesk
from serving.release.followed import Refused
from serving.release.hold import Hold, HoldFile, hold_of
from serving.release.replay import compare
from serving.release.settings import ReleaseSettings
from serving.release.sources import AliasFile, ReleaseSource, current_of


class Shop:
    """A store of releases and what follows it."""

    def __init__(self, root: Path) -> None:
        self.store = ReleaseStore(root=root)
        self.hold = HoldFile(root / "hold.json")
        self.source = ReleaseSource(
            self.store, pointer=lambda: current_of(self.store), hold=self.hold, digests=root / "digests.json"
        )

    def promote(self) -> str:
        with write_part(self.store.root, "retrieval", data_fingerprint="f") as draft:
            (draft.directory / "a.json").write_text("{}")
        part = self.store.latest_part("retrieval")
        assert part is not None
        release_id = self.store.create({"retrieval": part}).release_id
        self.store.set_current(release_id)
        return release_id

    def ask(self, release_id: str, *, asked: int = 1) -> None:
        followed = self.store.current_id
        assert followed is not None
        self.hold.write(Hold(release_id=release_id, instead_of=followed, asked=asked, at="now"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_source_when_an_operator_asked_then_that_is_wanted_until_another_is_promoted(shop: Shop) -> None:
    older, newer = shop.promote(), shop.promote()
    shop.ask(older)
    wanted = shop.source.wanted()
    assert (wanted.name, wanted.followed, wanted.asked, wanted.compare) == (older, newer, 1, False)
    newest = shop.promote()
    assert (shop.source.wanted().name, shop.source.wanted().asked) == (newest, 0)
    assert shop.hold.read() is None


def test_source_when_what_was_asked_for_is_refused_then_it_is_forgotten(shop: Shop) -> None:
    older, newer = shop.promote(), shop.promote()
    shop.ask(older, asked=7)
    shop.source.refused(Refusal(name=older, digest="", reason="damaged", at="now", asked=6))
    assert shop.source.wanted().name == older
    shop.source.refused(Refusal(name=older, digest="", reason="damaged", at="now", asked=7))
    assert shop.source.wanted().name == newer


def test_source_when_the_hold_is_damaged_then_it_says_so_and_a_start_serves_what_is_promoted(shop: Shop) -> None:
    promoted = shop.promote()
    shop.hold.path.write_text("{")
    with pytest.raises(ReleaseError, match=r"hold.json: expected which release is held .*; roll back again, or remove"):
        shop.source.wanted()
    assert shop.source.first_wanted().name == promoted


def test_source_when_a_part_is_replaced_then_the_same_release_has_another_digest(shop: Shop) -> None:
    first = shop.promote()
    before = shop.source.wanted()
    old = shop.store.open(first).parts["retrieval"]
    shop.promote()
    new = shop.store.latest_part("retrieval")
    assert new is not None
    shop.store.set_current(first)
    shop.store.replace_part(old, by=new)
    after = shop.source.wanted()
    assert after.name == before.name == first
    assert after.digest != before.digest


def test_source_when_served_before_then_a_start_knows_what_to_go_back_to(shop: Shop) -> None:
    older, newer = shop.promote(), shop.promote()
    assert shop.source.served_before(current_of(shop.store)) == ""
    serving = Content(number=2, name=newer, digest="")
    shop.source.swapped(Plan(serving=serving, since="", back_to=older))
    assert shop.source.served_before(current_of(shop.store)) == older
    shop.promote()  # while nothing ran: what served last is what to go back to
    assert shop.source.served_before(current_of(shop.store)) == newer
    (Path(shop.store.root) / "served.json").write_text("[]")
    assert shop.source.served_before(current_of(shop.store)) == ""


def test_start_when_what_is_promoted_is_damaged_then_what_served_last_is_served(shop: Shop) -> None:
    good, damaged = shop.promote(), shop.promote()
    assert _first(shop.source, may_differ=True).name == damaged
    shop.source.swapped(Plan(serving=Content(number=1, name=good, digest=""), since=""))
    part = shop.store.latest_part("retrieval")
    assert part is not None
    part.path("a.json").write_text("[]")
    assert _first(shop.source, may_differ=True).name == good
    with pytest.raises(ReleaseError, match=r"a\.json: damaged"):
        _first(shop.source, may_differ=False)
    (Path(shop.store.root) / "current.json").write_text("{")
    assert _first(shop.source, may_differ=True).name == good


def test_alias_when_the_process_that_asks_dies_then_it_is_said_and_started_again(tmp_path: Path) -> None:
    file, script = tmp_path / "alias.json", tmp_path / "asks.py"
    script.write_text('import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(\'{"release_id": "r"}\'); input()')
    # Its standard input is empty, so that it ends at once.
    child = AliasChild(
        [sys.executable, str(script), str(file)], file, cwd=tmp_path, silent_seconds=9, restart_seconds=0
    )
    try:
        child.wait(10)
        child._child.wait(10)
        file.unlink()
        with pytest.raises(ReleaseError, match="the process that asks the registry ended with 1; it is started again"):
            child()
        child.wait(10)
        assert file.exists()
    finally:
        child.stop()


def test_home_when_its_server_was_killed_then_the_next_start_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "serve-dead").mkdir()
    (tmp_path / "serve-dead" / "alive").write_text("")
    (tmp_path / "serve-new").mkdir()  # of a server that starts just now
    with home("serve-") as one, home("serve-") as two:
        assert sorted(tmp_path.iterdir()) == sorted([one, two, tmp_path / "serve-new"])
    assert [path.name for path in tmp_path.iterdir()] == ["serve-new"]


def test_also_when_more_are_wanted_than_may_be_held_then_the_first_are(shop: Shop) -> None:
    ids = [shop.promote() for _ in range(3)]
    found = shop.source.also([*ids, "unknown"])
    assert [one.name for one in found] == ids[:2]


def test_alias_when_the_registry_fails_then_its_words_are_passed_on(tmp_path: Path) -> None:
    alias = AliasFile(tmp_path / "alias.json")
    with pytest.raises(ReleaseError, match="found nothing yet"):
        alias.wait(0.01)
    (tmp_path / "alias.json").write_text('{"error": "alias \'serving\': not found"}')
    with pytest.raises(ReleaseError, match="alias 'serving': not found"):
        alias()


def test_hold_when_the_server_was_started_on_a_release_then_it_is_the_servers_own(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    assert hold_of(tmp_path, board, pinned=True).path.parent == board.directory
    assert hold_of(tmp_path, board, pinned=False).path == tmp_path / "hold.json"


def test_desk_when_there_is_no_room_to_write_a_request_down_then_it_says_so(shop: Shop, tmp_path: Path) -> None:
    board, older, newer = Board(tmp_path / "board"), shop.promote(), shop.promote()
    coordinator = Coordinator(board, "release", shop.source)
    coordinator.start(shop.source.wanted())
    (tmp_path / "file").write_text("")
    desk = ReleaseDesk(board, shop.store, HoldFile(tmp_path / "file" / "hold.json"))
    with pytest.raises(RequestError, match=r"hold.json: cannot be written .*, so nothing was changed; free some space"):
        desk.ask(ReleaseRequest(release_id=older))
    told = desk.answer()
    assert (told.release_id, told.followed, told.held, told.releases) == (newer, newer, False, [newer, older])


def test_desk_when_something_is_promoted_within_a_poll_of_a_rollback_then_the_operator_is_told(
    shop: Shop, tmp_path: Path
) -> None:
    board, older, newer = Board(tmp_path / "board"), shop.promote(), shop.promote()
    coordinator = Coordinator(board, "release", shop.source, poll_seconds=1e-9)
    coordinator.start(shop.source.wanted(), back_to=older)
    desk = ReleaseDesk(board, shop.store, shop.hold)
    newest = shop.promote()
    number = desk.ask(ReleaseRequest(action="rollback"))  # of what was seen: the supervisor has not looked since
    coordinator.tick()
    with pytest.raises(RequestError, match=f"{newest} was promoted at the same time and is served instead; ask again"):
        desk.is_done(number)
    assert coordinator.plan.serving.name == newer
    assert coordinator.plan.candidate is not None


class Answers:
    """An engine that answers by a table: items by user, or an error's code."""

    def __init__(self, by_user: dict[str | None, list[str] | str]) -> None:
        self._by_user = by_user

    def recommend(self, requests: Sequence[RecommendRequest]) -> list[RecommendAnswer | RequestError]:
        return [self._one(self._by_user.get(request.user_id, ["z"])) for request in requests]

    @staticmethod
    def _one(found: list[str] | str) -> RecommendAnswer | RequestError:
        if isinstance(found, str):
            return RequestError(422, found, "no")
        items = [RecommendedItem(item_id=item, score=1.0) for item in found]
        return RecommendAnswer(items=items, strategy="favourites", release_id="r", model_version="m")


ASKED = [RecommendRequest(user_id=user) for user in ("u", "v")]
# Two questions that any release can answer are asked beside: everybody else gets ["z"] of both.
SAME = Answers({"u": ["a", "b"], "v": ["c", "d"]})


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (SAME, {"requests": 2.0, "errors": 0.0, "empty": 0.0, "overlap": 1.0}),
        (
            Answers({"u": ["b", "x"], "v": ["c", "d"]}),
            {"requests": 2.0, "errors": 0.0, "empty": 0.0, "overlap": 3.5 / 4},
        ),
        (Answers({"u": [], "v": ["c", "d"]}), {"requests": 2.0, "errors": 0.0, "empty": 1 / 4, "overlap": 3 / 4}),
        # An item that the new catalogue lacks is no error of the release, and finds nothing.
        (
            Answers({"u": "unknown_item", "v": ["c"]}),
            {"requests": 2.0, "errors": 0.0, "empty": 1 / 4, "overlap": 2.5 / 3},
        ),
        (
            Answers({"u": "surface_missing", "v": ["c", "d"]}),
            {"requests": 2.0, "errors": 1 / 4, "empty": 0.0, "overlap": 1},
        ),
    ],
)
def test_compare_when_releases_differ_then_the_report_says_how_much(
    candidate: Answers, expected: dict[str, float]
) -> None:
    allowed = ReleaseSettings(max_error_share=1, max_empty_share=1)
    assert compare(SAME, candidate, ASKED, settings=allowed) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("candidate", "limits", "words"),
    [
        (Answers({"u": "surface_missing"}), {}, "errors 0.250 of 4 recent requests, at most 0 allowed"),
        (Answers({"u": [], "v": ["c"]}), {}, "empty 0.250 of 4 recent requests, at most 0.1 allowed"),
        (Answers({"u": ["x"], "v": ["y"]}), {"min_overlap": 0.9}, "overlap 0.500 of 4 recent requests, at least 0.9"),
    ],
)
def test_compare_when_a_limit_is_broken_then_the_release_is_refused(
    candidate: Answers, limits: dict[str, float], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        compare(SAME, candidate, ASKED, settings=ReleaseSettings(**limits))


def test_compare_when_lists_are_empty_now_here_now_there_then_nothing_is_amiss() -> None:
    one, other = Answers({"u": [], "v": ["c"]}), Answers({"u": ["c"], "v": []})
    assert compare(one, other, ASKED, settings=ReleaseSettings())["empty"] == 0


def test_compare_when_the_old_release_fails_too_then_the_new_one_is_not_blamed() -> None:
    broken = Answers({"u": "surface_missing", "v": "surface_missing"})
    assert compare(broken, broken, ASKED, settings=ReleaseSettings())["errors"] == 0


def test_start_when_the_first_workers_cannot_load_then_the_server_ends_with_their_reason(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.promote()
    board = Board(tmp_path / "board")
    coordinator = Coordinator(board, "release", shop.source)
    coordinator.start(shop.source.wanted())
    releases = Releases(board, coordinator)
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        releases._watch_the_start()
        releases.check_started()
        board.say(WorkerNote(pid=1, state="failed", reason="Release r: cannot be read; promote another."))
        releases._watch_the_start()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]
    with pytest.raises(ReleaseError, match="Release r: cannot be read"):
        releases.check_started()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"poll_seconds": 0}, "releases.poll_seconds: expected seconds above 0, found 0"),
        ({"replay": -1}, "releases.replay: expected 0 or more, found -1"),
        ({"min_overlap": 2}, "releases.min_overlap: expected a share from 0 to 1, found 2"),
        ({"also": ("a", "b", "c")}, "releases.also: expected at most max_also = 2, found 3"),
    ],
)
def test_settings_when_one_does_not_fit_then_it_is_named(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ReleaseSettings(**given)  # type: ignore[arg-type]


def test_settings_when_an_alias_is_followed_then_the_rest_stays() -> None:
    settings = msgspec.convert({"releases": {"replay": 7}}, ServeSettings).following("shadow")
    assert (settings.releases.follow, settings.releases.alias, settings.releases.replay) == ("alias", "shadow", 7)
