"""Tables of the service's benchmarks, from small results."""

from __future__ import annotations

from benchmarks import serving_tables


def test_lines_when_rows_are_few_then_figures_are_rows_and_parts_have_names_of_their_own() -> None:
    row = {
        "model": "footfall",
        "metrics": {"requests": 12_000, "swap_s": {"p50": 2.15}, "series": [1, 2]},
        "config": {},
    }
    assert serving_tables.lines({"results": [row]}) == [
        "|  | footfall |",
        "| --- | ---: |",
        "| requests | 12,000 |",
        "| swap_s.p50 | 2.15 |",
    ]


def test_lines_when_rows_have_ratios_then_they_stand_in_a_table_of_their_own() -> None:
    rows = [
        {"model": model, "connections": 8, "metrics": {"p50_ms": 1.23456}, "config": {}, "note": ""}
        for model in ("footfall", "starlette", "bentoml", "in_process")
    ]
    rows[0]["ratios"] = {"rate_over_starlette": {"median": 1.5, "range": [1.25, 1.75]}}
    lines = serving_tables.lines({"results": rows})
    assert lines[:3] == [
        "| model | connections | p50_ms | note |",
        "| --- | ---: | ---: | ---: |",
        "| footfall | 8 | 1.235 |  |",
    ]
    assert lines[-3:] == [
        "| model | connections | rate_over_starlette | note |",
        "| --- | ---: | ---: | ---: |",
        "| footfall | 8 | 1.5 (1.25, 1.75) |  |",
    ]
