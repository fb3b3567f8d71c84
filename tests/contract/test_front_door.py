"""The command line as a user meets it: help, hints, exit codes, one JSON object on stdout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import footfall
from features.commands.parsing import run_command
from features.errors import ConfigError, DataError, ReleaseError
from features.settings import EngineSettings, ShopSettings

HEAVY = ("numpy", "pandas", "duckdb", "torch", "lightning", "mlflow", "faiss", "bentoml", "jsonargparse")


def example(
    out: Path, shop: ShopSettings = ShopSettings(), engine: EngineSettings = EngineSettings()
) -> dict[str, object]:
    """Do nothing, and say with what.

    Args:
        out: a directory.
    """
    return {"out": out, "shop": shop, "engine": engine}


def test_help_when_asked_then_imports_nothing_heavy() -> None:
    code = "import sys, footfall; footfall.main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(verb in done.stdout for verb in footfall.VERBS)
    loaded = set(done.stderr.replace("'", "").strip("[]\n").split(", "))
    assert loaded.isdisjoint(HEAVY)


def test_unknown_verb_when_close_to_one_then_hints_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert footfall.main(["trian"]) == 2
    assert "unknown verb 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_no_verb_when_called_bare_then_shows_usage_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert footfall.main([]) == 2
    assert "usage: footfall VERB" in capsys.readouterr().out


@pytest.mark.parametrize("verb", list(footfall.VERBS))
def test_verb_help_when_asked_then_exits_0(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = footfall.main([verb, "--help"])
    except SystemExit as stop:  # argparse ends the process after its help
        code = int(stop.code or 0)
    assert code == 0
    assert "usage: footfall" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "code"), [(ConfigError, 2), (DataError, 3), (ReleaseError, 4)])
def test_error_when_a_verb_raises_then_message_on_stderr_and_exit_code(
    error: type[Exception], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(argv: list[str]) -> None:
        raise error("expected this, found that; do so.")

    monkeypatch.setattr("serving.commands.data.run", fails)
    assert footfall.main(["data"]) == code
    captured = capsys.readouterr()
    assert captured.err.strip().endswith("footfall data: expected this, found that; do so.")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "footfall data: interrupted; what was finished stays."),
        (PermissionError(13, "Permission denied", "out/events.parquet"), 1, "Permission denied: out/events.parquet"),
    ],
)
def test_verb_when_the_system_stops_it_then_one_line_and_an_exit_code(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stops(argv: list[str]) -> None:
        raise raised

    monkeypatch.setattr("serving.commands.data.run", stops)
    assert footfall.main(["data"]) == code
    assert said in capsys.readouterr().err


def test_result_when_a_verb_ends_well_then_one_json_object_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("serving.commands.data.run", lambda argv: {"title": "茶", "rows": 3})
    assert footfall.main(["data"]) == 0
    assert json.loads(capsys.readouterr().out) == {"title": "茶", "rows": 3}


def test_dotted_option_when_given_then_overrides_the_yaml_file(tmp_path: Path) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(
        yaml.safe_dump({"shop": {"currency": "EUR", "lifecycle": {"new_days": 7}}, "engine": {"threads": 1}})
    )
    words = ["somewhere", "--config", str(config), "--shop.lifecycle.new_days", "9"]
    result = run_command(example, words, prog="footfall example")
    assert result is not None
    shop, engine = result["shop"], result["engine"]
    assert (shop.currency, shop.lifecycle.new_days, engine.threads) == ("EUR", 9, 1)
    assert result["out"] == Path("somewhere")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["x", "--shop.currenzy", "EUR"], "unknown option --shop.currenzy. Did you mean 'shop.currency'?"),
        (["x", "--engine.threads", "many"], "engine.threads"),
        ([], "required: out"),
        (["x", "--shop.time_zone", "Europe/Pari"], "Did you mean 'Europe/Paris'?"),
    ],
)
def test_bad_argument_when_parsed_then_says_which_and_what_was_meant(words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        run_command(example, words, prog="footfall example")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"engine": {"memory_lmit": "1GB"}},
            "unknown setting 'engine.memory_lmit'. Did you mean 'engine.memory_limit'?",
        ),
        ({"enginee": {"threads": 1}}, "unknown setting 'enginee.threads'. Did you mean 'engine.threads'?"),
    ],
)
def test_unknown_yaml_key_when_parsed_then_refused_with_a_hint(content: object, expected: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=re.escape(expected)):
        run_command(example, ["x", "--config", str(config)], prog="footfall example")


def test_print_config_when_fed_back_then_gives_the_same_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_command(example, ["x", "--shop.name", "corner", "--print_config"], prog="footfall example")
    assert stop.value.code == 0
    config = tmp_path / "config.yaml"
    config.write_text(capsys.readouterr().out)
    result = run_command(example, ["--config", str(config)], prog="footfall example")
    assert result is not None
    assert result["shop"] == ShopSettings(name="corner")
