"""Options that say yes or no may stand alone."""

from __future__ import annotations

from typing import Any

import pytest

from features.commands.parsing import run_command


def command(store: str, *, force: bool = False, name: str = "") -> dict[str, Any]:
    """Say what was understood.

    Args:
        store: a place.
        force: a flag.
        name: a word.
    """
    return {"store": store, "force": force, "name": name}


@pytest.mark.parametrize(
    ("argv", "force", "name"),
    [
        (["here"], False, ""),
        (["here", "--force"], True, ""),
        (["here", "--force", "--name", "a"], True, "a"),
        (["--force", "here"], True, ""),
        (["here", "--force", "false"], False, ""),
        (["here", "--force=true"], True, ""),
        (["here", "--name", "force"], False, "force"),
    ],
)
def test_flag_when_bare_or_valued_then_understood(argv: list[str], force: bool, name: str) -> None:
    assert run_command(command, argv, prog="try") == {"store": "here", "force": force, "name": name}


def test_command_when_nothing_is_given_then_its_defaults() -> None:
    def bare(flag: bool = False) -> dict[str, Any]:
        """Take nothing."""
        return {"flag": flag}

    assert run_command(bare, [], prog="try") == {"flag": False}
