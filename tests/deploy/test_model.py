"""predict: from anything that is an image to named probabilities."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import KOREAN, Make, picture
from PIL import Image

from anmok.core.errors import UsageError
from anmok.data.decode import to_rgb
from anmok.deploy.bundle import load_model
from anmok.deploy.model import Model


@pytest.fixture
def model(make: Make) -> Model:
    return load_model(make("lenet")[0])


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()


def test_every_form_of_an_image_gives_the_same(model: Model, tmp_path: Path) -> None:
    image = picture(50, 70)
    (tmp_path / "a.png").write_bytes(png(image))
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), png(image), image, Image.fromarray(image), image / 255.0]
    many = model.predict(forms)
    assert many.ids == [str(tmp_path / "a.png"), str(tmp_path / "a.png"), "2", "3", "4", "5"]
    assert many.errors == {}
    assert np.abs(many.probs - many.probs[0]).max() < 1e-6
    for form in forms:
        one = model.predict(form)
        assert len(one) == 1
        np.testing.assert_allclose(one.probs[0], many.probs[0], atol=1e-6)
    stack = model.predict(np.stack([image, image]))
    assert stack.ids == ["0", "1"]
    assert len(model.predict(iter([image, image, image]))) == 3


def test_equals_the_path_of_evaluation(model: Model, photos: list[Path]) -> None:
    pixels = np.stack([model.preprocess.apply(to_rgb(p)) for p in photos])
    with torch.inference_mode():
        expected = model.classifier.probabilities(torch.from_numpy(pixels))
    found = model.predict(photos, batch_size=len(photos))
    assert np.array_equal(found.probs, expected.numpy())
    assert found.classes == KOREAN
    assert found.task == "multiclass"
    assert found.model_hash == model.hash
    assert found.probs.dtype == np.float32


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (2, 3), (100, None)])
def test_batches_and_threads_change_nothing(
    model: Model, photos: list[Path], batch_size: int, threads: int | None
) -> None:
    expected = model.predict(photos)
    found = model.predict(photos, batch_size=batch_size, threads=threads)
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-6)


def test_a_bad_image_is_an_error_for_itself_alone(model: Model, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.jpg").write_bytes(photos[3].read_bytes()[:3000])
    bad = [tmp_path / name for name in ("text.jpg", "absent.jpg", "empty.png", "cut.jpg")]
    found = model.predict([photos[0], *bad, b"rubbish", photos[1]], batch_size=2)
    assert np.isnan(found.probs).all(axis=1).tolist() == [False, True, True, True, True, True, False]
    assert set(found.errors) == {*map(str, bad), "5"}
    assert found.errors[str(bad[2])].startswith("empty")
    assert found.errors[str(bad[3])].startswith("truncated")
    np.testing.assert_allclose(found.probs[[0, 6]], model.predict(photos[:2]).probs, atol=1e-6)
    assert found.labels[1] == ""


def test_nothing_but_bad_images_and_nothing_at_all(model: Model) -> None:
    assert np.isnan(model.predict([b"x", b""]).probs).all()
    empty = model.predict([])
    assert empty.probs.shape == (0, 3)


def test_what_is_no_image_is_a_wrong_call(model: Model) -> None:
    with pytest.raises(UsageError):
        model.predict([3])
    with pytest.raises(UsageError):
        model.predict(3)


def test_grey_and_transparent_pictures(make: Make) -> None:
    folder, _, _ = make("lenet", channels=1, size=28)
    model = load_model(folder)
    rgba = np.dstack([picture(40, 40), np.zeros((40, 40), np.uint8)])
    white = np.full((40, 40, 3), 255, np.uint8)
    found = model.predict([rgba, white, white[:, :, 0]])
    assert found.errors == {}
    np.testing.assert_allclose(found.probs[1:], found.probs[:1].repeat(2, 0), atol=1e-6)


def test_it_prints(model: Model, make: Make) -> None:
    text = repr(model)
    assert "lenet" in text
    assert "유리, 종이, 금속" in text
    assert "64×64 rgb, squash" in text
    assert model.hash[:12] in text
    hostile = load_model(make("lenet", ["<b>", "c"], "binary")[0])
    assert "<b>" not in hostile._repr_html_()
    assert "&lt;b&gt;" in hostile._repr_html_()
