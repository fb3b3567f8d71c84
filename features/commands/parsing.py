"""Command lines from typed functions: YAML files, dotted overrides, and errors that help.

A command is a plain function. Its parameters become arguments (those without a default are
positional), frozen dataclasses among them become dotted options, and its docstring becomes the help::

    footfall train retrieval FEATURES STORE --model.tower.dim 128 --config tower.yaml --print_config
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from features.errors import ConfigError, did_you_mean

Command = Callable[..., dict[str, Any] | None]
Parameters = dict[str, str | int | float] | None  # YAML reads {item: 12} as a number

# How jsonargparse 4.53 says that a key is unknown: on the command line, and in a YAML file.
_UNKNOWN_OPTION: Final = re.compile(r"unrecognized arguments: --(?P<key>[\w.-]+)", re.IGNORECASE)
_UNKNOWN_KEY: Final = re.compile(r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.-]+)'")
_UNKNOWN_TOP_KEY: Final = re.compile(r"Option '(?P<key>[\w.-]+)' is not accepted")

# How it says that a value does not fit, in Python's words for types, and that a file cannot be read.
_WRONG_VALUE: Final = re.compile(r'Parser key "(?P<key>[\w.-]+)": Expected a (?P<type>.+?)\. Got value: (?P<value>.*)')
_WRONG_FILE: Final = re.compile(r'(?:Parser key "config": |(?=Problems parsing config|Unexpected config))(?P<said>.*)')
_CLASS: Final = re.compile(r"<class '(?:[\w]+\.)*(?P<name>\w+)'>")
_CHOICES: Final = re.compile(r"(?:typing\.)?Literal\[(?P<choices>.*?)\]")


def run_command(command: Command, argv: list[str], *, prog: str) -> dict[str, Any] | None:
    """Parse ``argv`` by the signature of ``command`` and call it.

    Raises:
        ConfigError: an argument is missing, unknown or does not fit its type.
    """
    parser = ArgumentParser(prog=prog, exit_on_error=False, default_env=False, description=_summary(command))
    has_own_config = "config" in get_type_hints(command)  # a file of other settings than these arguments
    if not has_own_config:
        parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_function_arguments(command, as_group=False, as_positional=True)
    try:
        parsed = parser.parse_args(_files_first(_with_flags(command, argv)))
        values = parser.instantiate(parsed)
    except ArgumentError as error:
        raise ConfigError(_explained(str(error), _known_keys(parser))) from None
    if not has_own_config:
        values.pop("config", None)
    return command(**values.as_dict())


def run_subcommand(subcommands: Mapping[str, Command], argv: list[str], *, prog: str) -> dict[str, Any] | None:
    """Call the subcommand that the first word names, with the rest of the words.

    Raises:
        ConfigError: there is no such subcommand.
    """
    if argv and argv[0] in subcommands:
        return run_command(subcommands[argv[0]], argv[1:], prog=f"{prog} {argv[0]}")
    listing = "\n".join(f"  {name:<18}{_summary(command)}" for name, command in subcommands.items())
    usage = f"usage: {prog} {{{','.join(subcommands)}}} ...\n\n{listing}\n\n`{prog} NAME --help` says what each takes."
    if argv and argv[0] in ("-h", "--help"):
        sys.stdout.write(usage + "\n")
        return None
    if not argv:
        raise ConfigError(f"expected a subcommand.\n{usage}")
    raise ConfigError(f"unknown subcommand {argv[0]!r}.{did_you_mean(argv[0], subcommands)}\n{usage}")


# As people say them; a keyword of Python cannot name an argument.
_ALSO: Final = {"--from": "--since", "--to": "--until"}


def also_from(argv: list[str]) -> list[str]:
    """Let a command that has --since and --until take --from and --to as well."""
    return [_ALSO.get(name, name) + sign + value for name, sign, value in (word.partition("=") for word in argv)]


def as_texts(parameters: Parameters) -> dict[str, str]:
    """Return what stands for the names in a rule as texts, as a rule has them."""
    return {name: str(value) for name, value in (parameters or {}).items()}


def _with_flags(command: Command, argv: list[str]) -> list[str]:
    """Let a yes-or-no option stand alone: ``--force`` is ``--force=true``."""
    flags = {f"--{name}" for name, kind in get_type_hints(command).items() if kind is bool}
    pairs = itertools.pairwise([*argv, ""])
    return [
        f"{word}=true" if word in flags and after.lower() not in ("true", "false") else word for word, after in pairs
    ]


def _files_first(argv: list[str]) -> list[str]:
    """Move ``--config FILE`` to the front, so that an option overrides the file wherever it stands."""
    if argv[-1:] == ["--config"]:
        return argv  # no file follows, which the parser says
    files: list[str] = []
    others: list[str] = []
    for before, word in itertools.pairwise(["", *argv]):
        is_file = "--config" in (before, word) or word.startswith("--config=")
        (files if is_file else others).append(word)
    return files + others


def _summary(command: Command) -> str:
    return (command.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")


def _known_keys(parser: Any) -> list[str]:
    return [action.dest for action in parser._actions if action.dest not in ("help", "print_config")]


def _explained(message: str, known: list[str]) -> str:
    """Add the closest known key to jsonargparse's message about an unknown one."""
    text = " ".join(message.split())
    if option := _UNKNOWN_OPTION.search(text):
        return f"unknown option --{option['key']}.{did_you_mean(option['key'], known)}"
    if key := _UNKNOWN_KEY.search(text):
        path = f"{key['group']}.{key['key']}"
        return f"unknown setting {path!r}.{did_you_mean(path, known)}"
    if key := _UNKNOWN_TOP_KEY.search(text):
        return f"unknown setting {key['key']!r}.{did_you_mean(key['key'], known)}"
    if file := _WRONG_FILE.search(text):
        return f"--config: expected a YAML file of settings. {file['said']}"
    if wrong := _WRONG_VALUE.search(text):
        return f"{wrong['key']}: expected {_type_in_words(wrong['type'])}, found {wrong['value']}"
    return text


def _type_in_words(text: str) -> str:
    """``<class 'int'>`` as ``int``, ``typing.Literal['a', 'b']`` as ``one of 'a', 'b'``."""
    text = _CHOICES.sub(r"one of \g<choices>", _CLASS.sub(r"\g<name>", text))
    return text.replace("tuple", "a list such as [a,b]")
