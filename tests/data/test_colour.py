from __future__ import annotations

import bad_images as bad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms

from anmok.core.pixels import luma
from anmok.data import colour
from anmok.data.decode import decode

PHOTO = bad.photo()


def silent(text: str) -> None:
    raise AssertionError(text)


@given(arrays.arrays(np.uint16, (7, 5)))
def test_by_range_of_uint16_is_the_nearest_level(values: np.ndarray) -> None:
    np.testing.assert_array_equal(colour.by_range(values), np.rint(values / 257))


@given(arrays.arrays(np.float64, 30, elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_by_range_of_floats_keeps_order_and_never_clips(values: np.ndarray) -> None:
    out = colour.by_range(values)
    known = np.isfinite(values)
    order = np.argsort(values[known], kind="stable")
    assert (np.diff(out[known][order].astype(int)) >= 0).all()
    finite = values[known]
    if finite.size and (finite.min() < 0 or finite.max() > 1) and finite.min() < finite.max():
        assert out[known].min() == 0
        assert out[known].max() == 255


def test_by_range_by_hand() -> None:
    assert colour.by_range(np.array([0, 60000, 65535], np.uint16)).tolist() == [0, 233, 255]
    assert colour.by_range(np.array([0.0, 0.5, 1.0])).tolist() == [0, 128, 255]
    assert colour.by_range(np.array([-10.0, 0.0, 10.0])).tolist() == [0, 128, 255]
    assert colour.by_range(np.array([0, 60000], np.int32)).tolist() == [0, 233]
    assert colour.by_range(np.array([0, 65536], np.int32)).tolist() == [0, 255]
    assert colour.by_range(np.array([-5.0, np.nan, np.inf, 5.0])).tolist() == [0, 0, 255, 255]
    assert colour.by_range(np.array([7.0, 7.0])).tolist() == [0, 0]


@given(arrays.arrays(np.uint8, (3, 4, 3)), arrays.arrays(np.uint8, (3, 4)), st.tuples(*[st.integers(0, 255)] * 3))
def test_composite_is_rounded_exactly(pixels: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> None:
    a = alpha[:, :, None].astype(float)
    wanted = (pixels * a + np.array(background) * (255 - a)) / 255
    assert np.abs(colour.composite(pixels, alpha, background) - wanted).max() <= 0.5


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_oriented_by_numpy(orientation: int, depth: int) -> None:
    pixels = PHOTO[:5, :7, :depth]
    wanted = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1), 7: pixels.transpose(1, 0, 2)[::-1, ::-1], 8: np.rot90(pixels),
    }  # fmt: skip
    np.testing.assert_array_equal(colour.oriented(np.ascontiguousarray(pixels), orientation), wanted[orientation])


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_gray_of_a_pixel_is_the_luma(color: tuple[int, int, int]) -> None:
    assert colour.to_gray(np.array([[color]], np.uint8)).item() == luma(color)


def test_a_linear_profile_becomes_the_srgb_curve() -> None:
    """IEC 61966-2-1: encode a linear value by the closed form."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    linear = ramp / 255
    wanted = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    out = colour.to_srgb(ramp, bad.gamma_profile(1.0), silent)
    assert np.abs(out - wanted).max() <= 1.5
    for form in ("PNG", "TIFF"):
        data = bad.encode(PHOTO, form, icc_profile=bad.gamma_profile(1.0))
        np.testing.assert_array_equal(decode(data), colour.to_srgb(PHOTO, bad.gamma_profile(1.0), silent))


def test_srgb_profiles_cost_nothing_and_change_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert colour.to_srgb(PHOTO, srgb, silent) is PHOTO
    gray = PHOTO[:, :, :1].copy()
    assert colour.to_srgb(gray, srgb, silent) is gray


def test_an_rgb_profile_on_gray_pixels_applies() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=0)
    out = colour.to_srgb(gray, bad.gamma_profile(1.0), silent)
    np.testing.assert_array_equal(out, colour.to_srgb(np.repeat(gray, 3, 2), bad.gamma_profile(1.0), silent))


@pytest.mark.parametrize("icc", [b"x", b"\0" * 500, bad.gamma_profile(1.8)[:200]])
def test_a_broken_profile_is_ignored_and_noted(icc: bytes) -> None:
    notes: list[str] = []
    assert colour.to_srgb(PHOTO, icc, notes.append) is PHOTO
    assert [n.partition(":")[0] for n in notes] == ["bad-profile"]


def test_a_profile_for_other_pixels_is_ignored_and_noted() -> None:
    notes: list[str] = []
    cmyk = np.asarray(Image.fromarray(PHOTO).convert("CMYK"))
    out = colour.to_srgb(cmyk, bad.gamma_profile(1.0), notes.append)
    np.testing.assert_array_equal(out, np.asarray(Image.fromarray(cmyk, "CMYK").convert("RGB")))
    assert "RGB" in notes[0]
