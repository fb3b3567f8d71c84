"""What holds of every surface: clean lists, batches, errors, erasure, older releases."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.api.errors import RequestError
from serving.api.schemas import Filters, RecommendRequest
from serving.engine import Engine
from serving.release.state import ReleaseState
from tests.serving.asking import ask, bought_of, engine_over, ids, reasons, strategies
from tests.serving.tiny_release import TinyRelease, build

# every surface

EVERY = ("for_you", "similar", "upgrade", "bought_together", "buy_it_again", "new_arrivals", "trending")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    surface=st.sampled_from(EVERY),
    user=st.none() | st.integers(0, 29),
    item=st.integers(0, 199),
    k=st.integers(1, 60),
    exclude_seen=st.booleans(),
    repeat=st.sampled_from([None, "allow", "discount", "exclude"]),
    filters=st.builds(
        Filters,
        category=st.sampled_from([None, "food", "home/lamps"]),
        brand=st.sampled_from([None, "brand-6"]),
        max_price=st.none() | st.integers(500, 2100),
    ),
)
def test_surfaces_when_asked_anything_then_lists_are_clean(  # noqa: PLR0917 - hypothesis gives them
    engine: Engine,
    tiny: TinyRelease,
    surface: str,
    user: int | None,
    item: int,
    k: int,
    exclude_seen: bool,
    repeat: str | None,
    filters: Filters,
) -> None:
    user_id = None if user is None else f"user-{user}"
    answer = ask(
        engine, surface=surface, user_id=user_id, item_id=f"item-{item}", k=k, exclude_seen=exclude_seen,
        repeat=repeat, filters=filters, explain=True,
    )  # fmt: skip
    codes = tiny.vocabulary.encode(ids(answer))
    assert len(set(ids(answer))) == len(answer.items) <= k
    assert tiny.catalog.available[codes].all()
    assert all(better.score >= worse.score for better, worse in pairwise(answer.items))
    assert all(reasons(answer))
    for code in codes:
        assert filters.brand in (None, tiny.catalog.brand[code])
        assert f"{tiny.catalog.category[code]}/".startswith(f"{filters.category}/" if filters.category else "")
        assert filters.max_price is None or 0 <= tiny.catalog.price[code] <= filters.max_price
    if surface in ("similar", "upgrade", "bought_together"):
        assert f"item-{item}" not in ids(answer)
    if user_id is not None and surface != "buy_it_again":
        seen = set(tiny.vocabulary.decode(tiny.history_of(user_id)))
        assert not (exclude_seen and seen & set(ids(answer)))
        assert not (repeat == "exclude" and bought_of(tiny, user_id) & set(ids(answer)))


def test_surfaces_when_asked_together_then_each_answer_is_that_of_one_by_one(engine: Engine) -> None:
    requests = [
        RecommendRequest(user_id=f"user-{n}", surface=EVERY[n % 7], item_id=f"item-{n}", k=4 + n)  # type: ignore[arg-type]
        for n in range(30)
    ]
    requests.append(RecommendRequest(surface="similar"))
    for request, answer in zip(requests, engine.recommend(requests), strict=True):
        alone = engine.recommend([request])[0]
        if isinstance(answer, RequestError):
            assert isinstance(alone, RequestError)
        else:
            assert not isinstance(alone, RequestError)
            assert (ids(answer), strategies(answer)) == (ids(alone), strategies(alone))


@pytest.mark.parametrize("surface", ["similar", "upgrade", "bought_together"])
def test_item_surfaces_when_the_item_is_missing_or_unknown_then_the_error_says_so(engine: Engine, surface: str) -> None:
    with pytest.raises(RequestError, match="expects the item that the page shows, found none") as missing:
        ask(engine, surface=surface)
    assert (missing.value.status, missing.value.code) == (422, "item_id_missing")
    with pytest.raises(RequestError, match="item_id: the release knows no item 'nope'") as unknown:
        ask(engine, surface=surface, item_id="nope")
    assert (unknown.value.status, unknown.value.code) == (422, "unknown_item")


def test_surfaces_when_the_customer_is_erased_then_nothing_of_them_is_used(engine: Engine) -> None:
    engine.erase("user-4")
    assert ids(ask(engine, surface="buy_it_again", user_id="user-4")) == []
    for surface in ("for_you", "new_arrivals", "trending"):
        assert ids(ask(engine, surface=surface, user_id="user-4")) == ids(ask(engine, surface=surface))


@pytest.fixture(scope="module")
def plain_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Over a release that was made before there were surfaces."""
    plain = build(tmp_path_factory.mktemp("plain") / "store", surfaces=False)
    return engine_over(ReleaseState.load(plain.store), plain, tmp_path_factory.mktemp("live"))


@pytest.mark.parametrize(
    ("surface", "file"),
    [
        ("bought_together", "bought_together.parquet"),
        ("trending", "trending.parquet"),
        ("buy_it_again", "repurchase.parquet"),
    ],
)
def test_surfaces_when_the_release_lacks_their_file_then_the_error_says_train_again(
    plain_engine: Engine, surface: str, file: str
) -> None:
    with pytest.raises(RequestError, match=rf"no {file}, .* train the retrieval part again") as missing:
        ask(plain_engine, surface=surface, item_id="item-1")
    assert (missing.value.status, missing.value.code) == (409, "surface_missing")


def test_surfaces_when_the_release_is_older_than_they_are_then_the_rest_answers(plain_engine: Engine) -> None:
    for surface in ("for_you", "similar", "upgrade", "new_arrivals"):
        assert ask(plain_engine, surface=surface, item_id="item-0", user_id="user-1", k=3).strategy
