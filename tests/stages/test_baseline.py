"""Simple baselines from a source to predictions: their names, what they see, and what they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.core.errors import UsageError
from anmok.data import open_table
from anmok.data.hand_features import HAND
from anmok.evaluate.baseline_models import SETTINGS
from anmok.stages.baseline import RANDOM, baseline
from anmok.stages.baseline_names import BaselineName, baseline_name

SMALL: dict[str, Any] = {"image_size": 32, "threads": 1}


@given(st.sampled_from([*HAND, "resnet18", "torchvision/resnet18", "my.code:net"]), st.sampled_from(sorted(SETTINGS)))
def test_a_name_is_features_and_classifier(features: str, classifier: str) -> None:
    assert baseline_name(f"{features}/{classifier}") == BaselineName(features, classifier)
    assert BaselineName(features, classifier).network == ("" if features in HAND else features)


def test_a_network_is_no_baseline() -> None:
    for name in ("resnet18", "torchvision/resnet18", "lenet", "module:call", "pixels"):
        assert baseline_name(name) is None
    with pytest.raises(UsageError, match="Did you mean hog/logistic"):
        baseline_name("hog/logistc")
    with pytest.raises(UsageError, match="Known: ridge, logistic, knn, tree"):
        baseline_name("/svm")
    with pytest.raises(UsageError, match="is a network"):
        baseline("nothing", "resnet18")


@pytest.mark.parametrize("name", ["pixels/ridge", "hog/logistic", "lbp/knn", "pixels/tree"])
def test_digits_are_told_apart(name: str, digits: Path) -> None:
    if name.startswith(("hog", "lbp")):
        pytest.importorskip("skimage")
    model, table = baseline(digits, name, **SMALL)
    test = table.where(split="test")
    p = model.predict(test)
    np.testing.assert_array_equal(p.targets, test.targets())
    assert p.ids == test.rows["id"].to_list()
    least = 0.6 if name.startswith("lbp") else 0.8
    assert (p.probs.argmax(1) == p.targets).mean() >= least
    again, _ = baseline(digits, name, **SMALL)
    np.testing.assert_array_equal(again.predict(test).probs, p.probs)


def test_features_of_a_network_are_what_its_head_would_see(digits: Path) -> None:
    torch = pytest.importorskip("torch")
    model, table = baseline(digits, "lenet/knn", **SMALL)
    assert model.notes == (RANDOM,)
    lenet = model.features.module.backbone
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        x = model.features.normalize(torch.from_numpy(images))
        maps = lenet.cells(lenet.forward_features(x)).flatten(1)
        expected = torch.relu(lenet.fc2(torch.relu(lenet.fc1(maps))))
    np.testing.assert_allclose(model.features.of(images), expected.numpy(), atol=1e-5)
    p = model.predict(table.where(split="test"))
    assert (p.probs.argmax(1) == p.targets).mean() > 0.7
    with pytest.raises(UsageError, match="Did you mean pixels"):
        baseline(digits, "pixel/knn", **SMALL)


def test_an_image_that_cannot_be_read_is_left_out(digits: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, shade in (("dark", 40), ("light", 200)):
        (tmp_path / label).mkdir()
        for i in range(20):
            noise = rng.integers(-30, 30, (16, 16, 3))
            Image.fromarray((shade + noise).astype(np.uint8)).save(tmp_path / label / f"{i}.png")
    broken = tmp_path / "dark" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    model, table = baseline(tmp_path, "colors/tree", image_size=16, threads=1)
    p = model.predict(open_table(tmp_path))
    bad = np.isnan(p.probs).any(1)
    assert [i for i, wrong in zip(p.ids, bad, strict=True) if wrong] == ["dark/3.png"]
    assert (p.probs[~bad].argmax(1) == p.targets[~bad]).all()  # type: ignore[index]
    assert len(table) == 40


def test_features_made_by_hand_need_no_torch(digits: Path) -> None:
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from anmok.stages.baseline import baseline\n"
        "model, table = baseline(sys.argv[1], 'colors/knn', image_size=16, threads=1)\n"
        "print(len(model.predict(table)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(digits)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "160"
