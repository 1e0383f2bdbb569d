"""Without torch: what the light install promises works, and what needs more says so by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anmok.core.artifacts import save_predictions
from anmok.core.types import Predictions

# Packages of the extras, as if they had never been installed.
EXTRAS = ("torch", "torchvision", "timm", "transformers", "safetensors", "huggingface_hub", "onnx", "onnxruntime",
          "openvino", "diffusers", "peft", "optuna", "usearch", "albumentations", "pi_heif")  # fmt: skip
BLOCK = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from anmok.cli import main
main(sys.argv[1:])
"""


def light(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_audit_and_split_need_no_torch(digits: Path, tmp_path: Path) -> None:
    audit = light("audit", digits, "--out", tmp_path / "audit")
    assert audit.returncode == 0, audit.stderr
    assert (tmp_path / "audit" / "audit.json").is_file()
    split = light("split", digits, "--out", tmp_path / "table.parquet")
    assert split.returncode == 0, split.stderr
    assert (tmp_path / "table.parquet").is_file()
    assert light("doctor").returncode == 0


def test_predictions_are_judged_without_torch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet((1, 1, 1), 60).astype(np.float32)
    predictions = Predictions([str(i) for i in range(60)], ["a", "b", "c"], probs, rng.integers(0, 3, 60))
    save_predictions(predictions, tmp_path / "p.parquet")
    done = light("evaluate", tmp_path / "p.parquet")
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout


@pytest.mark.parametrize("verb", [("train", "IMAGES", "--out", "run"), ("predict", "IMAGES", "IMAGES")])
def test_what_needs_torch_names_the_extra(verb: tuple[str, ...], digits: Path, tmp_path: Path) -> None:
    done = light(*(digits if word == "IMAGES" else tmp_path / word if word == "run" else word for word in verb))
    assert done.returncode == 4
    assert "pip install 'anmok[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
