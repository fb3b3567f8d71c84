"""Off-policy estimates against a bandit whose value is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from training.evaluation.off_policy import BanditLog, FixedPolicy, PolicyOnLog, RewardModel, SoftmaxPolicy
from training.evaluation.off_policy.estimators import ESTIMATORS, Bootstrap, estimate_value
from training.evaluation.off_policy.reward_model import folds_of

NUM_ITEMS = 6
# One context, six items: what each earns, how the shop drew them, and how the target would.
EARNS = np.array([0.05, 0.1, 0.2, 0.3, 0.1, 0.02])
DRAWN = np.array([0.3, 0.3, 0.1, 0.1, 0.1, 0.1])
TARGET = np.array([0.05, 0.05, 0.3, 0.4, 0.1, 0.1])
VALUE = float(TARGET @ EARNS)
NOTHING = np.zeros(NUM_ITEMS)
FEW = Bootstrap(resamples=20)


def simulated(seed: int, *, num_exposures: int = 600, a_user: int = 3) -> BanditLog:
    rng = np.random.default_rng(seed)
    item = rng.choice(NUM_ITEMS, num_exposures, p=DRAWN)
    reward = (rng.random(num_exposures) < EARNS[item]).astype(float)
    return BanditLog.from_arrays(
        user=np.arange(num_exposures) // a_user, item=item, propensity=DRAWN[item], reward=reward
    )


def on(log: BanditLog, target: np.ndarray = TARGET, *, model: np.ndarray = NOTHING) -> PolicyOnLog:
    every = np.ones(len(log))
    return PolicyOnLog(
        chosen=target[log.item],
        supported=every * target.sum(),
        predicted_chosen=model[log.item],
        predicted=every * (target @ model),
    )


@pytest.fixture(scope="module")
def many() -> dict[str, np.ndarray]:
    """Estimates over 400 logs of the same bandit, with a good reward model."""
    found = [
        estimate_value(log, on(log, model=0.9 * EARNS), bootstrap=FEW)["value"] for log in map(simulated, range(400))
    ]
    return {name: np.array([one[name]["mean"] for one in found]) for name in ESTIMATORS}


@pytest.mark.parametrize("name", ["ips", "snips", "doubly_robust"])
def test_estimate_value_when_averaged_over_many_logs_then_it_is_the_policys_value(
    many: dict[str, np.ndarray], name: str
) -> None:
    error = many[name].std() / np.sqrt(len(many[name]))
    assert abs(many[name].mean() - VALUE) < 3 * error


def test_estimate_value_when_the_reward_model_is_good_then_doubly_robust_is_steadier_and_not_biased_as_the_model_is(
    many: dict[str, np.ndarray],
) -> None:
    assert many["doubly_robust"].std() < 0.9 * many["ips"].std()
    assert many["direct_method"] == pytest.approx(0.9 * VALUE), "the direct method repeats its model's error"


def test_estimate_value_when_written_out_then_each_estimator_follows_its_formula() -> None:
    log = BanditLog.from_arrays(user=[0, 0, 1], item=[0, 1, 0], propensity=[0.5, 0.25, 0.5], reward=[1, 0, 1])
    target = PolicyOnLog(
        chosen=np.array([0.2, 0.8, 0.2]),
        supported=np.ones(3),
        predicted_chosen=np.array([0.5, 0.1, 0.5]),
        predicted=np.full(3, 0.18),
    )
    found = estimate_value(log, target, clip=1.0, bootstrap=FEW)
    # Weights 0.4, 3.2, 0.4; clipped at 1: 0.4, 1, 0.4.
    expected = {
        "ips": (0.4 + 0.4) / 3,
        "snips": 0.8 / 4.0,
        "clipped_ips": 0.8 / 3,
        "direct_method": 0.18,
        "doubly_robust": 0.18 + (0.4 * 0.5 + 3.2 * -0.1 + 0.4 * 0.5) / 3,
    }
    assert {name: value["mean"] for name, value in found["value"].items()} == pytest.approx(expected)
    assert found["logged"]["mean"] == pytest.approx(2 / 3)
    assert found["lead"]["ips"]["mean"] == pytest.approx(0.8 / 3 - 2 / 3)
    assert found["checks"]["effective_sample_size"] == pytest.approx(4.0**2 / (0.4**2 * 2 + 3.2**2))
    assert found["checks"]["largest_weight"] == pytest.approx(3.2)
    assert found["clipping"] == pytest.approx({"at": 1.0, "share": 1 / 3, "bias": 0.0, "most_bias": -2.2 / 3})


def test_estimate_value_when_weights_are_clipped_then_the_bias_stands_beside_it() -> None:
    log = simulated(0)
    found = estimate_value(log, on(log), clip=2.0, bootstrap=FEW)
    weight = (TARGET / DRAWN)[log.item]
    assert found["clipping"]["bias"] == pytest.approx(
        (np.minimum(weight, 2) * log.reward).mean() - (weight * log.reward).mean()
    )
    assert found["clipping"]["most_bias"] <= found["clipping"]["bias"] < 0
    unclipped = estimate_value(log, on(log), bootstrap=FEW)
    assert unclipped["clipping"]["at"] == pytest.approx(np.sqrt(len(log)))
    assert unclipped["value"]["clipped_ips"] == unclipped["value"]["ips"], "no weight reaches the root of 600"


@given(shift=st.floats(0, 0.5), seed=st.integers(0, 50))
def test_snips_when_every_reward_rises_by_a_constant_then_it_rises_by_that_constant(shift: float, seed: int) -> None:
    log = simulated(seed, num_exposures=60)
    halved = dataclasses.replace(log, reward=log.reward / 2)
    raised = dataclasses.replace(halved, reward=halved.reward + shift)
    before, after = (estimate_value(x, on(x), bootstrap=FEW)["value"]["snips"]["mean"] for x in (halved, raised))
    assert after - before == pytest.approx(shift)


def test_intervals_when_users_have_several_exposures_then_they_are_as_wide_as_users_differ() -> None:
    rng = np.random.default_rng(1)
    lucky = np.repeat((rng.random(100) < 0.2).astype(float), 10)  # all of a user's exposures succeed, or none
    item = rng.choice(NUM_ITEMS, 1000, p=DRAWN)
    by_user, by_row = (
        BanditLog.from_arrays(user=user, item=item, propensity=DRAWN[item], reward=lucky)
        for user in (np.repeat(np.arange(100), 10), np.arange(1000))
    )
    wide, narrow = (
        estimate_value(log, on(log, DRAWN), bootstrap=Bootstrap(resamples=400))["value"]["ips"]
        for log in (by_user, by_row)
    )
    ratio = (wide["high"] - wide["low"]) / (narrow["high"] - narrow["low"])
    assert ratio == pytest.approx(np.sqrt(10), rel=0.25)


def test_intervals_when_logs_are_many_then_they_hold_the_value_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        log = simulated(1000 + seed)
        found = estimate_value(log, on(log, model=EARNS), bootstrap=Bootstrap(resamples=200))
        interval = found["value"]["doubly_robust"]
        held += interval["low"] <= VALUE <= interval["high"]
    assert 0.89 <= held / 200 <= 0.99


def test_balance_when_propensities_are_true_then_it_holds_and_when_scaled_then_it_does_not() -> None:
    log = simulated(2, num_exposures=3000)
    assert estimate_value(log, on(log))["checks"]["balanced"]
    for factor, word in ((0.5, "above 1: the propensities are not those of the log"), (1.4, "or the policy shows")):
        wrong = dataclasses.replace(log, propensity=log.propensity * factor)
        checks = estimate_value(wrong, on(wrong))["checks"]
        assert not checks["balanced"]
        assert word in checks["verdict"]
        assert "Do not use these estimates" in checks["verdict"]


def test_support_when_the_policy_shows_what_the_log_never_did_then_its_share_is_told() -> None:
    log = simulated(3, num_exposures=3000)
    within = 0.7 * TARGET  # three showings in ten go to items that the slot never showed
    checks = estimate_value(log, on(log, within))["checks"]
    assert checks["unsupported"] == pytest.approx(0.3)
    assert checks["balanced"], "a mean weight of 0.7 is what such a policy has"
    assert checks["mean_weight"]["mean"] == pytest.approx(0.7, abs=0.05)


def test_estimate_value_when_the_policy_never_shows_what_the_log_shows_then_it_is_refused() -> None:
    log = simulated(4)
    with pytest.raises(DataError, match="found weight 0 on all 600 exposures"):
        estimate_value(log, on(log, np.zeros(NUM_ITEMS)))


@pytest.mark.parametrize(
    ("propensity", "reason"),
    [
        ([0.5, np.nan, 0.5], "found 1 of 3 missing"),
        ([0.5, 0.0, 0.0], "found 2 of 3 zero or negative"),
        ([0.5, -0.1, 0.5], "found 1 of 3 zero or negative"),
        ([0.5, 1.2, 0.5], "found 1 of 3 above 1"),
        ([1.0, 1.0, 1.0], "log of a deterministic ranker"),
        ([], "found none"),
    ],
)
def test_bandit_log_when_propensities_are_none_then_it_is_refused_with_the_reason(
    propensity: list[float], reason: str
) -> None:
    rows = range(len(propensity))
    with pytest.raises(DataError, match=reason):
        BanditLog.from_arrays(user=rows, item=rows, propensity=propensity, reward=[0] * len(propensity))


def test_bandit_log_when_rewards_or_lengths_are_wrong_then_it_is_refused() -> None:
    with pytest.raises(DataError, match=r"rewards from 0 to 1, found 0 \.\. 3"):
        BanditLog.from_arrays(user=[0, 1], item=[0, 1], propensity=[0.5, 0.5], reward=[0, 3])
    with pytest.raises(DataError, match="arrays of one length, found 2, 1, 1 and 1"):
        BanditLog.from_arrays(user=[0, 1], item=[0], propensity=[0.5], reward=[0])


def test_softmax_policy_when_scores_differ_then_odds_are_as_plackett_and_luce_have_them() -> None:
    scores = np.log(np.array([[1.0, 2.0, 5.0]]))
    assert SoftmaxPolicy(name="p", temperature=1.0).probabilities(scores) == pytest.approx(np.array([[1, 2, 5]]) / 8)
    assert SoftmaxPolicy(name="p", temperature=0.01).probabilities(scores)[0, 2] == pytest.approx(1)
    with pytest.raises(ConfigError, match="temperature: expected a number above 0, found 0"):
        SoftmaxPolicy(name="p", temperature=0.0)


def test_fixed_policy_when_asked_then_everybody_gets_the_same_shares() -> None:
    policy = FixedPolicy(name="p", about="", weights=np.array([1.0, 3.0]))
    assert policy.probabilities(np.zeros((2, 2))).tolist() == [[0.25, 0.75], [0.25, 0.75]]


def test_reward_model_when_the_world_is_logistic_then_it_is_found_and_no_user_predicts_itself() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(20_000, 2)) * [2.0, 0.1] + [3.0, 7.0]
    chance = 1 / (1 + np.exp(2 - (features[:, 0] - 3) / 2))
    user = np.arange(20_000) // 4
    fold = folds_of(user, seed=0)
    assert all(len(set(fold[user == one])) == 1 for one in (0, 17, 4999))
    reward = (rng.random(20_000) < chance).astype(float)
    model = RewardModel.fit(features, reward, fold)
    assert np.abs(model.predict(features, fold) - chance).mean() < 0.01
    changed = RewardModel.fit(features, np.where(fold == 2, 1 - reward, reward), fold)
    assert np.allclose(model.predict(features, fold)[fold == 2], changed.predict(features, fold)[fold == 2])


def test_reward_model_when_nothing_was_rewarded_then_it_expects_about_nothing() -> None:
    features, fold = np.ones((100, 1)), np.arange(100) % 5
    predicted = RewardModel.fit(features, np.zeros(100), fold).predict(features, fold)
    assert (predicted >= 0).all()
    assert predicted.max() < 0.01
