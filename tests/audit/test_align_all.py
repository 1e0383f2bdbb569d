from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scenes import gray, scene

from anmok.audit.align import IDENTITY, Laid, _along, _inverse, _squares, align, align_all, refine, refine_all
from anmok.audit.picture import COARSE, Picture

APART = np.array([[1, 0, 1.5], [0, 1, 0], [0, 0, 1.0]])


def picture(image: Image.Image) -> Picture:
    return Picture.of(gray(image))


@pytest.fixture(scope="module")
def pairs() -> list[Laid]:
    """Crops, turns and other pictures, and one pair that hardly overlaps."""
    out = []
    for seed in range(4):
        image = scene(seed)
        others = (image.crop((16, 12, 304, 228)), image.rotate(3, Image.Resampling.BICUBIC), scene(seed + 50))
        out += [Laid(picture(other), picture(image), IDENTITY) for other in others]
    return [*out, Laid(out[0].first, out[0].second, APART)]


def test_many_are_aligned_as_one_by_one(pairs: list[Laid]) -> None:
    together, alone = align_all(pairs), [align(*pair) for pair in pairs]
    assert [where is None for where in together] == [where is None for where in alone]
    assert sum(where is not None for where in alone) >= 8
    for one, other in zip(together, alone, strict=True):
        if one is not None:
            assert one == pytest.approx(other, abs=1e-4)


def test_many_are_refined_as_one_by_one(pairs: list[Laid]) -> None:
    together, alone = refine_all(pairs), [refine(*pair) for pair in pairs]
    assert together[-1] is None
    assert alone[-1] is None
    for one, other in zip(together[:-1], alone[:-1], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_none_of_none() -> None:
    assert align_all([]) == []
    assert refine_all([]) == []


def test_the_sums_are_those_of_the_slopes_of_all_six_numbers(pairs: list[Laid]) -> None:
    steps = (np.arange(COARSE) - (COARSE - 1) / 2) / (COARSE / 2)
    x, y = (v.ravel() for v in np.meshgrid(steps, steps))
    template = pairs[0].first.template(COARSE)
    right, down = template.right, template.down
    slopes = np.stack([right * x, right * y, right, down * x, down * y, down])
    weights = np.random.default_rng(0).random(right.size).astype(np.float32)
    (squares,) = _squares(right[None], down[None], weights[None])
    assert squares == pytest.approx((slopes * weights) @ slopes.T, rel=1e-4, abs=1)
    (along,) = _along(right[None], down[None], weights[None])
    assert along == pytest.approx(slopes @ weights, rel=1e-3, abs=0.1)


def test_a_picture_with_structure_in_one_direction_has_an_inverse_too() -> None:
    ramp = np.tile(np.linspace(0, 255, COARSE * 3).astype(np.uint8), (COARSE * 3, 1))
    template = Picture(ramp).template(COARSE)
    squares = _squares(template.right[None], template.down[None])
    assert np.linalg.matrix_rank(squares[0]) < 6
    assert np.isfinite(_inverse(squares)).all()
