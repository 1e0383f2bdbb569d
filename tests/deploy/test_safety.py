"""A model folder is verified before anything in it is loaded (rows 50, 51, 52 of the faults)."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import Make

from anmok.core.errors import DataError
from anmok.core.files import MANIFEST, write_manifest
from anmok.deploy import bundle
from anmok.deploy.bundle import load_model
from anmok.models.weights import PICKLED


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading weights or building a network fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("something was loaded before the folder was verified")

    for name in ("read_weights", "build_network", "find_object"):
        monkeypatch.setattr(bundle, name, refuse)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocess.json", "decision.json", "README.md"])
@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_changed_byte_is_refused(make: Make, name: str) -> None:
    folder, _, _ = make("lenet")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(DataError, match=name) as caught:
        load_model(folder)
    assert caught.value.code == "tampered"


@pytest.mark.parametrize("name", ["model.safetensors", "preprocess.json", MANIFEST])
@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_missing_file_is_refused(make: Make, name: str) -> None:
    folder, _, _ = make("lenet")
    (folder / name).unlink()
    with pytest.raises(DataError, match=name) as caught:
        load_model(folder)
    assert caught.value.code == "tampered"


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_file_that_the_manifest_does_not_list_is_not_believed(make: Make) -> None:
    folder, _, _ = make("lenet")
    lines = (folder / MANIFEST).read_text().splitlines()
    (folder / MANIFEST).write_text("".join(f"{line}\n" for line in lines if "config.json" not in line))
    with pytest.raises(DataError, match=r"does not vouch for config\.json") as caught:
        load_model(folder)
    assert caught.value.code == "tampered"


@pytest.mark.parametrize("suffix", sorted(PICKLED))
@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_pickled_file_beside_the_weights_is_refused(make: Make, tmp_path: Path, suffix: str) -> None:
    folder, _, _ = make("lenet")
    (folder / "more").mkdir()
    file = folder / "more" / f"weights{suffix}"
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    write_manifest(folder)
    for path in (folder, file):
        with pytest.raises(DataError, match="pickled") as caught:
            load_model(path)
        assert caught.value.code == "pickle"
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_nothing_but_a_pickle(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="pickled"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "planted",
    [
        {"auto_map": {"AutoModel": "modeling.Net"}},
        {"trust_remote_code": True},
        {"text_config": {"deep": [{"er": {"auto_map": {"AutoConfig": "x.Y"}}}]}},
        {"custom_pipelines": {"image-classification": {"impl": "x.Y"}}},
    ],
)
@pytest.mark.parametrize("manifest", ["right", "absent"])
@pytest.mark.usefixtures("nothing_is_loaded")
def test_remote_code_is_refused_however_deep(make: Make, planted: dict[str, Any], manifest: str) -> None:
    folder, _, _ = make("lenet")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | planted))
    (folder / MANIFEST).unlink()
    if manifest == "right":
        write_manifest(folder)
    with pytest.raises(DataError, match="asks for code of its own") as caught:
        load_model(folder)
    assert caught.value.code == "remote-code"


def test_code_inside_the_folder_never_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _, _ = make("lenet")
    (folder / "planted_in_folder.py").write_text("raise SystemExit('ran')")
    config = json.loads((folder / "config.json").read_text())
    config["architecture"] = "planted_in_folder:make"
    (folder / "config.json").write_text(json.dumps(config))
    write_manifest(folder)
    monkeypatch.chdir(folder)  # where Python would find it
    with pytest.raises(DataError, match="inside the model folder"):
        load_model(".")
    assert "planted_in_folder" not in sys.modules


@pytest.mark.parametrize("path", ["os:system", "subprocess:run", "pdb:set_trace"])
@pytest.mark.parametrize("kind", ["callable", "object"])
def test_python_itself_is_no_model(make: Make, path: str, kind: str) -> None:
    folder, _, _ = make("lenet")
    config = json.loads((folder / "config.json").read_text())
    if kind == "callable":
        config["architecture"] = path
    else:
        config["architecture"] = "object"
        config["anmok"] |= {"module": path, "arguments": {}}
    (folder / "config.json").write_text(json.dumps(config))
    write_manifest(folder)
    with pytest.raises(DataError, match="belongs to Python itself") as caught:
        load_model(folder)
    assert caught.value.code == "remote-code"
