from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from features.sources.mapping import BUILT_IN, load_mapping, parse_mapping
from features.sources.mapping_sql import Source, path_sql

COLUMNS = {"user_id": "u", "event_type": "e", "ts": "t"}


def parse(**events: Any) -> Any:
    return parse_mapping({"tables": {"events": {"columns": COLUMNS, **events}}}, where="shop.yaml")


def with_column(name: str, spec: Any) -> Any:
    return parse(columns={**COLUMNS, name: spec})


@pytest.mark.parametrize("name", BUILT_IN)
def test_load_mapping_when_built_in_then_it_parses_and_describes_itself(name: str) -> None:
    mapping = load_mapping(name)
    assert mapping.tables[0].table.name == "events"
    assert len(mapping.description) > 20


def test_load_mapping_when_name_is_misspelt_then_error_suggests_one() -> None:
    with pytest.raises(ConfigError, match=r"expected one of ga4.*found 'tabao'\. Did you mean 'taobao'"):
        load_mapping("tabao")


def test_load_mapping_when_file_is_no_yaml_then_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("tables: [")
    with pytest.raises(ConfigError, match=r"m\.yaml: expected YAML"):
        load_mapping(str(tmp_path / "m.yaml"))


def test_parse_when_short_and_long_forms_then_they_mean_the_same() -> None:
    assert with_column("item_id", "sku") == with_column("item_id", {"from": ["sku"]})


def test_parse_when_key_is_unknown_then_error_suggests_one() -> None:
    with pytest.raises(
        ConfigError, match=r"shop\.yaml: events: expected one of .*found 'delimeter'\. Did you mean 'delimiter'"
    ):
        parse(delimeter=";")
    with pytest.raises(ConfigError, match=r"events\.price: expected one of .*found 'units'\. Did you mean 'unit'"):
        with_column("price", {"from": "p", "units": "major"})
    with pytest.raises(ConfigError, match=r"events: columns: .*found 'prise'\. Did you mean 'price'"):
        with_column("prise", "p")
    with pytest.raises(ConfigError, match=r"tables: .*found 'event'\. Did you mean 'events'"):
        parse_mapping({"tables": {"event": {}}}, where="shop.yaml")


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"from": "p", "constant": 1}, "expected exactly one of from, join and constant"),
        ({"values": {"a": "b"}}, "expected exactly one of from, join and constant"),
        ({"from": "p", "unit": "epoch_s"}, "unit: expected one that fits a column of kind 'money'"),
        ({"from": "p", "unit": "cents"}, "unit: expected one of .*found 'cents'"),
        ({"from": [["p"]]}, "expected a text or a list of texts"),
        ({"from": "p", "between": ["1", "2"]}, "expected two instants"),
        ({"from": "p", "optional": "yes"}, "optional: expected true or false"),
        (None, "expected a text or a list of texts, found None"),
    ],
)
def test_parse_when_column_makes_no_sense_then_error_names_it(spec: Any, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        with_column("price", spec)


def test_parse_when_table_makes_no_sense_then_error_says_why() -> None:
    with pytest.raises(ConfigError, match="expected a source for the required ts"):
        parse(columns={"user_id": "u", "event_type": "e"})
    with pytest.raises(ConfigError, match="expected one_per and latest_by together"):
        parse(one_per="user_id")
    with pytest.raises(ConfigError, match=r"one_per: expected mapped columns, found 'user'\. Did you mean 'user_id'"):
        parse(one_per="user", latest_by="t")
    with pytest.raises(ConfigError, match="each_when: expected the list"):
        parse(each_when={"e": ["view"]})
    with pytest.raises(ConfigError, match="names: expected `header: false`"):
        parse(names=["a"])
    with pytest.raises(ConfigError, match="tables: expected at least one"):
        parse_mapping({}, where="shop.yaml")


@pytest.mark.parametrize("path", ["a..b", "a.", ".a", "a[", "a[k", "a]b"])
def test_path_when_malformed_then_error_shows_one_that_is_not(path: str) -> None:
    with pytest.raises(ConfigError, match=r"Expected a path such as a\.b"):
        path_sql(Source(scan="x", format="json", types={"json": "JSON"}), path)
