"""The cost and scale benchmarks at a tiny size: what they measure, and what their tables show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import tables
from benchmarks.retrieval_cost import Point, Run
from benchmarks.retrieval_scale import histories, rows_of
from benchmarks.step_cost import MatrixProducts


def test_products_when_a_layer_learns_then_forward_and_backward_are_counted() -> None:
    layer = torch.nn.Linear(8, 4, bias=False)
    with MatrixProducts() as products:
        layer(torch.randn(5, 8, requires_grad=True)).sum().backward()
    assert products.flop == 3 * 2 * 5 * 8 * 4  # the output, and the gradients of the weights and of the input
    assert products.bare_seconds() >= 0


def test_seconds_to_an_accuracy_when_reached_late_or_never_then_the_first_point_or_none() -> None:
    run = Run("m", [Point(1.0, 0.01), Point(2.0, 0.03), Point(3.0, 0.02)], 0.0, 0.0, {})
    assert run.seconds_to(0.02) == 2.0
    assert run.seconds_to(0.04) is None
    assert run.best == Point(2.0, 0.03)


def test_histories_when_drawn_then_popularity_falls_by_zipf() -> None:
    sequences = histories(50, 4_000)
    counts = np.sort(np.bincount(sequences.item, minlength=52))[::-1]
    assert sequences.lengths.min() >= 2
    assert sequences.lengths.mean() == pytest.approx(10, rel=0.05)
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.15)


def test_rows_when_a_cell_ran_by_both_rules_then_ratio_is_ours_over_dense() -> None:
    cell = {"items": 10, "users": 5, "loss": "sampled", "cpu_s": 2.0, "peak_mb": 1.0}
    rows = rows_of([cell | {"rows": "those met", "dense": False}, cell | {"rows": "all", "dense": True, "cpu_s": 8.0}])
    assert [row["model"] for row in rows] == ["footfall", "dense Adam"]
    assert rows[0]["metrics"]["ratio"] == 0.25
    assert "ratio" not in rows[1]["metrics"]
    (small,) = rows_of(
        [cell | {"rows": "all", "dense": False}]
    )  # all rows are visited since they are few: that is ours
    assert (small["model"], "ratio" in small["metrics"]) == ("footfall", False)


def test_tables_when_results_are_absent_or_partly_empty_then_the_page_stands() -> None:
    assert tables.render([]).startswith("# Benchmarks")
    row = {"model": "footfall", "metrics": {"ratio": None, "items": 1_000_000}, "fit_cpu_s": None}
    result = {
        "benchmark": "retrieval cost",
        "data": "d",
        "protocol": "p",
        "seeds": [],
        "git": "0",
        "machine": {"cores": 2, "processor": "x"},
        "results": [row],
    }
    assert "| footfall |  | 1,000,000 |  |  |" in tables.render([result])
