"""`anmok inspect`: what it chooses, what it writes, where its maps lie, and what it says where something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_runs import SMALL

import anmok
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.types import Predictions
from anmok.stages import inspect_images as images_of
from anmok.stages.inspect import inspect
from anmok.stages.inspect_errors import is_wrong, surest
from anmok.stages.inspect_looks import place
from anmok.stages.inspect_result import Inspection
from anmok.stages.inspect_vectors import on_plane, pca, same_neighbours
from anmok.stages.run import Run

FILES = {
    "looks.png", "errors.png", "filters.png", "layers.png", "receptive-field.png", "embedding.png", "inspect.html",
    "inspect.json", "images",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return anmok.train(digits, out=tmp_path_factory.mktemp("inspect") / "run", **{**SMALL, "epochs": 3})


@pytest.fixture(scope="module")
def transformer(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("inspect") / "vit"
    return anmok.train(digits, out=out, **{**SMALL, "model": "test_vit", "image_size": 64})


@pytest.fixture(scope="module")
def inspected(run: Run) -> Inspection:
    return inspect(run.path, threads=1, **{"inspect.images": 6})


def test_everything_that_was_promised_is_there(run: Run, inspected: Inspection) -> None:
    assert inspected.path == run.path / "inspect"
    assert {p.name for p in inspected.path.iterdir()} == FILES
    for file in inspected.path.rglob("*.png"):
        with Image.open(file) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 3, file
    data = json.loads((inspected.path / "inspect.json").read_bytes())
    assert data == inspected.data
    assert "lenet" in repr(inspected)
    assert "<li>" in inspected._repr_html_()
    with pytest.raises(UsageError, match="exists already") as caught:
        inspect(run)
    assert caught.value.code == "exists"


def test_wrong_and_right_images_are_chosen_and_their_answers_told(run: Run, inspected: Inspection) -> None:
    p = run.predictions("val")
    assert p.targets is not None
    place_of = {identity: row for row, identity in enumerate(p.ids)}
    wrong = np.flatnonzero(p.probs.argmax(axis=1) != p.targets)
    told = inspected.data["images"]
    assert len(told) == len({one["id"] for one in told}) == 6
    assert sum(one["wrong"] for one in told) == max(min(3, len(wrong)), 6 - (len(p) - len(wrong)))
    for one in told:
        row = place_of[one["id"]]
        assert one["truth"] == p.classes[p.targets[row]]
        assert one["wrong"] == (row in wrong)
        for label, prob in one["probs"].items():
            assert prob == pytest.approx(p.probs[row, p.classes.index(label)], abs=1e-5)
    if len(wrong):  # the first is the surest of the most frequent confusion
        assert told[0]["id"] == p.ids[surest(p, 1)[0].rows[0]]


def test_numbers_are_those_of_the_network(run: Run, inspected: Inspection) -> None:
    from anmok.models.encoder import Encoder
    from anmok.models.gradcam import find_layer

    model = run.load_model()
    size = model.preprocess.image_size
    assert inspected.data["layer"] == find_layer(model.classifier.backbone, torch.zeros(1, 3, size, size))
    points = inspected.data["map"]["points"]
    p = run.predictions("val")
    assert sorted(point["id"] for point in points) == sorted(p.ids)
    assert sum(point["wrong"] for point in points) == int(is_wrong(p).sum())
    assert inspected.data["map"]["width"] == Encoder(model.classifier.backbone, model.classifier.outputs, size).width
    field = inspected.data["field"]
    assert 0 < field["radius_68"]["pixels"] <= field["radius_95"]["pixels"] < size
    assert field["radius_95"]["share"] == pytest.approx(field["radius_95"]["pixels"] / size)
    assert "no attention" in inspected.data["rollout"]


def test_given_images_of_a_model_folder(run: Run, digits: Path, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    good = sorted((digits / "digit-2").iterdir())[:2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images_of, "warn", said.append)
        found = inspect(run.path / "model", [good[0], tmp_path / "broken.png", good[1]], tmp_path / "out")
    assert [one["id"] for one in found.data["images"]] == [str(path) for path in good]
    assert all(one["truth"] is None for one in found.data["images"])
    assert "broken.png" in said[0]
    assert {p.name for p in found.path.iterdir()} == FILES - {"errors.png", "embedding.png"}
    for one, path in zip(found.data["images"], good, strict=True):
        expected = run.predict(path)
        assert max(one["probs"].values()) == pytest.approx(float(expected.probs.max()), abs=1e-5)


def test_sources_arrays_and_tables_are_images_too(run: Run, digits: Path, tmp_path: Path) -> None:
    model = anmok.load(run)
    folder = inspect(model, digits, tmp_path / "folder", **{"inspect.images": 4})
    assert [one["truth"] for one in folder.data["images"]] == [f"digit-{i}" for i in range(4)]
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    mixed = inspect(model, [array, Image.fromarray(array)], tmp_path / "mixed")
    assert [one["id"] for one in mixed.data["images"]] == ["0", "1"]
    assert mixed.data["images"][0]["probs"] == mixed.data["images"][1]["probs"]
    table = anmok.open(digits)
    of_table = inspect(model, table, tmp_path / "table", **{"inspect.images": 4})
    assert of_table.data["images"] == folder.data["images"]


def test_a_transformer_has_a_rollout_in_the_picture(transformer: Run, tmp_path: Path) -> None:
    found = inspect(transformer, out=tmp_path / "out", threads=1, **{"inspect.images": 2, "inspect.layers": 3})
    assert found.data["rollout"] is None
    assert found.data["grid"] == [4, 4]
    assert found.data["layers"] == ["blocks.0", "blocks.2", "blocks.5"]
    names = [p.name for p in (found.path / "images").iterdir()]
    assert sum(name.endswith(".attention-rollout.png") for name in names) == 2
    chosen = inspect(transformer, out=tmp_path / "layer", **{"inspect.images": 1, "inspect.layer": "blocks.2.norm1"})
    assert chosen.data["layer"] == "blocks.2.norm1"


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("shape", [(60, 120), (120, 60), (90, 90)])
def test_a_map_lies_where_the_network_saw_it(fit: str, shape: tuple[int, int]) -> None:
    """A picture that is itself a map, prepared and brought back, is the picture: the way there and back are one."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    picture = np.rint(255 * (0.5 * rows / height + 0.5 * columns / width)).astype(np.uint8)[..., None]
    pre = Preprocess(64, channels="gray", fit=fit, crop_pct=0.8 if fit == "crop" else 1.0)  # type: ignore[arg-type]
    back = place(pre.apply(picture)[..., 0].astype(np.float32), pre, height, width)
    assert back.shape == shape
    seen = ~np.isnan(back)
    if fit == "crop":
        side = round(0.8 * min(shape))
        assert seen.sum() == side * side
    else:
        assert seen.all()
    np.testing.assert_allclose(back[seen], picture[..., 0][seen], atol=6)


def test_surest_errors_by_hand() -> None:
    probs = np.array(
        [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4], [np.nan] * 3, [1, 0, 0]], np.float32
    )
    p = Predictions(list("abcdef"), ["x", "y", "z"], probs, np.array([1, 1, 0, 2, 0, -1]))
    assert is_wrong(p).tolist() == [True, True, True, False, False, False]
    found = surest(p, 1)
    assert [(c.truth, c.predicted, c.images, c.rows) for c in found] == [("y", "x", 2, (0,)), ("x", "y", 1, (2,))]
    several = Predictions(
        ["a", "b"], ["cat", "dog"], np.array([[0.95, 0.2], [0.1, 0.6]], np.float32),
        np.array([[0, 1], [1, np.nan]], np.float32), "multilabel",
    )  # fmt: skip
    assert [(c.truth, c.predicted, c.rows) for c in surest(several, 2)] == [
        ("no cat", "cat", (0,)), ("cat", "no cat", (1,)), ("dog", "no dog", (0,)),
    ]  # fmt: skip


@settings(deadline=None)
@given(st.integers(3, 40), st.integers(1, 12), st.integers(0, 2**31))
def test_pca_is_scikit_learn_s(n: int, d: int, seed: int) -> None:
    from sklearn.decomposition import PCA

    values = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    points, shares = pca(values)
    k = min(2, n, d)
    theirs = PCA(k, svd_solver="full").fit(values.astype(np.float64))
    expected = theirs.transform(values.astype(np.float64))
    np.testing.assert_allclose(np.abs(points[:, :k]), np.abs(expected), atol=1e-6)
    np.testing.assert_allclose(shares[:k], theirs.explained_variance_ratio_, atol=1e-6)
    np.testing.assert_array_equal(points[:, k:], 0)
    np.testing.assert_allclose(pca(np.repeat(values[:1], 4, axis=0))[0], 0, atol=1e-6)


def test_neighbours_are_scikit_learn_s() -> None:
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(700, 5)).astype(np.float32), rng.integers(0, 3, 700)
    values[:, 0] += labels
    nearest = NearestNeighbors(n_neighbors=2).fit(values).kneighbors(values, return_distance=False)[:, 1]
    assert same_neighbours(values, labels) == pytest.approx((labels[nearest] == labels).mean())


def test_umap_is_asked_for_before_anything_is_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(MachineError, match="needs the package umap") as caught:
        inspect("nowhere", out=tmp_path / "out", **{"inspect.map": "umap"})
    assert "anmok[umap]" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_umap_keeps_groups_together() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    values = (rng.normal(size=(90, 8)) + 20 * np.eye(3, 8)[labels]).astype(np.float32)
    plane = on_plane(values, "umap", 0)
    assert plane.axes == ("UMAP 1", "UMAP 2")
    assert same_neighbours(plane.points, labels) == 1
    np.testing.assert_array_equal(on_plane(values, "umap", 0).points, plane.points)


def test_wrong_calls(run: Run, digits: Path, tmp_path: Path) -> None:
    image = next((digits / "digit-0").iterdir())
    with pytest.raises(UsageError, match="has no images of its own") as caught:
        inspect(run.path / "model", out=tmp_path / "out")
    assert caught.value.code == "images"
    with pytest.raises(UsageError, match=r"no such image\..*Did you mean"):
        inspect(run, [image.with_name(f"{image.stem}.pgn")], tmp_path / "out")
    with pytest.raises(UsageError, match="no such run or model"):
        inspect(tmp_path / "nowhere", [image], tmp_path / "out")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="no image to look at") as data:
        inspect(run, tmp_path / "text.png", tmp_path / "out")
    assert data.value.code == "no-images"
    with pytest.raises(UsageError, match=r"no module conv3\..*Did you mean"):
        inspect(run, image, tmp_path / "out", **{"inspect.layer": "conv3"})
    with pytest.raises(UsageError, match="'pca' or 'umap'"):
        inspect(run, image, tmp_path / "out", **{"inspect.map": "tsne"})
    assert not (tmp_path / "out").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # nothing half-made stays


def test_gray_binary_and_multilabel(digits: Path, tmp_path: Path) -> None:
    """One channel and one logit; several labels an image."""
    import csv

    for folder in ("digit-0", "digit-1"):
        for path in sorted((digits / folder).iterdir())[:30]:
            target = tmp_path / "two" / folder / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    binary = anmok.train(tmp_path / "two", out=tmp_path / "binary", **{**SMALL, "channels": "gray"})
    found = inspect(binary, out=tmp_path / "a", **{"inspect.images": 4})
    assert len(found.data["images"]) == 4
    assert all(set(one["probs"]) == {"digit-0", "digit-1"} for one in found.data["images"])
    listed = tmp_path / "several.csv"
    with listed.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "label"])
        for folder, labels in (("digit-0", "round"), ("digit-1", "tall"), ("digit-2", "round;tall")):
            writer.writerows([f"{folder}/{p.name}", labels] for p in sorted((digits / folder).iterdir())[:25])
    several = anmok.train(listed, out=tmp_path / "several", image_root=str(digits), **SMALL)
    assert several.config is not None
    found = inspect(several, out=tmp_path / "b", **{"inspect.images": 4})
    assert found.data["map"]["same_neighbours"] is None
    assert {one["truth"] for one in found.data["images"]} <= {"round", "tall", "round, tall"}
