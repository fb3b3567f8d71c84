"""Ready-made rule files beside the code, and a shop's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from features.errors import did_you_mean
from features.rules.conditions import Rule, columns_of
from features.rules.parse import Columns, RuleParser
from features.rules.place import Place, mapping, only, read_yaml

LIBRARY_FILE: Final = "library.yaml"
logger = logging.getLogger(__name__)


def read_rules(
    path: Path,
    section: str,
    *,
    minor_units: int,
    columns: Columns | None,
    parameters: Mapping[str, str] | None = None,
    names: Sequence[str] = (),
    optional_columns: bool = False,
) -> tuple[Rule, ...]:
    """Read the rules under one key of a YAML file.

    Args:
        path: of the file.
        section: ``tags`` or ``audiences``.
        minor_units: of the shop's currency.
        columns: of the customer table at hand; nothing leaves them unchecked.
        parameters: what ``$name`` stands for.
        names: of the rules that are wanted; all where empty.
        optional_columns: leave out, and say so, what names a column that the table does not have.

    Raises:
        ConfigError: the file, or a rule that is wanted, is not as it should be.
    """
    place = Place(file=str(path))
    values = mapping(read_yaml(path), place)
    only(values, (section,), place)
    listed = mapping(values.get(section, {}), place.at(section))
    for name in names:
        if name not in listed:
            hint = did_you_mean(name, map(str, listed)) or f" There are {', '.join(map(str, listed))}."
            raise place.error(f"a rule of this name under {section!r}", name, hint)
    wanted = {name: listed[name] for name in listed if not names or name in names}
    known = None if optional_columns else columns
    rules = RuleParser(minor_units=minor_units, columns=known, parameters=parameters or {}).rules(wanted, place)
    if columns is None or not optional_columns:
        return rules
    parser = RuleParser(minor_units=minor_units, columns=columns, parameters=parameters or {})
    return _with_columns(rules, wanted, columns, parser, place)


def _with_columns(
    rules: Sequence[Rule], values: Mapping[str, Any], columns: Columns, parser: RuleParser, place: Place
) -> tuple[Rule, ...]:
    kept = []
    for rule in rules:
        missing = [name for name in columns_of(rule.when) if name not in columns]
        if missing:
            logger.info("%s: %s left out, the customer table has no %s", place.file, rule.name, ", ".join(missing))
        else:
            kept.append(parser.rule(rule.name, values[rule.name], place))
    return tuple(kept)
