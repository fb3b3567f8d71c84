"""``footfall rules``: check merchandising rules and experiments before they are served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import Command, run_subcommand
from features.errors import ConfigError


def check(file: Path, *, store: Path | None = None, release: str = "") -> dict[str, Any]:
    """Check a file of merchandising rules; what is wrong is an error that says what to do.

    Args:
        file: YAML file of rules.
        store: release store, whose categories, brands, items, tags and columns the rules may name; unchecked without it.
        release: id of the release; the store's current one where left out.
    """
    from serving.merchandising.parse import read_rule_set

    rules = read_rule_set(file)
    problems = [] if store is None else _problems(rules, store, release)
    if problems:
        raise ConfigError(f"{file}: {len(problems)} to mend\n  " + "\n  ".join(problems))
    return {"file": str(file), "version": rules.version, "rules": [rule.name for rule in rules.rules]}


def experiments(file: Path, *, store: Path | None = None) -> dict[str, Any]:
    """Check a file of experiments and the files of rules that it names.

    Args:
        file: YAML file of experiments.
        store: release store, whose releases variants may name, and which their rules are checked against; unchecked
            without it.
    """
    from features.release import ReleaseStore
    from serving.experiments.wishes import WishList

    wishes = WishList.read(None, file)
    problems: list[str] = []
    if store is not None:
        known = ReleaseStore(root=store).release_ids()
        problems = [f"release {one!r}: the store does not hold it." for one in wishes.release_ids() if one not in known]
        problems += [what for rules in wishes.rule_sets() if rules.rules for what in _problems(rules, store, "")]
    if problems:
        raise ConfigError(f"{file}: {len(problems)} to mend\n  " + "\n  ".join(problems))
    found = wishes.experiments
    return {
        "file": str(file),
        "version": found.version,
        "holdout": found.holdout,
        "layers": {layer.name: {one.name: one.share for one in layer.experiments} for layer in found.layers},
    }


def _problems(rules: Any, store: Path, release: str) -> list[str]:
    from features.release import ReleaseStore
    from serving.merchandising.check import problems_of
    from serving.merchandising.compiled import compile_rules
    from serving.merchandising.shelf import Shelf
    from serving.release.state import ReleaseState
    from serving.surfaces.clock import wall_clock_us

    state = ReleaseState.load(ReleaseStore(root=store), release)
    now_us = wall_clock_us()
    compiled = compile_rules(rules, state, Shelf(state.catalog, state.item_codes), now_us=now_us)
    return problems_of(compiled, now_us=now_us)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall rules``."""
    subcommands: dict[str, Command] = {"check": check, "experiments": experiments}
    return run_subcommand(subcommands, argv, prog="footfall rules")
