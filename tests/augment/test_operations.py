"""Every operation at every magnitude against torchvision's own; sequences of them against the sequence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from anmok.augment.host import augment_into
from anmok.augment.params import VALUES, Op, Params

torch = pytest.importorskip("torch")
F = pytest.importorskip("torchvision.transforms.v2.functional")
from torchvision.transforms.v2 import AutoAugment, InterpolationMode, RandAugment, TrivialAugmentWide  # noqa: E402

BILINEAR = InterpolationMode.BILINEAR
SIZE = 96
PHOTO = load_sample_image("china.jpg")[100 : 100 + SIZE, 200 : 200 + SIZE].copy()
FLOWER = np.ascontiguousarray(load_sample_image("flower.jpg")[60 : 60 + 4 * SIZE : 4, 100 : 100 + 4 * SIZE : 4])


def one(*program: tuple[Op, list[float]], border: str = "fill", **rest: object) -> Params:
    """Parameters of a single image with this program."""
    ops = np.array([[op for op, _ in program]], np.int8)
    values = np.array([[numbers + [0.0] * (VALUES - len(numbers)) for _, numbers in program]], np.float32)
    return Params(ops, values, np.array([7], np.uint64), border=border, **rest)  # type: ignore[arg-type]


def ours(image: np.ndarray, *program: tuple[Op, list[float]], size: int | None = None) -> np.ndarray:
    height, width, depth = image.shape
    out = np.empty((size or height, size or width, depth), np.uint8)
    augment_into(out, image, one(*program))
    return out


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def array(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(int) - expected.astype(int)).mean())


def theirs(name: str, image: np.ndarray, magnitude: float) -> np.ndarray:
    """torchvision's own operation, as its policies call it."""
    return array(RandAugment()._apply_image_or_video_transform(tensor(image), name, magnitude, BILINEAR, {}))


SPACES = {"rand": RandAugment._AUGMENTATION_SPACE, "wide": TrivialAugmentWide._AUGMENTATION_SPACE}
SIGNED = [
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"
]  # fmt: skip


def operation(name: str, magnitude: float) -> tuple[Op, list[float]]:
    """Our operation of a magnitude in torchvision's units."""
    if name in ("ShearX", "ShearY"):
        return (Op.SHEAR_X if name == "ShearX" else Op.SHEAR_Y), [-magnitude, 1]
    if name in ("TranslateX", "TranslateY"):
        return Op.TRANSLATE, [0, 0, magnitude, 0] if name == "TranslateX" else [0, 0, 0, magnitude]
    if name == "Rotate":
        return Op.ROTATE, [math.radians(magnitude)]
    factors = {"Brightness": Op.BRIGHTNESS, "Color": Op.SATURATION, "Contrast": Op.CONTRAST, "Sharpness": Op.SHARPNESS}
    if name in factors:
        return factors[name], [1 + magnitude]
    plain = {"Posterize": Op.POSTERIZE, "AutoContrast": Op.AUTOCONTRAST, "Equalize": Op.EQUALIZE, "Invert": Op.INVERT}
    if name in plain:
        return plain[name], [magnitude]
    return Op.SOLARIZE, [255 * magnitude]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", [*SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert"])
@pytest.mark.parametrize("image", [PHOTO, FLOWER], ids=["china", "flower"])
def test_each_operation_at_every_magnitude_is_torchvisions(name: str, space: str, image: np.ndarray) -> None:
    table = {**SPACES[space], "Invert": (lambda *_: None, False)}
    levels = table[name][0](31, SIZE, SIZE)
    numbers = [0.0] if levels is None else [float(v) for v in levels]
    for number in numbers:
        for magnitude in (number, -number) if name in SIGNED else (number,):
            found = ours(image, operation(name, magnitude))
            assert off(found, theirs(name, image, magnitude)) <= 1.0, (name, magnitude)


@pytest.mark.parametrize("name", ["Brightness", "Posterize", "Solarize", "Equalize", "Invert", "TranslateX"])
def test_tables_and_whole_pixels_are_exact(name: str) -> None:
    for magnitude in (0.0, 0.3, 0.9) if name in ("Brightness", "Solarize") else (3, 6):
        np.testing.assert_array_equal(ours(PHOTO, operation(name, magnitude)), theirs(name, PHOTO, magnitude))


@pytest.mark.parametrize("turns", np.linspace(-0.5, 0.5, 11))
def test_hue_is_torchvisions(turns: float) -> None:
    assert off(ours(FLOWER, (Op.HUE, [turns])), array(F.adjust_hue(tensor(FLOWER), float(turns)))) <= 1.0


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 2.0, 3.7])
def test_blur_is_torchvisions(sigma: float) -> None:
    side = 2 * max(1, round(3 * sigma)) + 1
    expected = array(F.gaussian_blur(tensor(PHOTO), [side, side], [sigma, sigma]))
    assert off(ours(PHOTO, (Op.BLUR, [sigma])), expected) <= 1.0


@pytest.mark.parametrize("moved", [[0.02, 0.05, 0.1, 0.0, 0.0, 0.04, 0.08, 0.03], [0.04] * 8, [0.0] * 8])
def test_perspective_is_torchvisions(moved: list[float]) -> None:
    start = [[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]]  # torchvision counts from the corner of the first pixel
    x, y = [SIZE * v for v in moved[::2]], [SIZE * v for v in moved[1::2]]
    end = [[x[0], y[0]], [SIZE - x[1], y[1]], [SIZE - x[2], SIZE - y[2]], [x[3], SIZE - y[3]]]
    expected = array(F.perspective(tensor(PHOTO), start, end, BILINEAR))
    assert off(ours(PHOTO, (Op.PERSPECTIVE, moved)), expected) <= 1.0


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.1, 1.7])
def test_scale_is_torchvisions(factor: float) -> None:
    expected = array(F.affine(tensor(PHOTO), 0.0, [0, 0], factor, [0.0, 0.0], BILINEAR))
    found = ours(PHOTO, (Op.SCALE, [factor, factor]))
    # torchvision lets a shrunk picture alias; ours is smoothed first where it shrinks by more than 1.15
    assert off(found, expected) <= (1.0 if factor > 1 / 1.15 else 6.0)


@pytest.mark.parametrize("image", [PHOTO, load_sample_image("china.jpg"), FLOWER[:, :50]])
@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_crop_is_torchvisions_resized_crop(image: np.ndarray, size: int) -> None:
    height, width = image.shape[:2]
    for area, log_ratio, x, y in [(1, 0, 0, 0), (0.5, 0.2, 0.3, 0.8), (0.1, -0.2, 1, 0.5)]:
        found = ours(image, (Op.CROP, [area, log_ratio, 0, x, y]), size=size)
        from anmok.augment.params import crop_box

        left, top, box_w, box_h = crop_box([area, log_ratio, 0, x, y], width, height)
        expected = F.resized_crop(tensor(image), top, left, box_h, box_w, [size, size], BILINEAR, antialias=True)
        assert off(found, array(expected)) <= 1.0, (area, off(found, array(expected)))


GEOMETRY = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
COLOUR = ["Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]


def magnitude_of(name: str, sign: int = 1) -> float:
    levels = SPACES["rand"][name][0](31, SIZE, SIZE)
    return 0.0 if levels is None else float(levels[9]) * (sign if name in SIGNED else 1)


def sequence(image: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ours, fused, and torchvision's, one after the other."""
    expected = image
    for k, name in enumerate(names):
        expected = theirs(name, expected, magnitude_of(name, (-1) ** k))
    found = ours(image, *(operation(name, magnitude_of(name, (-1) ** k)) for k, name in enumerate(names)))
    return found, expected


@pytest.mark.parametrize("image", [PHOTO, FLOWER], ids=["china", "flower"])
def test_pairs_of_operations_stay_close_to_the_sequence(image: np.ndarray) -> None:
    """The bounds of fusing: colours, and a colour beside one warp, within 1.2; two warps in one, 2 in the mean."""
    apart: dict[str, list[float]] = {"colour": [], "mixed": [], "geometry": []}
    for first in GEOMETRY + COLOUR:
        for second in GEOMETRY + COLOUR:
            found, expected = sequence(image, [first, second])
            warps = (first in GEOMETRY) + (second in GEOMETRY)
            apart[list(apart)[warps]].append(off(found, expected))
    assert max(apart["colour"] + apart["mixed"]) <= 1.2
    assert np.mean(apart["geometry"]) <= 2.0
    assert max(apart["geometry"]) <= 13.0  # there and back: ours is the picture again, the sequence blurs it twice


def test_two_warps_in_one_are_sharper_than_the_sequence() -> None:
    found, expected = sequence(PHOTO, ["Rotate", "Rotate"])  # there and back
    inside = (slice(20, -20), slice(20, -20))
    assert off(found[inside], PHOTO[inside]) <= 0.5
    assert off(expected[inside], PHOTO[inside]) >= 5.0


def test_what_leaves_the_frame_does_not_come_back() -> None:
    """Two moves there and back: the strip that left is filled, as in the sequence."""
    there, back = (Op.TRANSLATE, [0, 0, 30, 0]), (Op.TRANSLATE, [0, 0, -30, 0])
    out = ours(PHOTO, there, back)
    assert not out[:, -30:].any()
    np.testing.assert_array_equal(out[:, :-30], PHOTO[:, :-30])


def test_a_colour_stays_on_its_side_of_the_warp() -> None:
    turned = (Op.ROTATE, [0.5])
    assert (ours(PHOTO, turned, (Op.INVERT, [0]))[0, 0] == 255).all()
    assert (ours(PHOTO, (Op.INVERT, [0]), turned)[0, 0] == 0).all()


def test_autoaugment_keeps_to_torchvisions_magnitudes() -> None:
    from torchvision.transforms.v2 import AutoAugmentPolicy

    from anmok.augment.papers import autoaugment
    from anmok.augment.papers_table import AUTOAUGMENT

    for name, policy in (("imagenet", "IMAGENET"), ("cifar10", "CIFAR10"), ("svhn", "SVHN")):
        pairs = AutoAugment()._get_policies(getattr(AutoAugmentPolicy, policy))
        assert [[(n, p, m or 0) for n, p, m in pair] for pair in pairs] == [list(pair) for pair in AUTOAUGMENT[name]]
        drawn = autoaugment(name).draw(np.random.default_rng(0).random((2000, 5)))
        assert drawn.ops.shape == (2000, 2)
