"""Models of attribution: rules by hand, Markov against an analytic case and a simulation, Shapley against brute force."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.insight.attribution import MODELS, AttributionDefinition, JourneyCounts, attribute, credit_table
from features.insight.attribution.games import MOST_EXACT, Weights, shapley_values
from features.insight.attribution.markov import Chain
from features.insight.attribution.shapley import Sets
from features.insight.attribution.spend import returns, spend_by_touch

Paths = dict[tuple[str, ...], tuple[int, int, float]]
A, B, X = "a", "b", "x"


def credit_of(paths: Paths, model: str, **more: object) -> dict[str, float]:
    counts = JourneyCounts.of_paths(paths)
    definition = AttributionDefinition(models=(model,), **more)  # type: ignore[arg-type]
    found = attribute(counts, definition, num_samples=0)[model]
    assert found.found.sum(axis=0) == pytest.approx(counts.total)
    return {touch: value for touch, value in zip(found.touches, found.found[:, 0].tolist(), strict=True) if value}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first", {"a": 10, "direct": 5}),
        ("last", {"direct": 15}),
        ("last_non_direct", {"b": 10, "direct": 5}),
        ("linear", {"a": 5, "b": 2.5, "direct": 7.5}),
        ("position", {"a": 5, "b": 1, "direct": 9}),
    ],
)
def test_rule_when_worked_by_hand_then_credits_so(model: str, expected: dict[str, float]) -> None:
    paths = {("a", "a", "b", "direct"): (10, 3, 500.0), ("direct",): (5, 40, 100.0), ("b",): (0, 7, 0.0)}
    assert credit_of(paths, model) == pytest.approx(expected)


def test_position_when_there_are_one_two_or_three_touches_then_as_stated() -> None:
    assert credit_of({("a",): (1, 0, 1.0)}, "position") == {"a": 1.0}
    assert credit_of({("a", "b"): (1, 0, 1.0)}, "position") == {"a": 0.5, "b": 0.5}
    assert credit_of({("a", "b", "x"): (1, 0, 1.0)}, "position") == pytest.approx({"a": 0.4, "b": 0.2, "x": 0.4})


def chain_of(paths: Paths, order: int) -> tuple[JourneyCounts, Chain, np.ndarray]:
    counts = JourneyCounts.of_paths(paths)
    chain, observed = Chain.of_counts(counts, order=order)
    return counts, chain, observed.sum(axis=0)


def test_markov_when_solved_on_paper_then_equal() -> None:
    # start -> a 1/2, start -> b 1/2; a -> b 1/2; b -> converted 2/3: P = 1/2 * 1/2 * 2/3 + 1/2 * 2/3 = 1/2
    paths = {("a", "b"): (1, 0, 60.0), ("a",): (0, 1, 0.0), ("b",): (1, 1, 0.0)}
    counts, chain, observed = chain_of(paths, 1)
    effects = chain.removal_effects(observed)[:, 0]
    assert dict(zip(counts.touches, effects.tolist(), strict=True)) == pytest.approx({"a": 1 / 3, "b": 1, "direct": 0})
    assert credit_of(paths, "markov") == pytest.approx({"a": 2 / 4, "b": 6 / 4})


PATHS: Paths = {
    ("a",): (20, 180, 900.0),
    ("b",): (30, 120, 800.0),
    ("a", "b"): (60, 90, 4000.0),
    ("b", "a", "a"): (10, 70, 100.0),
    ("a", "x", "b"): (40, 30, 2500.0),
    ("x", "x"): (2, 60, 300.0),
    ("x", "b", "x", "a"): (25, 25, 700.0),
}


@pytest.mark.parametrize("order", [1, 2])
def test_markov_when_its_chain_is_simulated_then_the_removal_effects_are_met(order: int) -> None:
    counts, chain, observed = chain_of(PATHS, order)
    moves, ends = chain._probabilities(observed)
    effects = chain.removal_effects(observed)[:, 0]
    rng = np.random.default_rng(7)

    def simulated(removed: int, num_journeys: int = 20_000) -> float:
        """Walk the chain; ends[:, 0] is the chance to convert where a state is left for good."""
        cumulated = np.cumsum(np.column_stack([moves, ends[:, 0]]), axis=1)
        state, won = np.zeros(num_journeys, np.int64), 0
        while len(state):
            following = (rng.random(len(state))[:, None] >= cumulated[state]).sum(axis=1)
            won += int((following == len(moves)).sum())
            state = following[following < len(moves)]
            state = state[chain.touch[state] != removed]
        return won / num_journeys

    whole = simulated(-2)
    assert whole == pytest.approx(counts.total[0] / counts.journeys.sum(), abs=0.01)
    for touch in (code for code, name in enumerate(counts.touches) if name != "direct"):
        assert 1 - simulated(touch) / whole == pytest.approx(effects[touch], abs=0.025)


def test_markov_when_it_remembers_two_touches_then_it_tells_journeys_apart_that_share_the_last() -> None:
    paths: Paths = {("a", "x"): (100, 0, 1.0), ("b", "x"): (0, 100, 0.0)}
    assert credit_of(paths, "markov")["b"] == pytest.approx(25)
    assert "b" not in credit_of(paths, "markov", markov_order=2)


def by_permutations(worth: dict[frozenset[int], float], num_players: int) -> list[float]:
    """What each player adds, over all orders in which they may come."""
    values = np.zeros(num_players)
    orders = list(itertools.permutations(range(num_players)))
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            values[player] += worth[before | {player}] - worth[before]
    return (values / len(orders)).tolist()


@settings(max_examples=25, deadline=None)
@given(num_players=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_shapley_when_worked_out_over_all_orders_then_equal(num_players: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    worth = {
        frozenset(inside): float(rng.normal())
        for size in range(num_players + 1)
        for inside in itertools.combinations(range(num_players), size)
    }

    def brought(inside: np.ndarray) -> np.ndarray:
        return np.array([[worth[frozenset(np.flatnonzero(row).tolist())]] for row in inside])

    values, errors = shapley_values(brought, num_players)
    assert values[:, 0].tolist() == pytest.approx(by_permutations(worth, num_players), abs=1e-9)
    assert values.sum() == pytest.approx(worth[frozenset(range(num_players))] - worth[frozenset()])
    assert not errors.any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), game=st.sampled_from(["rate", "conversions"]))
def test_shapley_when_journeys_are_random_then_equal_to_the_game_over_all_orders(seed: int, game: str) -> None:
    """The whole game, over all touches at once, by the words of its definition."""
    rng = np.random.default_rng(seed)
    names = ["a", "b", "direct", "x"]
    paths: Paths = {}
    for _ in range(rng.integers(1, 12)):
        path = tuple(rng.choice(names, rng.integers(1, 5)).tolist())
        paths[path] = (int(rng.integers(0, 9)), int(rng.integers(1, 9)), 1.0)
    sums: dict[frozenset[int], list[float]] = {}
    for path, (won, lost, _) in paths.items():
        found = sums.setdefault(frozenset(names.index(name) for name in path), [0.0, 0.0])
        found[0], found[1] = found[0] + won, found[1] + won + lost

    def worth(coalition: frozenset[int]) -> float:
        if game == "conversions":
            return sum(won for touches, (won, _) in sums.items() if touches <= coalition)
        rates = {touches: won / number for touches, (won, number) in sums.items()}
        return sum(number * rates.get(touches & coalition, 0.0) for touches, (_, number) in sums.items())

    inside = [frozenset(part) for size in range(5) for part in itertools.combinations(range(4), size)]
    expected = by_permutations({part: worth(part) for part in inside}, 4)
    counts = JourneyCounts.of_paths({("a", "b", "direct", "x"): (0, 0, 0.0), **paths})
    sets, observed = Sets.of_counts(counts, game=game)  # type: ignore[arg-type]
    code = [counts.touches.index(name) if name in counts.touches else -1 for name in names]
    credit = sets.credits(observed.sum(axis=0))[:, 0]
    found_values = [credit[number] if number >= 0 else 0.0 for number in code]
    assert found_values == pytest.approx(expected, abs=1e-9)
    assert credit.sum() == pytest.approx(counts.total[0])


def test_shapley_when_permutations_are_sampled_then_near_the_exact_values_within_their_errors() -> None:
    rng = np.random.default_rng(0)
    strength, together = rng.random(9), rng.random((9, 9))

    def worth(inside: np.ndarray) -> np.ndarray:
        pairs = np.einsum("mi,ij,mj->m", inside, together, inside)
        return np.asarray(1 - np.exp(-(inside @ strength + pairs) / 10))[:, None]

    exact, _ = shapley_values(worth, 9)
    weights = Weights.of_permutations(9, num_pairs=300, rng=np.random.default_rng(1))
    sampled, errors = weights.values(worth(weights.inside))
    assert sampled.sum() == pytest.approx(exact.sum())
    assert np.all(np.abs(sampled - exact) < 4 * errors)
    assert np.all((errors > 0) & (errors < 0.01))


def test_shapley_when_journeys_have_more_touches_than_are_asked_exactly_then_sums_and_states_its_error() -> None:
    names = [f"t{number:02d}" for number in range(MOST_EXACT + 2)]
    paths: Paths = {tuple(names): (50, 50, 100.0), **{(name,): (5, 95, 10.0) for name in names}}
    paths[tuple(names[:5])] = (30, 70, 60.0)
    counts = JourneyCounts.of_paths(paths)
    credit = attribute(counts, AttributionDefinition(models=("shapley",)), num_samples=0)["shapley"]
    assert credit.found.sum(axis=0) == pytest.approx(counts.total)
    assert credit.standard_error[0].tolist() == [0.0, 0.0]  # direct, of no journey
    assert np.all(credit.standard_error[1:, 0] > 0)


def test_shapley_when_asked_for_all_coalitions_of_too_many_then_says_so() -> None:
    with pytest.raises(ConfigError, match="expected 1 to 12 players, found 13"):
        Weights.of_all(13)


def grouped_counts(seed: int) -> JourneyCounts:
    """Independent users in 256 groups, four in ten of whose journeys end in x."""
    rng = np.random.default_rng(seed)
    paths = [("a", "x"), ("a", "b"), ("b",)]
    share = [(0.1, 0.4), (0.2, 0.3), (0.05, 0.3)]  # converts, how many go this way
    rows = []
    for group in range(256):
        for path, (rate, part) in zip(paths, share, strict=True):
            number = int(rng.poisson(20 * part))
            won = int(rng.binomial(number, rate))
            rows += [(path, group, True, won), (path, group, False, number - won)]
    touches = ("a", "b", "direct", "x")
    return JourneyCounts(
        touches=touches,
        offsets=np.cumsum([0, *(len(row[0]) for row in rows)]),
        step=np.array([touches.index(name) for row in rows for name in row[0]]),
        group=np.array([row[1] for row in rows]),
        converted=np.array([row[2] for row in rows]),
        journeys=np.array([row[3] for row in rows], float),
        revenue=np.array([10.0 * row[3] * row[2] for row in rows]),
        decayed=np.zeros((256, 4, 2)),
    )


def test_interval_when_users_are_independent_then_as_wide_as_the_scatter_of_worlds() -> None:
    models = ("last", "markov", "shapley")
    definition = AttributionDefinition(models=models)
    worlds = [attribute(grouped_counts(seed), definition, num_samples=0) for seed in range(60)]
    one = attribute(grouped_counts(1000), definition)
    for model in models:
        scatter = np.std([world[model].found[:, 0] for world in worlds], axis=0)
        low, high = one[model].interval()
        known = scatter > 0
        assert ((high - low)[:, 0] / 3.92)[known] == pytest.approx(scatter[known], rel=0.4)


def test_credit_table_when_made_then_a_row_a_model_and_touch_whose_parts_sum_to_the_total() -> None:
    counts = grouped_counts(0)
    table = credit_table(list(attribute(counts, num_samples=20).values()))
    assert list(dict.fromkeys(table["model"])) == list(MODELS)
    sums = table[table["model"] != "time_decay"].groupby("model")[["conversions", "revenue", "revenue_share"]].sum()
    assert np.allclose(sums.to_numpy(), [*counts.total, 1.0])
    assert (table["conversions_low"] <= table["conversions_high"]).all()


def test_returns_when_spend_is_laid_beside_then_cost_and_return_have_intervals_of_the_credit() -> None:
    spend = pd.DataFrame(
        {
            "day": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-02", "2026-02-01"]),
            "channel": ["x", "x", "tv", "x"],
            "cost": [600, 400, 900, 7],
            "campaign_id": [None, "c1", None, None],
        }
    )
    january = (pd.Timestamp("2026-01-01").date(), pd.Timestamp("2026-01-31").date())
    costs = spend_by_touch(spend, days=january)
    assert costs.set_index("touch")["cost"].to_dict() == {"x": 1000, "tv": 900}
    last = attribute(grouped_counts(0), AttributionDefinition(models=("last",)))["last"]
    rows = {row.touch: row for row in returns(last, costs).itertuples()}
    x: Any = rows["x"]
    assert x.cost_per_conversion == pytest.approx(1000 / x.conversions)
    assert x.return_on_spend == pytest.approx(10 * x.conversions / 1000)
    assert x.cost_per_conversion_low < x.cost_per_conversion < x.cost_per_conversion_high
    assert x.return_on_spend_low < x.return_on_spend < x.return_on_spend_high
    tv: Any = rows["tv"]
    b: Any = rows["b"]
    assert tv.return_on_spend == 0
    assert np.isnan([tv.cost_per_conversion, b.return_on_spend]).all()


def test_spend_when_touches_are_sources_then_refused() -> None:
    with pytest.raises(
        ConfigError, match="touch: expected one of channel, campaign_id to lay spend beside, found 'source'"
    ):
        spend_by_touch(pd.DataFrame(), AttributionDefinition(touch="source"))
