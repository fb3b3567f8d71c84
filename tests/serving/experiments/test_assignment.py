"""Who gets which variant: even, sticky, and the same for all devices of a customer."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from serving.api.schemas import RecommendRequest
from serving.experiments.experiment import Experiment, ExperimentSet, Layer, Variant, lanes, share_of, whose
from serving.experiments.parse import read_experiments
from serving.experiments.wishes import Wishes, WishList

UNITS = tuple(f"customer-{number}" for number in range(4000))
WHOLE = """
holdout: {share: 0.1, salt: "2026"}
experiments:
  rules: {layer: lists, buckets: [0, 499], surface: for_you, variants: {control: {}, strict: {weight: 0.5, rules: strict.yaml}}}
  spread: {layer: lists, buckets: [500, 799], variants: {control: {}, diverse: {weight: 0.2, defaults: {diversity: 0.3}}}}
  draw:
    since: 2026-12-01T00:00:00+01:00
    until: 2026-12-31T00:00:00+01:00
    variants: {control: {}, explore: {weight: 0.25, explore: {half_life: 3, candidates: 20}}}
"""
DECEMBER_US = 1_796_500_000_000_000


def wishes(directory: Path, text: str = WHOLE, *, now_us: int = DECEMBER_US) -> Wishes:
    (directory / "strict.yaml").write_text("rules: {less: {bury: {brand: acme, by: 0.2}}}\n")
    path = directory / "experiments.yaml"
    path.write_text(text)
    found = WishList.read(None, path)
    return Wishes(lambda: found, wall=lambda: now_us)


def variants(book: Wishes, unit: str, surface: str = "for_you") -> dict[str, str]:
    _, arm = book.assign(RecommendRequest(user_id=unit, surface=surface))
    return {} if arm is None else arm.variants


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_lanes_when_shares_fit_then_everyone_has_theirs_and_nobody_two(raw: list[float]) -> None:
    shares = [one / max(1.0, sum(raw)) for one in raw]
    spans = lanes(shares)
    for row, share in enumerate(shares):
        assert sum(high - low for low, high, whose_ in spans if whose_ == row) == pytest.approx(share, abs=1e-9)
    edges = [edge for low, high, _ in spans for edge in (low, high)]
    assert all(a <= b + 1e-9 for a, b in pairwise(edges))
    assert all(-1e-12 <= edge <= 1 + 1e-9 for edge in edges)


@given(st.integers(1, 4), st.data())
def test_lanes_when_one_grows_within_its_lane_then_it_takes_from_the_rest_alone(num: int, data: st.DataObject) -> None:
    most = 1.0 if num <= 2 else 1 / 4
    before = [data.draw(st.floats(0, most / num if num <= 2 else most)) for _ in range(num)]
    row = data.draw(st.integers(0, num - 1))
    room = min(most, 1 - sum(before) + before[row])
    after = [*before[:row], data.draw(st.floats(before[row], max(before[row], room))), *before[row + 1 :]]
    for share in np.linspace(0, 0.9999, 97):
        was, now = whose(lanes(before), share), whose(lanes(after), share)
        assert now == was or (was is None and now == row)


def test_share_of_when_units_differ_then_it_is_even_and_salts_are_independent() -> None:
    one = np.array([share_of("a", unit, deal="layer") for unit in UNITS])
    other = np.array([share_of("b", unit, deal="layer") for unit in UNITS])
    assert np.histogram(one, 10, (0, 1))[0] == pytest.approx(400, abs=80)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
    assert share_of("a", "customer-1", deal="layer") == one[1]


def test_assign_when_experiments_share_a_layer_then_nobody_is_in_both_and_the_holdout_in_none(tmp_path: Path) -> None:
    book = wishes(tmp_path)
    found = [variants(book, unit) for unit in UNITS]
    names = [set(one) for one in found]
    assert not any({"rules", "spread"} <= one for one in names)
    share = {name: np.mean([name in one for one in names]) for name in ("holdout", "rules", "spread", "draw")}
    assert share == pytest.approx({"holdout": 0.1, "rules": 0.45, "spread": 0.27, "draw": 0.9}, abs=0.03)
    assert all(one == {"holdout"} for one in names if "holdout" in one)
    explored = np.mean([one.get("draw") == "explore" for one in found if "draw" in one])
    assert explored == pytest.approx(0.25, abs=0.03)
    both = np.mean([one["draw"] == "explore" for one in found if one.get("rules") == "strict"])
    assert both == pytest.approx(0.25, abs=0.05), "layers are independent"


def test_assign_when_a_request_says_nothing_then_its_variant_does(tmp_path: Path) -> None:
    book = wishes(tmp_path)
    unit = next(one for one in UNITS if variants(book, one, "similar").get("spread") == "diverse")
    asked, arm = book.assign(RecommendRequest(user_id=unit, surface="similar"))
    assert (asked.diversity, arm and arm.unit) == (0.3, unit)
    asked, _ = book.assign(RecommendRequest(user_id=unit, surface="similar", diversity=0.0))
    assert asked.diversity == 0.0
    strict = next(one for one in UNITS if variants(book, one).get("rules") == "strict")
    _, arm = book.assign(RecommendRequest(user_id=strict))
    assert arm is not None
    assert arm.rules is not None
    assert arm.rules.rules[0].name == "less"


def test_assign_when_an_id_is_linked_or_nobody_is_named_then_the_customer_or_the_session_counts(tmp_path: Path) -> None:
    book = wishes(tmp_path)
    for unit in UNITS[:50]:
        _, own = book.assign(RecommendRequest(user_id=unit))
        _, phone = book.assign(
            RecommendRequest(user_id=f"phone of {unit}"), customer_of=lambda id_: id_.split(" of ")[1]
        )
        assert own == phone
    request = RecommendRequest(session_id="visit-1")
    _, arm = book.assign(request)
    assert arm is not None
    assert not arm.is_logged
    assert arm == book.assign(request)[1]
    assert book.assign(RecommendRequest()) == (RecommendRequest(), None)
    before = wishes(tmp_path, now_us=DECEMBER_US - 10 * 86_400_000_000)
    assert "draw" not in {name for unit in UNITS[:50] for name in variants(before, unit)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: {a: {variants: {}}}", "variants: expected one variant or more"),
        ("experiments: {a: {share: 2, variants: {c: {}}}}", "share: expected a number from 0 to 1"),
        ("experiments: {a: {variants: {c: {}, x: {weight: 0.7}, y: {weight: 0.6}}}}", "weights that sum to 1 at most"),
        ("experiments: {a: {variants: {c: {weight: 0.5}, x: {weight: 0.2}}}}", "first variant of 0.8"),
        ("experiments: {a: {variants: {c: {wieght: 1}}}}", "Did you mean 'weight'?"),
        ("experiments: {a: {variants: {c: {rules: none.yaml}}}}", "none.yaml: expected a YAML file of rules here"),
        ("experiments: {a: {variants: {c: {explore: {epsilon: 0}}}}}", "explore.epsilon: expected a number above 0"),
        ("experiments: {a: {since: 2026-12-01, variants: {c: {}}}}", "since: expected an instant with its offset"),
        ("experiments: {a+b: {variants: {c: {}}}}", "a name without +"),
        ("experiments: {a: {variants: {c+d: {}}}}", "a name without +"),
        ("experiments: {holdout: {variants: {c: {}}}}", "expected another name, found 'holdout'"),
        (
            "experiments: {a: {layer: l, share: 0.3, variants: {c: {}}}, b: {layer: l, buckets: [1, 2], variants: {c: {}}}}",
            "buckets of each experiment of layer 'l', found \"share of 'a'\". Those that it has alone are [0, 299]",
        ),
        (
            "experiments: {a: {layer: l, buckets: [0, 3], variants: {c: {}}}, b: {layer: l, buckets: [3, 4], variants: {c: {}}}}",
            "buckets of layer 'l' that belong to one experiment, found \"some of both ['a', 'b']\"",
        ),
        ("experiments: {a: {buckets: [0, 1000], variants: {c: {}}}}", "such as [0, 299], from 0 to 999"),
        ("experiments: {a: {share: 1, buckets: [0, 9], variants: {c: {}}}}", "expected share or buckets"),
        (
            "experiments: {a: {variants: {c: {}, x: {release: r}}}, b: {variants: {c: {}, x: {release: s}}}}",
            "expected release in one layer alone, found ['a', 'b']",
        ),
    ],
)  # fmt: skip
def test_read_experiments_when_something_is_wrong_then_the_error_says_what(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_experiments(path)
    assert message in str(error.value)


CONTROL = "variants: {control: {}}"


def of_layer(directory: Path, **buckets: str) -> Layer:
    tests = [f"  {name}: {{layer: l, {held}, {CONTROL}}}\n" for name, held in buckets.items()]
    (directory / "experiments.yaml").write_text("experiments:\n" + "".join(tests))
    return read_experiments(directory / "experiments.yaml").layers[0]


def test_layer_when_experiments_come_go_or_change_places_then_the_others_keep_all_their_customers(
    tmp_path: Path,
) -> None:
    one, two, three = "buckets: [0, 299]", "buckets: [300, 599]", "buckets: [600, 699]"
    before = of_layer(tmp_path, one=one, two=two)
    after = [
        of_layer(tmp_path, one=one, two=two, three=three),
        of_layer(tmp_path, three=three, two=two, one=one),
        of_layer(tmp_path, two=two),
        of_layer(tmp_path, one="share: 0.3"),
        of_layer(tmp_path, one=one, two="buckets: [300, 999]"),
    ]
    for layer in after:
        names = {one.name for one in layer.experiments}
        for unit in UNITS[:1000]:
            was, now = before.experiment_of(unit), layer.experiment_of(unit)
            if was is not None and was.name in names:
                assert now is not None
                assert now.name == was.name
    shares = [
        sum((one := layer.experiment_of(unit)) is not None and one.name == "two" for unit in UNITS) for layer in after
    ]
    assert shares[0] == shares[1] == shares[2] == pytest.approx(1200, abs=100)
    assert shares[4] == pytest.approx(2800, abs=100)


def test_variant_of_when_a_third_comes_then_the_first_two_keep_their_customers() -> None:
    def test_of(*weights: float) -> Experiment:
        others = (Variant(name=f"v{number}", weight=weight) for number, weight in enumerate(weights))
        return Experiment(name="e", salt="s", share=1.0, variants=(Variant(name="control"), *others))

    for before, after in (((0.3, 0.3), (0.3, 0.3, 0.4)), ((0.6, 0.3), (0.6, 0.3, 0.1)), ((0.3, 0.3, 0.4), (0.3, 0.3))):
        for unit in UNITS[:1000]:
            was, now = test_of(*before).variant_of(unit).name, test_of(*after).variant_of(unit).name
            assert now == was or was in ("control", "v2")


@pytest.mark.parametrize(
    "name", ["n" * 63, "n" * 64, "home_page_diversity_against_bestsellers_with_discounts_in_december"]
)
def test_experiment_when_its_name_is_long_then_variants_are_dealt_apart_from_who_takes_part(name: str) -> None:
    def made(salt: str) -> Experiment:
        return Experiment(
            name=name, salt=salt, share=0.5, variants=(Variant(name="control"), Variant(name="treated", weight=0.5))
        )

    layer = Layer(name=name, experiments=(made("1"),))
    part = [unit for unit in UNITS if layer.experiment_of(unit)]
    assert np.mean([made("1").variant_of(unit).name == "treated" for unit in part]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([made("1").variant_of(u) != made("2").variant_of(u) for u in part]) == pytest.approx(0.5, abs=0.06)
    held = ExperimentSet(layers=(layer,), holdout=0.5, holdout_salt=name)
    free = [unit for unit in UNITS if "holdout" not in held.variants_of(unit, "for_you", 0)]
    assert np.mean([layer.experiment_of(unit) is not None for unit in free]) == pytest.approx(0.5, abs=0.06)


def test_runs_when_one_variants_release_is_not_held_then_no_variant_takes_part() -> None:
    variants = (Variant(name="control"), Variant(name="other", weight=0.5, release_id="r"))
    layer = Layer(name="home", experiments=(Experiment(name="model", salt="", share=1, variants=variants),))
    experiments = ExperimentSet(layers=(layer,))
    units = [f"u{number}" for number in range(20)]

    def dealt(held: set[str]) -> set[str]:
        found = [experiments.variants_of(unit, "for_you", 0, is_held=held.__contains__) for unit in units]
        return {one.name for variants in found for one in variants.values() if one is not None}

    assert dealt(set()) == set()
    assert dealt({"r"}) == {"control", "other"}
