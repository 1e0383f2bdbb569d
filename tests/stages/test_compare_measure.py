"""What is measured of a model: against hand calculations, on models whose answer is known."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.data import Table, open_table
from anmok.data.table import class_counts
from anmok.stages.compare_entry import share_of, too_few
from anmok.stages.compare_measure import (
    LATENCY_LEAST,
    WARM,
    Looked,
    accuracy,
    at_scale,
    busy,
    latency_ms,
    look,
    reach,
    resize_network,
    shuffled,
    throughput,
)


@dataclass
class Brightness:
    """Says 'light' by the mean of the picture, or of its left half."""

    preprocess: Preprocess
    half: bool = False
    task: str = "multiclass"
    classes: tuple[str, ...] = ("dark", "light")
    calls: int = 0

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        seen = images[:, :, : images.shape[2] // 2] if self.half else images
        light = seen.mean((1, 2, 3)) / 255
        return np.stack([1 - light, light], 1).astype(np.float32)


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """30 pictures whose left half is dark or light, the right half the other, a little less so."""
    folder, rng = tmp_path_factory.mktemp("shades"), np.random.default_rng(0)
    for label, left, right in (("dark", 40, 190), ("light", 210, 60)):
        (folder / label).mkdir()
        for i in range(15):
            picture = np.empty((32, 32, 3))
            picture[:, :16], picture[:, 16:] = left, right
            picture = (picture + rng.integers(-20, 20, picture.shape)).astype(np.uint8)
            Image.fromarray(picture).save(folder / label / f"{i}.png")
    return open_table(folder)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_accuracy_is_the_share_that_is_right(pairs: list[tuple[int, int]]) -> None:
    called, targets = (np.array(x) for x in zip(*pairs, strict=True))
    found = accuracy(np.eye(3, dtype=np.float32)[called], targets, "multiclass")
    assert found["value"] == np.mean(called == targets)
    assert found["low"] <= found["value"] <= found["high"]
    many = accuracy(np.eye(3, dtype=np.float32)[called], np.eye(3, dtype=np.float32)[targets], "multilabel")
    assert many["value"] == found["value"]


def test_speed_is_the_median_after_warming_up() -> None:
    now = 0.0

    class Slow(Brightness):
        """Takes 10 ms, every third time and while it warms up 500 ms."""

        def probabilities(self, images: np.ndarray) -> np.ndarray:
            nonlocal now
            now += 0.5 if self.calls < WARM or self.calls % 3 == 0 else 0.01
            return super().probabilities(images)

    model = Slow(Preprocess(8))
    assert latency_ms(model, np.zeros((1, 8, 8, 3), np.uint8), lambda: now) == pytest.approx(10)
    assert model.calls >= WARM + LATENCY_LEAST
    model.calls = 0
    assert throughput(model, np.zeros((4, 8, 8, 3), np.uint8), lambda: now) == pytest.approx(400)


def test_shuffling_costs_what_rests_on_the_layout(shades: Table) -> None:
    pre = Preprocess(32)
    seen = look(shades, pre, 30, 0)
    layout, whole = Brightness(pre, half=True), Brightness(pre)
    for model in (layout, whole):
        plain = accuracy(model.probabilities(seen.images), seen.targets, "multiclass")
        found = shuffled(model, seen, plain, 4, 0)
        assert found["plain"] == plain["value"]
        if model is layout:
            assert plain["value"] == 1
            assert found["value"] < 0.9
        else:
            assert found["value"] == plain["value"]  # the mean stays what it is
    assert "more than 32 pixels" in shuffled(whole, seen, plain, 64, 0)["reason"]


def test_another_size_is_another_picture_of_the_same(shades: Table) -> None:
    @dataclass
    class Fixed:
        """As a baseline whose features stay as many."""

        features: Any
        preprocess: Preprocess
        task: str = "multiclass"

        def probabilities(self, images: np.ndarray) -> np.ndarray:
            assert images.shape[1] == self.preprocess.image_size
            return Brightness(self.preprocess, half=True).probabilities(images)

    @dataclass
    class Named:
        name: str
        preprocess: Preprocess
        module: Any = None

    options = {"most": 30, "seed": 0}
    model = Fixed(Named("colors", Preprocess(32)), Preprocess(32))
    found = at_scale(model, shades, {"value": 1.0}, 0.75, 1, options)
    assert (found["size"], found["scale"]) == (24, 0.75)
    assert "image_size" not in found
    model = Fixed(Named("hog", Preprocess(32)), Preprocess(32))
    pytest.importorskip("skimage")
    assert "follows the size" in at_scale(model, shades, {"value": 1.0}, 0.75, 1, options)["accuracy"]["reason"]
    assert "multiple of 32" in at_scale(model, shades, {"value": 1.0}, 1.25, 32, options)["accuracy"]["reason"]


def test_position_embeddings_follow_the_size() -> None:
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    vit = timm.create_model("test_vit", img_size=32, num_classes=3).eval()
    before = vit.pos_embed.shape[1]
    resize_network(vit, 48)
    assert vit.pos_embed.shape[1] - vit.num_prefix_tokens == 9 * (before - vit.num_prefix_tokens) // 4
    assert vit(torch.zeros(1, 3, 48, 48)).shape == (1, 3)
    resize_network(torch.nn.Linear(2, 2), 48)  # nothing to be told


def test_reach_of_lenet(shades: Table) -> None:
    pytest.importorskip("torch")
    from anmok.models.classifier import Classifier
    from anmok.models.lenet import LeNet

    @dataclass
    class Model:
        classifier: Any

    classifier = Classifier(LeNet(2), ["a", "b"], "multiclass", (0.5,) * 3, (0.25,) * 3, 2)
    found = reach(Model(classifier), look(shades, Preprocess(32), 8, 0))
    assert found["side"] == 32
    assert 0 < found["radius"] <= 8 * 2**0.5  # two 5 × 5 convolutions with poolings see 16 × 16 pixels
    assert found["value"] == pytest.approx(found["radius"] / 32)


def test_images_are_as_many_of_each_class(shades: Table) -> None:
    seen = look(shades, Preprocess(16), 10, 3)
    assert seen.images.shape == (10, 16, 16, 3)
    assert np.bincount(seen.targets).tolist() == [5, 5]
    assert isinstance(look(shades, Preprocess(16), 10, 3), Looked)
    with pytest.raises(DataError, match="no image"):
        look(shades.take([]), Preprocess(16), 10, 0)


@given(st.integers(0, 100), st.floats(0.1, 0.9))
def test_a_share_lies_within_the_next_larger_one(shades: Table, seed: int, share: float) -> None:
    import polars as pl

    split = pl.Series("split", (["train"] * 10 + ["val"] * 2 + ["test"] * 3) * 2)
    table = shades._with(rows=shades.rows.with_columns(split))
    small, large = (share_of(table, s, seed) for s in (share, min(1.0, share + 0.1)))
    ids = [set(t.where(split="train").rows["id"]) for t in (small, large)]
    assert ids[0] <= ids[1]
    for t in (small, large):
        assert t.where(split="test").rows["id"].to_list() == table.where(split="test").rows["id"].to_list()
        assert len(t.where(split="val")) == 4
    counts = class_counts(small.where(split="train"))
    assert len(set(counts.values())) == 1
    assert bool(too_few(table, share)) == (share * 20 < 4)


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmok.stages.compare_measure.cores", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (9.7, 1.0, 1.0))
    assert busy() == "the machine was busy with other work (load 9.7 on 2 cores): its speeds are too low"
    monkeypatch.setattr(os, "getloadavg", lambda: (3.9, 9.0, 9.0))
    assert busy() == ""


def test_peak_memory_is_the_process_s_own() -> None:
    held = np.ones(40_000_000)  # 320 MB, of the process that starts the other
    code = (
        "from anmok.stages.compare_measure import peak_memory_bytes as peak\n"
        "import numpy\nbefore = peak()\nx = numpy.ones(25_000_000)\ndel x\nprint(before, peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before < held.nbytes
    assert 190e6 < after - before < 260e6


def test_memory_is_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.stages.compare_measure import peak_memory_bytes

    def gone(self: Path, *args: Any, **kwargs: Any) -> str:
        raise FileNotFoundError

    exact = peak_memory_bytes()
    monkeypatch.setattr(Path, "read_text", gone)
    assert exact is not None
    assert peak_memory_bytes() >= exact // 2  # type: ignore[operator]
