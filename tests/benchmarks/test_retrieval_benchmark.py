"""What the retrieval benchmarks read, pick and print."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablations import VARIANTS, kept_rows, reference_config
from benchmarks.cold_items import Draw
from benchmarks.retrieval import config_for
from benchmarks.retrieval_tables import fill, published_table
from benchmarks.sequence_file import Problem, read
from features.vocabulary import FIRST
from training.retrieval.learn import build_module

LINES = ["u1 10 20 30 40", "u2 20 10 30 20 10", "u3 30 40 10"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Toy.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (tmp_path / "Toy_item2attributes.json").write_text(json.dumps({"10": [1, 2], "30": [2]}), encoding="utf-8")
    return path


def _ids(problem: Problem, codes: np.ndarray) -> list[str]:
    return [str(id_) for id_ in problem.vocabulary.decode(codes)]


def test_read_when_attributes_lie_beside_then_strict_split_and_labels(file: Path) -> None:
    problem = read(file)
    split = problem.split
    assert _ids(problem, split.test.targets.item) == ["40", "10", "10"]
    assert _ids(problem, split.validation.targets.item) == ["30", "20", "40"]
    assert _ids(problem, split.fit.item) == ["10", "20", "20", "10", "30", "30"]  # neither target
    assert _ids(problem, split.test.query.items_of(0)) == ["10", "20", "30"]  # the validation item is in the query
    labels = dict(zip(_ids(problem, np.arange(FIRST, problem.num_codes)), problem.catalog.labels[FIRST:], strict=True))
    assert labels == {"10": "attribute 1|attribute 2", "20": "", "30": "attribute 2", "40": ""}


def test_read_when_gzip_without_attributes_then_the_same_split_and_a_blank_catalog(file: Path) -> None:
    packed = file.with_name("Packed.txt.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    plain, unpacked = read(file), read(packed)
    assert (plain.split.fit.item == unpacked.split.fit.item).all()
    assert not (unpacked.catalog.labels != "").any()


def test_config_when_histories_are_long_then_the_other_settings(tmp_path: Path, file: Path) -> None:
    long = tmp_path / "Long.txt"
    long.write_text("\n".join(f"u{u} " + " ".join(str(i) for i in range(60)) for u in range(3)), encoding="utf-8")
    short, films = (config_for(read(path), seed=0, members=3) for path in (file, long))
    assert (short.tower.max_length, short.loss.neighbour_share, short.num_plain_members) == (50, 0.2, 1)
    assert (short.tower.mixer, films.tower.mixer) == ("ligr", "attention")
    assert (films.tower.max_length, films.loss.neighbour_share, films.num_plain_members) == (200, 0.0, 0)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_variant_when_applied_then_only_the_reference_is_unchanged(name: str, file: Path) -> None:
    config, variant = reference_config(read(file), seed=0), VARIANTS[name]
    assert (variant.change(config) == config and variant.builds == (build_module,)) == (name == "reference")
    assert len(variant.builds) in (1, variant.change(config).num_members)


def test_kept_rows_when_the_reference_is_the_same_then_kept_with_their_revision(tmp_path: Path) -> None:
    metrics, config = {"ndcg@10": 0.07}, {"tower": {"dim": 128}}
    reference = {"model": "reference", "metrics": metrics, "config": config}
    rows = [reference, {"model": "two blocks"}, {"model": "width 64"}]
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps({"git": "abc", "results": rows}), encoding="utf-8")
    kept = kept_rows(path, reference | {"fit_cpu_s": 1.0}, ["reference", "two blocks"])
    assert kept == [{"git": "abc", "model": "width 64"}]
    with pytest.raises(SystemExit, match="measure all rows anew"):
        kept_rows(path, reference | {"metrics": {"ndcg@10": 0.0700001}}, ["reference"])


def test_draw_when_items_are_withheld_then_they_stand_in_no_history(file: Path) -> None:
    problem = read(file)
    draw = Draw.of(problem, share=0.25, seed=1)
    assert draw.cold.sum() == 1
    assert not draw.cold[:FIRST].any()
    for sequences in (draw.fit, draw.validation.query, draw.test.query):
        assert not draw.cold[sequences.item].any()
    assert len(draw.test.users) == draw.test.query.num_users == draw.test.targets.num_users


def test_published_when_within_a_standard_error_then_level(tmp_path: Path) -> None:
    ours = {"model": "footfall", "metrics": {"recall@10": 0.0940, "ndcg@10": 0.0600}, "per_seed_about": [{}, {}, {}]}
    table = published_table([{"benchmark": "retrieval", "data": "Beauty.txt", "results": [ours]}])
    row = next(line for line in table.splitlines() if "| eSASRec |" in line)
    assert "level, above" in row  # .0940 against .0928, .0600 against .0523
    page = fill("text\n<!-- begin: published -->\nold\n<!-- end: published -->\nmore", [])
    assert page.startswith("text\n<!-- begin: published -->\n| data |")
    assert page.endswith("<!-- end: published -->\nmore")
    assert "old" not in page
