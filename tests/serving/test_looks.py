"""Someone who looks at a customer's lists sees what the customer would, and leaves no trace in experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.api.errors import RequestError
from serving.api.schemas import RecommendRequest
from serving.engine import Engine
from serving.engines import Engines
from serving.experiments.wishes import Wishes, WishList


def test_look_when_a_release_is_named_then_variants_apply_and_nothing_is_logged(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text("experiments:\n  spread: {variants: {diverse: {weight: 1.0, defaults: {diversity: 0.3}}}}\n")
    found = WishList.read(None, path)
    engines = Engines(engine, recent=5, wishes=Wishes(lambda: found))

    shown = engines.route(RecommendRequest(user_id="user-1"), body=b'{"user_id":"user-1"}')
    looked = engines.route(RecommendRequest(user_id="user-1", release_id=engine.release_id))
    assert shown.arm is not None
    assert looked.arm is not None
    assert shown.arm.variants == looked.arm.variants == {"spread": "diverse"}
    assert looked.request.diversity == 0.3
    assert (shown.arm.is_logged, looked.arm.is_logged) == (True, False)
    for preview in (
        engines.route(RecommendRequest(user_id="user-1", preview=True)),
        engines.route(RecommendRequest(user_id="user-1"), looks=True),
    ):
        assert preview.arm is not None
        assert (preview.arm.variants, preview.arm.is_logged) == (shown.arm.variants, False)
    assert engines.recent() == [RecommendRequest(user_id="user-1")]  # a look is no request of a customer
    with pytest.raises(RequestError, match="expected one that is held") as error:
        engines.route(RecommendRequest(user_id="user-1", release_id="nope"))
    assert error.value.code == "unknown_release"
