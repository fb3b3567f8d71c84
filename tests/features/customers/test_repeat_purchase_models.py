"""BG/NBD, MBG/NBD, Pareto/NBD and Gamma-Gamma: against published figures, simulated buyers and slow integrals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate
from scipy.special import beta as beta_function
from scipy.special import gammaln

from features.customers.value import bg_nbd, pareto_nbd
from features.customers.value.bg_nbd import BgNbd
from features.customers.value.gamma_gamma import GammaGamma
from features.customers.value.histories import LEAST_REPEATERS, Histories
from features.customers.value.pareto_nbd import ParetoNbd
from features.errors import DataError
from tests.features.customers.buying_world import beta_geometric_world, pareto_world

TRUTH = {"r": 0.8, "alpha": 6.0, "a": 0.7, "b": 2.5}


def histories(*rows: tuple[float, float, float]) -> Histories:
    x, last, age = np.array(rows, np.float64).T
    return Histories(frequency=x, recency_weeks=last, age_weeks=age, count=np.ones(len(rows)))


@pytest.mark.parametrize("at_once", [False, True])
def test_beta_geometric_when_fitted_to_its_own_world_then_parameters_recovered(at_once: bool) -> None:
    world = beta_geometric_world(20_000, **TRUTH, weeks=130, seed=3, at_once=at_once)
    found = BgNbd.fit(world.histories(78), may_leave_at_once=at_once)
    assert {name: getattr(found, name) for name in TRUTH} == pytest.approx(TRUTH, rel=0.12)
    known, came = world.histories(78), world.came(78, 52)
    assert found.expected(known, days=364).sum() == pytest.approx(came.sum(), rel=0.04)
    assert found.alive(known).mean() == pytest.approx(world.alive(78).mean(), abs=0.02)
    assert found.silent(known, days=364).mean() == pytest.approx((came == 0).mean(), abs=0.01)
    often = found.alive(known) > 0.9
    assert world.alive(78)[often].mean() == pytest.approx(found.alive(known)[often].mean(), abs=0.02)


def test_pareto_nbd_when_fitted_to_its_own_world_then_parameters_recovered() -> None:
    world = pareto_world(5_000, r=0.6, alpha=10.0, s=0.6, beta=12.0, weeks=130, seed=5)
    known, came = world.histories(78), world.came(78, 52)
    found = ParetoNbd.fit(known)
    assert (found.r, found.alpha) == pytest.approx((0.6, 10.0), rel=0.12)
    assert (found.s, found.s / found.beta) == pytest.approx(
        (0.6, 0.05), rel=0.3
    )  # how fast they leave is the harder part
    assert found.expected(known, days=364).sum() == pytest.approx(came.sum(), rel=0.05)
    assert found.alive(known).mean() == pytest.approx(world.alive(78).mean(), abs=0.02)
    assert found.silent(known, days=364).mean() == pytest.approx((came == 0).mean(), abs=0.02)


@pytest.mark.parametrize("row", [(0, 0, 10), (1, 3, 10), (5, 30, 38.9), (300, 70, 71), (2, 1, 70)])
def test_pareto_nbd_when_compared_with_a_slow_integral_then_equal(row: tuple[float, float, float]) -> None:
    r, alpha, s, beta = 0.553, 10.578, 0.606, 11.669
    x, last, age = row

    def part(y: float) -> float:  # scaled, so that 300 purchases do not underflow
        return s / beta * (1 + y / beta) ** (-s - 1) * ((alpha + age) / (alpha + y)) ** (r + x)

    gone = integrate.quad(part, last, age, epsabs=0, epsrel=1e-10, limit=400)[0]
    here = (1 + age / beta) ** -s
    found = ParetoNbd(r=r, alpha=alpha, s=s, beta=beta).alive(histories(row))
    assert found == pytest.approx(here / (here + gone), rel=1e-8)


@pytest.mark.parametrize("a", [0.05, 0.793, 1.0, 1.2, 8.0])
@pytest.mark.parametrize("b", [1.1, 40.0])
@pytest.mark.parametrize("horizon", [0.01, 0.89, 0.91, 3.0])
def test_purchases_if_alive_when_compared_with_a_slow_integral_then_equal(a: float, b: float, horizon: float) -> None:
    """The mean over p of Beta(a, b) of (1 - (1 + p w)^-shape) / p, with u = p^a, which has no pole, where a < 1."""
    power = min(a, 1.0)
    for shape in (0.4, 7.4):

        def part(u: float, shape: float = shape) -> float:
            p = u ** (1 / power)
            first = -np.expm1(-shape * np.log1p(p * horizon)) / p if p > 0 else shape * horizon
            return first * p ** (a - power) * (1 - p) ** (b - 1)

        expected = integrate.quad(part, 0, 1, epsrel=1e-9)[0] / (power * beta_function(a, b))
        found = bg_nbd._purchases_if_alive(np.array([shape]), a, np.array([b]), np.array([horizon]))
        assert found == pytest.approx(expected, rel=1e-4)


def test_purchases_if_alive_when_the_series_is_lost_then_quantiles_answer() -> None:
    shape, b, horizon = np.array([3.0]), np.array([5.0]), np.array([0.4])
    by_series = bg_nbd._purchases_if_alive(shape, 0.8, b, horizon)
    assert bg_nbd._by_quantiles(shape, 0.8, b, horizon) == pytest.approx(by_series, rel=5e-3)
    far = bg_nbd._purchases_if_alive(np.array([400.0]), 0.01, np.array([500.0]), np.array([15.0]))
    assert np.isfinite(far).all()


@pytest.mark.parametrize("kind", ["BG/NBD", "MBG/NBD", "Pareto/NBD"])
def test_likelihood_when_stepped_then_the_gradient_is_its_slope(kind: str) -> None:
    rows, _ = histories((0, 0, 10), (1, 3, 10), (5, 30, 38.9), (40, 70, 71)).grouped()
    likelihood = (
        pareto_nbd._Likelihood(rows) if kind == "Pareto/NBD" else bg_nbd._Likelihood(rows, shift=int(kind[0] == "M"))
    )
    at = np.array([0.6, 8.0, 0.9, 4.0])
    _, slopes = likelihood(at)
    for place, slope in enumerate(slopes):
        step = np.zeros(4)
        step[place] = 1e-5 * at[place]
        rise = (likelihood(at + step)[0] - likelihood(at - step)[0]) / (2 * step[place])
        assert slope == pytest.approx(rise, rel=1e-5, abs=1e-7)


def test_bg_nbd_when_its_likelihood_is_written_out_then_equal() -> None:
    r, alpha, a, b, x, last, age = 0.5, 5.0, 0.8, 2.0, 3.0, 7.0, 12.0
    start = np.exp(gammaln(r + x) - gammaln(r)) * alpha**r
    stayed = beta_function(a, b + x) / beta_function(a, b) * (alpha + age) ** -(r + x)
    left = beta_function(a + 1, b + x - 1) / beta_function(a, b) * (alpha + last) ** -(r + x)
    found, _ = bg_nbd._Likelihood(histories((x, last, age)), shift=0)(np.array([r, alpha, a, b]))
    assert found == pytest.approx(np.log(start * (stayed + left)))
    alive = BgNbd(r=r, alpha=alpha, a=a, b=b).alive(histories((x, last, age)))
    assert alive == pytest.approx(stayed / (stayed + left))


def test_alive_when_there_is_no_repeat_then_certain_only_without_a_chance_to_leave_at_once() -> None:
    once = histories((0, 0, 100), (0, 0, 0))
    assert BgNbd(**TRUTH).alive(once).tolist() == [1.0, 1.0]
    patient, fresh = BgNbd(**TRUTH, may_leave_at_once=True).alive(once)
    assert patient < fresh == pytest.approx(2.5 / 3.2)  # b / (a + b): it may be over already


def test_expected_when_days_are_none_then_nothing_comes() -> None:
    rows = histories((0, 0, 0), (3, 7, 12))
    for model in (BgNbd(**TRUTH), BgNbd(**TRUTH, may_leave_at_once=True), ParetoNbd(r=1, alpha=5, s=1, beta=9)):
        assert model.expected(rows, days=0) == pytest.approx([0, 0], abs=1e-12)
        assert model.silent(rows, days=0) == pytest.approx([1, 1])
        assert (np.diff([model.expected(rows, days=days) for days in (1, 30, 365)], axis=0) > 0).all()


def test_fit_when_rows_are_grouped_then_the_same_parameters() -> None:
    world = beta_geometric_world(3_000, **TRUTH, weeks=60, seed=1)
    exact = world.histories(52)
    ages, last = np.ceil(exact.age_weeks), np.ceil(exact.recency_weeks)
    rounded = Histories(frequency=exact.frequency, recency_weeks=last, age_weeks=ages, count=exact.count)
    grouped, which = rounded.grouped()
    assert len(grouped) < len(rounded) == grouped.num_buyers
    assert grouped.frequency[which].tolist() == rounded.frequency.tolist()
    one, other = BgNbd.fit(rounded), BgNbd.fit(grouped)
    assert [one.r, one.b] == pytest.approx([other.r, other.b], rel=1e-6)


def test_fit_when_histories_are_very_many_then_some_stand_for_all() -> None:
    world = beta_geometric_world(3_000, **TRUTH, weeks=60, seed=1).histories(52)
    assert world.for_fitting(most=3_000).num_buyers == 3_000
    assert world.for_fitting(most=2_999).num_buyers == 1_500
    assert world.take(np.tile(np.arange(3_000), 20)).for_fitting(most=3_000).num_buyers == 60_000


def test_fit_when_too_few_bought_again_then_says_how_many() -> None:
    few = histories(*[(0, 0, 50)] * 500, *[(1, 20, 50)] * (LEAST_REPEATERS - 1))
    for fit in (BgNbd.fit, ParetoNbd.fit):
        with pytest.raises(DataError, match=r"at least 40 buyers who bought on a second day, found 39 of 539"):
            fit(few)


@pytest.mark.parametrize("row", [(1, 0, 5), (0, 2, 5), (2, 6, 5), (-1, 0, 5), (1, np.nan, 5)])
def test_histories_when_they_contradict_themselves_then_refused(row: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="count days of purchase"):
        histories((0, 0, 5), row)


def test_histories_when_made_of_days_then_in_weeks() -> None:
    made = Histories.from_days(num_days=[3, 1], first_days_ago=[14, 7], last_days_ago=[3, 7])
    assert (made.frequency.tolist(), made.recency_weeks.tolist()) == ([2, 0], [11 / 7, 0])
    assert made.age_weeks.tolist() == [2, 1]


def test_gamma_gamma_when_fitted_to_its_own_world_then_recovered() -> None:
    draw = np.random.default_rng(2)
    p, q, gamma = 6.25, 3.74, 15.44
    rates = draw.gamma(q, 1 / gamma, 30_000)  # of a buyer's gamma-distributed amounts
    x = draw.geometric(0.3, len(rates)).astype(float)
    z = draw.gamma(p * x, 1 / (rates * x))
    found = GammaGamma.fit(x, z)
    assert (found.p, found.q, found.gamma) == pytest.approx((p, q, gamma), rel=0.06)
    true_means = p / rates
    frequent = x >= 5
    assert found.expected(x, z)[frequent].mean() == pytest.approx(true_means[frequent].mean(), rel=0.02)
    assert found.expected(np.zeros(1), np.zeros(1)) == pytest.approx(found.mean)
    assert abs(found.correlation) < 0.02


def test_gamma_gamma_when_the_unit_of_money_changes_then_only_gamma_does() -> None:
    draw = np.random.default_rng(4)
    x, z = draw.geometric(0.4, 2_000).astype(float), draw.lognormal(3, 0.5, 2_000)
    dollars, cents = GammaGamma.fit(x, z), GammaGamma.fit(x, z * 100)
    assert (cents.p, cents.q, cents.gamma) == pytest.approx((dollars.p, dollars.q, dollars.gamma * 100), rel=1e-3)


def test_gamma_gamma_when_no_prices_are_known_then_refused() -> None:
    with pytest.raises(DataError, match="expected amounts of at least 40 buyers who bought again, found 0"):
        GammaGamma.fit(np.ones(100), np.zeros(100))
