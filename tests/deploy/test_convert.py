"""The one place where a pickle is read."""

from __future__ import annotations

import argparse
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, safe_open

from anmok.core.errors import DataError, UsageError
from anmok.deploy import convert as room
from anmok.deploy.convert import convert, tensor_table
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.models.lenet import LeNet


class Does:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_tensors_come_out_as_they_are(tmp_path: Path) -> None:
    state = LeNet(3, 3).state_dict() | {"half": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3)}
    torch.save(state, tmp_path / "w.pth")
    out = convert(tmp_path / "w.pth", trust=True)
    assert out == tmp_path / "w.safetensors"
    found = load_file(out)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in state.items())
    assert {p.name for p in tmp_path.iterdir()} == {"w.pth", "w.safetensors"}
    with safe_open(out, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_checkpoint_with_more_than_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = torch.arange(6.0)
    state = {"module.a.weight": shared, "module.b.weight": shared[:3], "module.note": "text"}
    checkpoint = {"epoch": 3, "state_dict": state, "args": argparse.Namespace(lr=0.1)}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    said: list[str] = []
    monkeypatch.setattr(room, "say", said.append)
    found = load_file(convert(tmp_path / "last.ckpt", tmp_path / "out" / "a.safetensors", trust=True))
    assert torch.equal(found["a.weight"], shared)
    assert torch.equal(found["b.weight"], shared[:3])
    text = "\n".join(said)
    assert "read in full" in text  # the restricted reader does not know argparse.Namespace
    assert "state_dict" in text
    assert "module.note" in text
    assert "2 tensors, 9 numbers" in text


def test_a_whole_module_of_torchs_own_layers(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path / "m.pt")
    assert set(load_file(convert(tmp_path / "m.pt", trust=True))) == {"0.weight", "0.bias"}


def test_without_trust_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, tmp_path / "w.pth")
    monkeypatch.setattr(room.subprocess, "run", lambda *a, **k: pytest.fail("it was read"))
    with pytest.raises(UsageError, match="--trust") as caught:
        convert(tmp_path / "w.pth")
    assert caught.value.code == "pickle"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("how", ["program", "file", "connection", "delete", "system"])
def test_what_a_hostile_file_tries_is_stopped(tmp_path: Path, how: str) -> None:
    mark = tmp_path / "mark"
    if how == "delete":
        mark.touch()
    server = socket.create_server(("127.0.0.1", 0))
    import subprocess

    bomb = {
        "program": Does(subprocess.Popen, ["touch", str(mark)]),
        "file": Does(open, str(mark), "w"),
        "connection": Does(socket.create_connection, server.getsockname()),
        "delete": Does(os.remove, str(mark)),
        "system": Does(os.system, f"touch {mark}"),
    }[how]
    with server:
        if how == "system":
            (tmp_path / "w.pth").write_bytes(pickle.dumps({"w": bomb}))
        else:
            torch.save({"w": torch.ones(2), "bomb": bomb}, tmp_path / "w.pth")
        with pytest.raises(DataError, match="the file tried to") as caught:
            convert(tmp_path / "w.pth", trust=True)
        assert caught.value.code == "unreadable"
    assert mark.exists() == (how == "delete")
    assert not list(tmp_path.glob("*.safetensors"))
    assert not list(tmp_path.glob(".*"))


def test_the_reader_sees_neither_secrets_nor_the_users_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_reader.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "secret")
    seen: dict[str, Any] = {}
    run = room.subprocess.run

    def spy(command: list[str], **options: Any) -> Any:
        seen.update(options["env"])
        return run(command, **options)

    monkeypatch.setattr(room.subprocess, "run", spy)
    (tmp_path / "w.pth").write_bytes(b"\x80\x02cplanted_reader\nmake\n.")
    with pytest.raises(DataError, match="planted_reader"):
        convert(tmp_path / "w.pth", trust=True)
    assert "HF_TOKEN" not in seen
    assert "PYTHONPATH" not in seen


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "EOFError"),
        (b"no pickle", "UnpicklingError"),
        ([1, 2], "list"),
        ({"a": 1}, "no tensors by name"),
    ],
)
def test_a_file_without_tensors(tmp_path: Path, content: Any, match: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / "w.pth").write_bytes(content)
    else:
        torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DataError, match=match):
        convert(tmp_path / "w.pth", trust=True)
    assert [p.name for p in tmp_path.iterdir()] == ["w.pth"]


def test_wrong_calls(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_text("mine")
    (tmp_path / "x.txt").touch()
    with pytest.raises(UsageError, match="exists already"):
        convert(tmp_path / "w.pth", trust=True)
    assert (tmp_path / "w.safetensors").read_text() == "mine"
    with pytest.raises(UsageError, match="must end in"):
        convert(tmp_path / "w.pth", tmp_path / "w.bin", trust=True)
    with pytest.raises(UsageError, match="only pickled files"):
        convert(tmp_path / "x.txt", trust=True)
    with pytest.raises(UsageError, match="no such file"):
        convert(tmp_path / "absent.pth", trust=True)


def test_the_table_and_the_way_into_a_training(tmp_path: Path) -> None:
    torch.save({"model": LeNet(10, 1).state_dict()}, tmp_path / "w.pt")
    out = convert(tmp_path / "w.pt", trust=True)
    lines = tensor_table(out).splitlines()
    assert lines[-1] == "10 tensors, 61,706 numbers"
    assert "conv1.weight" in lines[1]
    assert "6×1×5×5" in lines[1]
    built = build(ModelConfig(name="lenet", weights=str(out)), ["a", "b"], "binary", 1)
    assert torch.equal(built.classifier.backbone.conv1.weight, load_file(out)["conv1.weight"])
