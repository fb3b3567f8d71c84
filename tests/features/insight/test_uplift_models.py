"""Models of uplift on worlds whose uplift is known."""

from __future__ import annotations

import builtins

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError, DataError
from features.insight.uplift.attributes import Encoding
from features.insight.uplift.learners import BASES, LEARNERS, Base, Learner, UpliftSettings, folds
from features.insight.uplift.model import UpliftModel, average_effect, groups_by_uplift, uplift_unseen
from features.insight.uplift.scores import qini_coefficient
from features.insight.uplift.trial import Trial


def _world(num_customers: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, Trial, np.ndarray]:
    """The campaign moves city customers who bought lately, by up to .4; a quarter is held out."""
    rng = np.random.default_rng(seed)
    recent, place = rng.random(num_customers), rng.choice(["city", "country", None], num_customers)
    attributes = pd.DataFrame({"recent": recent, "place": place, "noise": rng.normal(size=num_customers)})
    attributes.loc[::10, "noise"] = np.nan
    effect = 0.4 * recent * (place == "city")
    treated = rng.random(num_customers) < 0.75
    outcome = rng.random(num_customers) < 0.2 + 0.1 * (1 - recent) + effect * treated
    return attributes, Trial(outcome=outcome, treated=treated), effect


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("base", BASES)
def test_uplift_unseen_when_the_effect_is_planted_then_found(learner: Learner, base: Base) -> None:
    attributes, trial, effect = _world()
    found = uplift_unseen(attributes, trial, UpliftSettings(learner=learner, base=base, folds=2))
    assert np.corrcoef(found, effect)[0, 1] > 0.6
    assert qini_coefficient(trial, found) > 0.5 * qini_coefficient(trial, effect)


def test_uplift_when_there_is_none_then_the_order_is_worth_nothing() -> None:
    attributes, trial, _ = _world()
    shuffled = Trial(outcome=trial.outcome, treated=np.random.default_rng(1).permutation(trial.treated))
    found = uplift_unseen(attributes, shuffled)
    assert qini_coefficient(shuffled, found) < 0.5 * qini_coefficient(trial, _world()[2])


def test_average_effect_when_worlds_are_many_then_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    holds = []
    for seed in range(40):
        attributes, trial, effect = _world(600, seed=seed)
        found = average_effect(attributes, trial, UpliftSettings(folds=2))
        holds.append(found["low"] <= effect.mean() <= found["high"])
    assert sum(holds) >= 34  # of 40 at .95: fewer come with probability 0.003


def test_groups_by_uplift_when_the_order_is_the_truth_then_they_fall_and_hold_it() -> None:
    _, trial, effect = _world(8000)
    table = groups_by_uplift(trial, effect, groups=4)
    assert table["customers"].tolist() == [2000] * 4
    assert table["uplift"].iloc[0] > table["uplift"].iloc[-1] + 0.1
    assert ((table["low"] <= table["predicted"]) & (table["predicted"] <= table["high"])).all()
    assert table["uplift"].iloc[0] == pytest.approx(table["treated_mean"].iloc[0] - table["control_mean"].iloc[0])


def test_folds_when_arms_are_uneven_then_each_fold_has_its_share() -> None:
    trial = Trial(outcome=[1] * 3 + [0] * 9, treated=[True, False, True] * 4)
    fold = folds(trial, UpliftSettings(folds=3))
    assert np.bincount(fold, minlength=3).min() >= 3
    with pytest.raises(DataError, match=r"each of 5 folds, found 4 customers in it; ask for fewer folds"):
        folds(trial, UpliftSettings(folds=5))


def test_encoding_when_words_are_new_or_values_missing_then_still_numbers() -> None:
    encode = Encoding.of(pd.DataFrame({"spent": [0.0, 10.0, None], "flat": [1, 1, 1], "by": ["app", "web", "app"]}))
    # spent: mean 5, spread 5, middle 5; a hole is marked; app and web have a column each; flat says nothing.
    found = encode(pd.DataFrame({"spent": [10.0, np.nan], "by": ["web", "post"], "flat": [1, 2]}))
    assert found.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]
    with pytest.raises(DataError, match=r"expected an attribute 'by', found \['spent'\]"):
        encode(pd.DataFrame({"spent": [1.0]}))
    with pytest.raises(DataError, match="expected an attribute in which customers differ"):
        Encoding.of(pd.DataFrame({"flat": [1, 1]}))
    with pytest.raises(DataError, match=r"expected numbers or texts in 'at', found datetime64"):
        Encoding.of(pd.DataFrame({"at": pd.to_datetime(["2024-01-01"])}))


def test_fit_when_scikit_learn_is_missing_then_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    attributes, trial, _ = _world(50)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"expected the package 'scikit-learn', found none; run `pip install"):
        UpliftModel.fit(attributes, trial)


def test_fit_when_rows_do_not_match_then_says_so() -> None:
    attributes, trial, _ = _world(50)
    with pytest.raises(DataError, match="expected attributes of 50 customers, found 49 rows"):
        UpliftModel.fit(attributes[1:], trial)
