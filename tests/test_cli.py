"""The command line as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anmok.cli import COMMANDS, main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "anmok", *arguments], capture_output=True, text=True, check=False)


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    heavy = ["torch", "pandas", "numpy", "polars", "pyarrow", "sklearn", "altair", "timm"]
    code = (
        "import sys, json\nfrom anmok.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert "train" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    assert f"anmok {command}" in capsys.readouterr().out


def test_help_names_short_and_long_settings(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    text = capsys.readouterr().out
    short = "model weights image-size channels epochs minutes batch-size adapt augment cache plan seed threads device"
    for option in (*short.split(), "out", "config", "optim.lr"):
        assert f"--{option}" in text


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["trian", "x"], "train"),
        (["train", "x", "--modle", "lenet"], "--model"),
        (["train", "x", "--optim.nam", "sgd"], "--optim.name"),
        (["train", "x", "--optim.name", "sdg"], "Did you mean sgd?"),
        (["train", "x", "--augment", "lihgt"], "Did you mean light?"),
    ],
)
def test_a_slip_gets_the_nearest_name(arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fail(capsys, *arguments)
    assert code == 2
    assert nearest in text
    assert "Traceback" not in text


def test_unknown_settings_in_a_file_get_the_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.toml"
    file.write_text("epcohs = 3\n")
    code, text = fail(capsys, "train", str(tmp_path), "--config", str(file))
    assert code == 2
    assert "Did you mean epochs?" in text
    code, text = fail(capsys, "train", str(tmp_path), "--config", str(tmp_path / "none.toml"))
    assert code == 2
    assert "none.toml" in text


def test_values_out_of_bounds_say_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fail(capsys, "train", "x", "--optim.lr", "-1")
    assert (code, "optim.lr" in text, "found '-1'" in text) == (2, True, True)


def test_a_wrong_source_names_the_accepted_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fail(capsys, "train", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run"))
    assert code == 2
    assert "CSV" in text
    assert not (tmp_path / "run").exists()


def test_python_dash_m_and_exit_codes() -> None:
    done = run("predict", "nowhere", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("error [")
    assert len(done.stderr.strip().splitlines()) == 1
