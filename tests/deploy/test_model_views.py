"""Model.predict: with test-time views, and with what decision.json decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_folders import Make, picture

from anmok.augment.tta import Sizes
from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json, write_json, write_manifest
from anmok.data.decode import to_rgb
from anmok.deploy.bundle import load_model
from anmok.deploy.model import Model
from anmok.deploy.views import takes
from anmok.evaluate.answers import Answers


@pytest.fixture
def model(make: Make) -> Model:
    return load_model(make("lenet", size=32)[0])


def decided(make: Make, **rules: object) -> Model:
    classes = ["ask", "no"]
    folder, _, _ = make("lenet", classes, "binary", size=32)
    write_json(folder / "decision.json", {**read_json(folder / "decision.json"), **rules})
    write_manifest(folder)
    return load_model(folder)


@pytest.mark.parametrize("tta", ["flips", "five-crop", "scales", "randaugment:4"])
def test_views_are_the_mean_of_their_answers(model: Model, photos: list[Path], tta: str) -> None:
    views = model.views(tta)
    by_hand = [
        [model.probabilities(view[None])[0] for view in views(to_rgb(photo), str(photo))] for photo in photos
    ]  # fmt: skip
    found = model.predict(photos, tta=tta, batch_size=2)
    np.testing.assert_allclose(found.probs, np.mean(by_hand, axis=1), atol=1e-6)
    weights = np.arange(1.0, len(views) + 1)
    weighed = model.predict(photos, tta=tta, tta_weights=list(weights))
    np.testing.assert_allclose(weighed.probs, np.average(by_hand, axis=1, weights=weights), atol=1e-6)
    plain = model.predict(photos)
    alone = model.predict(photos, tta=tta, tta_weights=[1.0] + [0.0] * (len(views) - 1))
    np.testing.assert_array_equal(alone.probs, plain.probs)
    assert np.abs(found.probs - plain.probs).max() > 1e-4


def test_views_of_other_sizes_where_the_network_takes_them(model: Model) -> None:
    assert takes("lenet") == Sizes(True, 1, 1)
    assert model.views("scales").sizes == (32, 29, 37)
    assert takes("object") == Sizes()
    assert takes("mine:Net") == Sizes()
    assert not takes("vit_tiny_patch16_224").variable


def test_a_bad_image_has_no_view(model: Model, photos: list[Path]) -> None:
    found = model.predict([photos[0], b"rubbish", photos[1]], tta="five-crop")
    assert list(found.errors) == ["1"]
    assert np.isnan(found.probs).any(axis=1).tolist() == [False, True, False]
    assert len(model.predict([], tta="flips")) == 0


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([1.0], "1 weights for 2 views. The views are plain, mirrored"),
        ([1.0, -1.0], "0 or more"),
        ([0.0, 0.0], "not all 0"),
        ([float("nan"), 1.0], "not all 0"),
        (["a", "b"], "no numbers"),
    ],
)
def test_weights_that_are_none(model: Model, weights: list[float], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        model.predict(picture(9, 9), tta="flips", tta_weights=weights)


def test_no_such_views(model: Model) -> None:
    with pytest.raises(UsageError, match="Did you mean flips"):
        model.predict(picture(9, 9), tta="flip")


def test_python_answers_by_the_decision(make: Make, photos: list[Path]) -> None:
    model = decided(make, thresholds={"no": 1.01})  # above every probability
    found = model.predict(photos)
    assert isinstance(found, Answers)
    assert found.labels == ["ask"] * len(photos)  # the class
    assert found.asked is not None
    assert not found.asked.any()
    np.testing.assert_array_equal(found.probs, model.undecided(photos).probs)
    careful = decided(make, abstain_below=2.0).predict([*photos, b"rubbish"])
    assert careful.labels == ["ask 2"] * len(photos) + [""]


def test_without_a_decision_answers_are_plain(model: Model, photos: list[Path]) -> None:
    found = model.predict(photos)
    assert not isinstance(found, Answers)
    assert found.labels == [model.classes[k] for k in found.probs.argmax(1)]


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"thresholds": {"absent": 0.5}}, "class-map"),
        ({"classes": ["x", "y"]}, "class-map"),
        ({"thresholds": {"no": "much"}}, "damaged"),
        ({"costs": [[0, 1]]}, None),
    ],
)
def test_a_decision_that_cannot_be_used_names_its_file(make: Make, rules: dict[str, object], code: str | None) -> None:
    with pytest.raises((DataError, UsageError), match="decision") as caught:
        decided(make, **rules)
    assert code is None or caught.value.code == code
