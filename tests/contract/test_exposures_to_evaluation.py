"""What the service shows at random, read by the evaluation as it was written, tells what another policy would earn."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from features.build import FeatureSet
from features.exposure_log import ExposureLog, exposures_sql
from features.settings import EngineSettings
from serving.api.errors import RequestError
from serving.api.schemas import RecommendAnswer, RecommendRequest
from serving.engines import Engines, recommend_routed
from serving.experiments.experiment import Experiment, ExperimentSet, Layer, Variant
from serving.experiments.explore import Explore
from serving.experiments.exposures import ExposureWriter
from serving.experiments.wishes import Wishes, WishList
from serving.merchandising.house import Merchandising
from serving.release.state import ReleaseState
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, write_shop
from tests.serving.asking import engine_over
from tests.serving.tiny_release import AS_OF_US, build
from training.evaluation.off_policy import PolicyOnLog
from training.evaluation.off_policy.estimators import Bootstrap, estimate_value
from training.evaluation.off_policy.exposures import Question, read_slot

USERS = tuple(f"user-{number}" for number in range(8))
CANDIDATES = 8
ROUNDS = 100
STEP = dt.timedelta(minutes=5)
START = dt.datetime.fromtimestamp(AS_OF_US / 1e6, dt.UTC)
EXPLORING = ExperimentSet(
    layers=(
        Layer(
            name="home",
            experiments=(
                Experiment(
                    name="home",
                    salt="1",
                    share=1.0,
                    variants=(Variant(name="explore", explore=Explore(half_life=3.0, epsilon=0.2, candidates=CANDIDATES)),),
                ),
            ),
        ),
    )
)  # fmt: skip


class Served:
    """A log of exposures, the clicks that came of them, and what each customer's candidates were."""

    def __init__(self, directory: Path) -> None:
        tiny = build(directory / "store", num_items=40, num_users=10)
        self.now_us = AS_OF_US
        self.log = directory / "exposures"
        writer = ExposureWriter(self.log, wall=lambda: self.now_us)
        engine = engine_over(
            ReleaseState.load(tiny.store), tiny, directory, wall=lambda: self.now_us, exposures=writer,
            merchandising=Merchandising(rng=np.random.default_rng(3)),
        )  # fmt: skip
        engines = Engines(engine, wishes=Wishes(lambda: WishList(experiments=EXPLORING), wall=lambda: self.now_us))
        self.candidates = {
            user: [item.item_id for item in _answers(engines, user, k=CANDIDATES, plain=True).items] for user in USERS
        }
        self.clicks = self._clicks(engines)
        writer.close()

    def _clicks(self, engines: Engines) -> list[dict[str, object]]:
        rng, found = np.random.default_rng(4), []
        for number in range(ROUNDS):
            at = START + number * STEP
            self.now_us = AS_OF_US + number * round(STEP.total_seconds() * 1e6)
            for user in USERS:
                for place, item in enumerate(_answers(engines, user, k=2).items, start=1):
                    if rng.random() < self.liking(user, item.item_id):
                        after = dt.timedelta(seconds=30)
                        found.append(event(user, "view", at + after, item.item_id, slot=f"for_you_{place}"))
        return found

    def value_of_even_draws(self) -> float:
        """What a policy would earn that draws each customer's candidates alike."""
        return float(np.mean([self.liking(user, item) for user in USERS for item in self.candidates[user]]))

    def liking(self, user: str, item: str) -> float:
        """How likely a customer clicks on an item, wherever it stands: they like what the model ranks low."""
        return 0.6 if self.candidates[user].index(item) >= CANDIDATES // 2 else 0.05


def _answers(engines: Engines, user: str, *, k: int, plain: bool = False) -> RecommendAnswer:
    request = RecommendRequest(user_id=user, k=k)
    if plain:
        [answer] = engines.current.recommend([request])
        assert not isinstance(answer, RequestError)
        return answer
    [found] = recommend_routed([engines.route(request)])
    assert not isinstance(found, RequestError)
    assert found.keep is not None
    found.keep()
    return found.answer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def features(served: Served, tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    root = tmp_path_factory.mktemp("clicks")
    before = [event(user, "view", START - STEP, "item-0") for user in USERS]
    last = [event("user-0", "view", START + 2 * ROUNDS * STEP, "item-0")]
    write_shop(root / "data", events=[*before, *served.clicks, *last])
    build_model_features(root / "data", root / "features", engine=EngineSettings(threads=1))
    return FeatureSet.load(root / "features")


@pytest.mark.parametrize("slot", ["for_you_1", "for_you_2"])
def test_exposures_when_drawn_at_random_then_the_evaluation_finds_what_another_policy_earns(
    served: Served, features: FeatureSet, slot: str
) -> None:
    question = Question(slot=slot, variant="explore", reward="click", window_hours=0.05, from_us=AS_OF_US)
    found = read_slot(served.log, features, question)
    assert len(found.log) == ROUNDS * len(USERS)
    assert set(found.set_aside.values()) == {0}
    every = np.ones(len(found.log))
    even = PolicyOnLog(chosen=every / CANDIDATES, supported=every, predicted=0 * every, predicted_chosen=0 * every)
    estimate = estimate_value(found.log, even, bootstrap=Bootstrap(resamples=400))
    assert estimate["checks"]["balanced"], estimate["checks"]["verdict"]
    truth = served.value_of_even_draws()
    for name in ("ips", "snips"):
        value = estimate["value"][name]
        assert value["low"] < truth < value["high"], (name, truth, value)
        assert value["high"] - value["low"] < 0.25
    assert estimate["logged"]["mean"] < truth - 0.02, "the log itself earns something else"


def test_exposures_when_a_customer_is_erased_then_no_row_and_no_export_holds_them(served: Served) -> None:
    log = ExposureLog(directory=served.log)
    held = len(log.of(["user-7"]))
    assert held == 2 * ROUNDS
    assert log.erase(["user-7"]) == held
    assert not any(b'"user-7"' in path.read_bytes() for path in log.files())
    assert len(log.of(["user-6"])) == 2 * ROUNDS
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in log.files())
    assert "read_json" in exposures_sql(served.log)
