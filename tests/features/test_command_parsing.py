"""Options that say yes or no may stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from features.commands.parsing import run_command
from features.errors import ConfigError


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


def typed(width: int = 1, kind: Literal["a", "b"] = "a", names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Say what was understood.

    Args:
        width: a number.
        kind: one of two.
        names: words.
    """
    return {"width": width, "kind": kind, "names": names}


@pytest.mark.parametrize("file_first", [True, False])
def test_config_when_before_or_after_an_option_then_the_option_wins(file_first: bool, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("width: 3\nkind: b\n")
    file, option = ["--config", str(config)], ["--width", "2"]
    argv = file + option if file_first else option + file
    assert run_command(typed, argv, prog="try") == {"width": 2, "kind": "b", "names": ()}


def test_config_when_two_are_given_then_the_later_file_wins(tmp_path: Path) -> None:
    for width in (3, 4):
        (tmp_path / f"{width}.yaml").write_text(f"width: {width}\n")
    files = ["--config", str(tmp_path / "3.yaml"), f"--config={tmp_path / '4.yaml'}"]
    assert run_command(typed, files, prog="try") == {"width": 4, "kind": "a", "names": ()}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--width", "many"], "width: expected int, found many"),
        (["--kind", "c"], "kind: expected one of 'a', 'b', found c"),
        (["--names", "x,y"], "names: expected a list such as [a,b], found x,y"),
        (["--config", "none.yaml"], "--config: expected a YAML file of settings. File does not exist"),
        (["--config"], "argument --config: expected one argument"),
    ],
)
def test_value_when_it_does_not_fit_then_says_what_was_expected_without_python_types(
    argv: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        run_command(typed, argv, prog="try")
    assert str(refusal.value).startswith(said)


def test_config_when_it_holds_no_settings_then_says_that_a_yaml_file_was_expected(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    for content in ("hello\n", "width: [1\n"):
        config.write_text(content)
        with pytest.raises(ConfigError, match="--config: expected a YAML file of settings"):
            run_command(typed, ["--config", str(config)], prog="try")
