from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalog import ItemCatalog
from features.errors import DataError
from features.recommendations import Recommendations
from features.sequences import Sequences
from features.splits import Holdout
from features.tables.lifecycle import LIFECYCLE_STAGES
from features.vocabulary import Vocabulary
from training.evaluation.baselines import PersonalFrequency, Popularity
from training.evaluation.comparison import Comparison, Resampling, Seconds
from training.evaluation.examples import ItemNames, example_customers
from training.evaluation.list_quality import ItemFacts
from training.evaluation.metrics import RelevantItems
from training.evaluation.segments import Grouping
from training.evaluation.slices import slices_of
from training.evaluation.tasks import Task

V = 12
CANDIDATES = np.arange(V) >= 2
rows_of_items = st.lists(st.integers(2, V - 1), min_size=1, max_size=6)


def sequences(rows: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences.from_arrays(offsets=offsets, item=[item for row in rows for item in row])


def holdout(*pairs: tuple[list[int], list[int]]) -> Holdout:
    return Holdout(
        users=np.arange(len(pairs)) * 10,
        query=sequences([history for history, _ in pairs]),
        targets=sequences([answers for _, answers in pairs]),
    )


def answers_of(relevant: RelevantItems) -> list[set[int]]:
    return [set(relevant.item[relevant.question == q].tolist()) for q in range(relevant.num_questions)]


@given(pairs=st.lists(st.tuples(rows_of_items, rows_of_items), min_size=1, max_size=5))
def test_task_when_items_must_be_new_then_answers_are_targets_less_history(pairs) -> None:
    expected = {10 * user: set(new) - set(old) for user, (old, new) in enumerate(pairs) if set(new) - set(old)}
    if not expected:
        with pytest.raises(DataError, match="found repeats only"):
            Task.of("new", holdout(*pairs))
        return
    task = Task.of("new", holdout(*pairs))
    assert dict(zip(task.users.tolist(), answers_of(task.relevant), strict=True)) == expected
    for row, user in enumerate(task.users):
        assert task.query.items_of(row).tolist() == pairs[user // 10][0]


def test_task_when_repeats_count_then_every_question_stays() -> None:
    task = Task.of("all", holdout(([2, 3], [3, 3]), ([4], [5])))
    assert (answers_of(task.relevant), task.exclude_seen) == ([{3}, {5}], False)


def lifecycle_of(stages: np.ndarray) -> Grouping:
    return Grouping(title="Customer lifecycle", labels=LIFECYCLE_STAGES, of_user=stages)


@given(pairs=st.lists(st.tuples(rows_of_items, rows_of_items), min_size=1, max_size=5))
def test_slices_when_put_together_then_each_group_holds_every_answer_once(pairs) -> None:
    task = Task.of("all", holdout(*pairs))
    counts = np.array([0, 0, *range(V - 2)])
    groups: dict[str, list[tuple[int, int]]] = {}
    stages = np.array([LIFECYCLE_STAGES[row % 6] for row in range(50)], object)
    for part in slices_of(task, counts=counts, groupings=[lifecycle_of(stages)]):
        pairs_of_part = zip(part.questions[part.relevant.question].tolist(), part.relevant.item.tolist(), strict=True)
        groups.setdefault(part.group, []).extend(pairs_of_part)
    whole = sorted(zip(task.relevant.question.tolist(), task.relevant.item.tolist(), strict=True))
    names = {"History length", "Item popularity", "Cold item", "Customer lifecycle", "New or repeat"}
    assert set(groups) == names
    assert all(sorted(found) == whole for found in groups.values())


def test_slices_when_an_item_has_no_event_then_it_is_cold() -> None:
    task = Task.of("new", holdout(([2], [5]), ([2], [6])))
    counts = np.array([0, 0, 5, 0, 0, 5, 0, 0, 0, 0, 0, 0])
    cold = next(part for part in slices_of(task, counts=counts) if "cold" in part.label)
    assert cold.questions.tolist() == [1]


def test_slices_when_items_have_few_events_then_they_are_nearly_cold() -> None:
    task = Task.of("new", holdout(([2], [5]), ([2], [6]), ([2], [7]), ([2], [8])))
    counts = np.array([0, 0, 9, 0, 0, 1, 4, 5, 0, 0, 0, 0])
    found = {
        part.label: part.questions.tolist() for part in slices_of(task, counts=counts) if part.group == "Cold item"
    }
    assert found == {"no event yet": [3], "1 to 4 events": [0, 1], "5 events or more": [2]}


def test_slices_when_stages_are_given_then_customers_without_one_are_in_none() -> None:
    task = Task.of("all", holdout(([2], [5]), ([2], [6]), ([2], [7])))  # rows 0, 10 and 20 of the sequences
    stages = np.full(21, "prospect", object)
    stages[[0, 10, 20]] = ["active", "", "churned"]
    found = slices_of(task, counts=np.ones(V, int), groupings=[lifecycle_of(stages)])
    parts = [part for part in found if "lifecycle" in part.group]
    assert {part.label: part.questions.tolist() for part in parts} == {"active": [0], "churned": [2]}


def compare(pairs: list[tuple[list[int], list[int]]]) -> Comparison:
    task = Task.of("all", holdout(*pairs))
    fit = sequences([[2, 2, 2, 3, 3, 4]])
    models = [PersonalFrequency(candidates=CANDIDATES), Popularity.fit(fit, candidates=CANDIDATES)]
    counts = np.bincount(fit.item, minlength=V)
    facts = ItemFacts.from_catalog(ItemCatalog.blank(V), counts=counts, candidates=CANDIDATES)
    return Comparison.run(
        task,
        models,
        counts=counts,
        num_candidates=10,
        resampling=Resampling(resamples=200),
        facts=facts,
        fit_seconds={"popularity": Seconds(wall=1.5, cpu=1.0)},
    )


def test_comparison_when_two_models_answer_then_rows_hold_means_and_paired_differences() -> None:
    found = compare([([7], [7]), ([8], [8]), ([9], [2]), ([9], [9])]).to_dict()
    ours, theirs = found["rows"]
    assert ours["metrics"]["recall@5"]["mean"] == 0.75  # three of four bought their own item again
    assert theirs["metrics"]["recall@5"]["mean"] == 0.25
    assert theirs["difference"]["recall@5"]["mean"] == 0.5
    assert ours["difference"] is None
    assert theirs["lists"]["coverage@5"] == 0.3  # items 2, 3, 4 of 10 candidates
    assert [ours["curve"]["1"], theirs["curve"]["1"]] == [0.75, 0.25]


def test_comparison_when_written_then_cost_and_popularity_of_the_answers_stand_in_it() -> None:
    found = compare([([7], [2]), ([8], [3])]).to_dict()
    ours, theirs = found["rows"]
    assert (theirs["cost"]["fit_wall_s"], theirs["cost"]["fit_cpu_s"], ours["cost"]["fit_cpu_s"]) == (1.5, 1.0, None)
    assert theirs["seconds"] == theirs["cost"]["answer_wall_s"] >= 0
    assert theirs["cost"]["answer_cpu_s"] >= 0
    # Items 2 and 3, with 3 and 2 of 6 events, are the two most popular of 10: places 9.5 and 8.5.
    assert found["answers"]["popularity_percentile"] == pytest.approx(0.9)
    assert found["answers"]["mean_popularity"] == 2.5
    assert found["answers"]["novelty"] == pytest.approx((np.log2(18 / 4) + np.log2(18 / 3)) / 2)
    assert theirs["lists"]["popularity_lift@5"] == 0, "a history of items without events has no popularity to lift"
    assert 0 < theirs["lists"]["gini@5"] < 1


def test_comparison_when_cut_by_novelty_then_personal_frequency_finds_repeats_only() -> None:
    parts = {part["label"]: part for part in compare([([7], [7, 2]), ([8], [8, 2])]).to_dict()["slices"]}
    assert parts["repeat"]["recall@20"]["personal frequency"]["mean"] == 1
    assert parts["new to the customer"]["recall@20"]["personal frequency"]["mean"] == 0
    assert parts["new to the customer"]["recall@20"]["popularity"]["mean"] == 1


def test_recommendations_take_when_lists_are_picked_then_order_follows() -> None:
    items = [np.array([5, 6]), np.array([], int), np.array([7])]
    lists = Recommendations.from_lists(items, [np.array([2.0, 1.0]), np.array([]), np.array([3.0])])
    taken = lists.take([2, 1, 0])
    assert [taken.list_of(q)[0].tolist() for q in range(3)] == [[7], [], [5, 6]]


NAMES = ItemNames(vocabulary=Vocabulary.from_ids([f"sku{code}" for code in range(2, V)]), catalog=ItemCatalog.blank(V))


def examples(forgotten: frozenset[str]) -> list[dict]:
    found = compare([([7, 8, 7], [7]), ([8], [2, 8])])
    users = Vocabulary.from_ids([f"user-{row}" for row in range(20)])
    return example_customers(found.task, found.lists, users=users, names=NAMES, forgotten=forgotten)


def test_examples_when_made_then_history_is_latest_first_and_hits_are_marked() -> None:
    short, long = examples(frozenset())
    assert [item["title"] for item in long["history"]] == ["sku7", "sku8"]
    assert long["lists"]["personal frequency"][0] == {"item_id": "sku7", "title": "sku7", "hit": True}
    assert (short["num_events"], long["num_events"], short["num_answers"]) == (1, 3, 2)


def test_examples_when_a_user_is_to_be_forgotten_then_it_is_not_shown() -> None:
    assert [row["num_events"] for row in examples(frozenset({"user-10"}))] == [3]


def test_examples_when_made_twice_then_no_name_shows_the_id_or_repeats() -> None:
    first, second = (examples(frozenset()) for _ in range(2))
    assert {row["customer"] for row in first}.isdisjoint(row["customer"] for row in second)
    assert "user-" not in repr(first)
