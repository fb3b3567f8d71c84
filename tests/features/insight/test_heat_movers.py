"""Movers and fallers: the test by hand and against scipy, and its error rates over worlds without a change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom, binomtest

from features.errors import ConfigError
from features.insight.heat import MoversDefinition, movers
from features.insight.heat.movers import dispersions, p_value, prior_freedom
from features.insight.heat.movers import tested as compared
from tests.features.insight.insight_events import day, in_pandas, log

RISING = MoversDefinition(relative=False)


@pytest.mark.parametrize(("now", "before"), [(3, 12), (10, 10), (0, 7), (0, 0), (31, 20)])
def test_p_value_when_counts_are_poisson_then_the_binomial_tests(now: int, before: int) -> None:
    expected = (
        min(1.0, 2 * binomtest(min(now, before), now + before, alternative="less").pvalue) if now + before else 1.0
    )
    assert p_value(now, before, size=np.inf) == pytest.approx(expected)


@pytest.mark.parametrize(("now", "before", "size", "odds"), [(3, 12, 4.0, 1.0), (40, 12, 2.5, 0.7), (0, 9, 11.0, 1.3)])
def test_p_value_when_counts_are_over_dispersed_then_the_beta_binomials(
    now: int, before: int, size: float, odds: float
) -> None:
    share, total = odds / (1 + odds), now + before
    law = betabinom(total, 2 * size * share, 2 * size * (1 - share))
    expected = min(1.0, 2 * min(law.cdf(now), law.sf(now - 1)))
    assert p_value(now, before, size=size, odds=odds) == pytest.approx(expected)


def test_p_value_when_sums_are_large_then_the_normal_continues_the_exact_one() -> None:
    for now in (9_700, 9_990, 10_400):
        exact, normal = (p_value(now, total - now, size=400.0) for total in (20_000, 20_001))
        assert normal == pytest.approx(exact, rel=0.02)


def test_p_value_when_over_dispersed_then_a_wave_is_no_change() -> None:
    assert p_value(30, 60, size=np.inf) < 0.003
    assert p_value(30, 60, size=8.0) > 0.1  # four blocks of which each varies by 70% of its mean


def _worlds(rng: np.random.Generator, mean: np.ndarray, alpha: float) -> pd.DataFrame:
    mu = mean[:, None] * np.ones(8)
    return pd.DataFrame(rng.poisson(mu * rng.gamma(1 / alpha, alpha, mu.shape) if alpha else mu))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.4])
def test_dispersions_when_all_rows_share_one_then_found(alpha: float) -> None:
    rng = np.random.default_rng(2)
    blocks = _worlds(rng, rng.uniform(10, 60, 1500), alpha).to_numpy(float).reshape(-1, 2, 4)
    assert dispersions(blocks, prior=10**6).mean() == pytest.approx(alpha, abs=0.02 + 0.05 * alpha)


def test_prior_freedom_when_rows_differ_in_truth_then_they_tell_less_of_each_other() -> None:
    rng = np.random.default_rng(4)
    mean, alpha = np.full((400, 8), 40.0), 0.3 * rng.lognormal(-0.245, 0.7, (400, 1))
    alike = _worlds(rng, mean[:, 0], 0.3).to_numpy(float).reshape(-1, 2, 4)
    apart = rng.poisson(mean * rng.gamma(1 / alpha, alpha, mean.shape)).astype(float).reshape(-1, 2, 4)
    assert prior_freedom(alike) > 40
    assert prior_freedom(apart) < 15
    assert prior_freedom(apart[:5]) == 6  # too few rows: as many as a row's own


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_movers_when_nothing_changed_then_few_worlds_say_anything(alpha: float) -> None:
    rng = np.random.default_rng(11)
    said, p = 0, []
    for _ in range(25):
        table = compared(_worlds(rng, rng.uniform(5, 80, 60), alpha), RISING)
        said += bool((table["verdict"] != "").any())
        p += table["p"].tolist()
    assert said <= 4  # 5% of 25 is 1.25; 5 or more would come once in 140 runs
    assert np.mean(np.array(p) < 0.05) < 0.06


def test_movers_when_some_changed_then_they_are_found_and_the_rate_of_false_ones_is_kept() -> None:
    rng = np.random.default_rng(7)
    true, false = 0, 0
    for _ in range(10):
        counts = _worlds(rng, np.full(100, 40.0), 0.05)
        counts.iloc[:10, :4] = _worlds(rng, np.full(10, 100.0), 0.05).iloc[:, :4].to_numpy()
        found = set(compared(counts, RISING).query("verdict == 'mover'")["value"])
        true, false = true + len(found & set(range(10))), false + len(found - set(range(10)))
    assert true >= 95
    assert false <= 0.1 * true


def test_movers_when_read_from_events_then_customers_on_days_in_two_periods() -> None:
    rows = []
    for number in range(56):  # the rug sells to a customer more a day in the second half, the lamp does not
        for one in range(3 if number >= 28 else 1):
            rows += [(f"u{one}", "purchase", number, minute, "rug") for minute in (0, 5)]  # twice a day counts once
        rows.append(("v", "purchase", number, 0, "lamp"))
    rows += [("w", "purchase", 56, 0, "rug"), ("w", "view", 40, 0, "lamp"), ("w", "purchase", 3, 0, "vase")]
    table = movers(in_pandas(log(rows)), RISING, as_of=day(55)).set_index("value")
    assert table[["before", "now"]].to_numpy().tolist() == [[28, 84], [28, 28]]  # the vase has too few
    assert table["verdict"].to_dict() == {"rug": "mover", "lamp": ""}
    assert table.loc["lamp", "change"] == 1
    assert table.loc["rug", "change"] == pytest.approx(84.5 / 28.5)
    # Against the shop, whose purchases doubled but for the vase's one (112 of 57), the lamp lags.
    against = movers(in_pandas(log(rows)), MoversDefinition(), as_of=day(55)).set_index("value")
    assert against.loc["lamp", "change"] == pytest.approx(57 / 112)
    assert against.loc["lamp", "p"] < 0.1


def test_movers_when_there_are_no_rows_then_empty() -> None:
    assert movers(in_pandas(log([])), MoversDefinition(), as_of=day(1)).empty


def test_movers_definition_when_something_is_wrong_then_says_what_was_expected() -> None:
    with pytest.raises(ConfigError, match=r"period_days: expected whole blocks of 7 days, found 30 days"):
        MoversDefinition.parse({"period_days": 30}, where="moving")
    with pytest.raises(ConfigError, match=r"moving\.level: expected a share between 0 and 1, found 5"):
        MoversDefinition.parse({"level": 5}, where="moving")
