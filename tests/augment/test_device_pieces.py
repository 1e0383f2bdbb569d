"""What the device's executor plans with: matrices, tables, regions and numbers of many images, against those of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.augment import effects, host, tables
from anmok.augment.device_matrices import crop_boxes, erased_boxes, steps
from anmok.augment.device_moves import near, shrunk_sizes
from anmok.augment.device_tables import tables as tables_of
from anmok.augment.params import VALUES, Op, crop_box, erased_box
from anmok.augment.resample import ALIAS
from anmok.augment.warps import source_from_output

torch = pytest.importorskip("torch")
from anmok.augment import device_color, device_effects  # noqa: E402
from anmok.augment.device_pack import Pack  # noqa: E402
from anmok.augment.device_warp import taps  # noqa: E402

GEOMETRY = [Op.HFLIP, Op.VFLIP, Op.ROTATE, Op.SHEAR_X, Op.SHEAR_Y, Op.TRANSLATE, Op.SCALE, Op.PERSPECTIVE, Op.CROP]
SIDE = st.integers(1, 300)
SHARE = st.floats(0, 1, width=32)


@settings(deadline=None)
@given(st.sampled_from(GEOMETRY), SIDE, SIDE, st.lists(st.floats(0.03125, 0.25, width=32), min_size=8, max_size=8))
def test_matrices_are_those_of_one_image(op: Op, width: int, height: int, numbers: list[float]) -> None:
    values = np.array([numbers], np.float32)
    if op in (Op.SHEAR_X, Op.SHEAR_Y):
        values[0, 1] = values[0, 1] > 0.1
    found = steps(np.array([op]), values, np.array([width]), np.array([height]), (64, 48))[0]
    expected, _ = source_from_output(op, values[0].tolist(), width, height, (64, 48))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(SIDE, SIDE, st.floats(0.0625, 1, width=32), st.floats(-1, 1, width=32), st.booleans(), SHARE, SHARE)
def test_boxes_are_those_of_one_image(
    width: int, height: int, area: float, ratio: float, relative: bool, x: float, y: float
) -> None:
    numbers = [area, ratio, float(relative), x, y, 0, 0, 0]
    found = crop_boxes(np.array([numbers], np.float32), np.array([width]), np.array([height]))[0]
    assert tuple(found) == crop_box(numbers, width, height)
    numbers = [area, x, y, x, 0, 0, 0, 0]
    assert tuple(erased_boxes(np.array([numbers], np.float32), width, height)[0]) == erased_box(numbers, width, height)


@settings(deadline=None)
@given(st.integers(20, 400), st.integers(20, 400), st.floats(-3, 3), st.floats(0.2, 4), st.floats(-0.002, 0.002))
def test_regions_are_the_hosts(width: int, height: int, angle: float, rate: float, tilt: float) -> None:
    """What part of the image a warp reaches, and to what size that is made smaller first."""
    cos, sin = rate * np.cos(angle), rate * np.sin(angle)
    middle = np.array([width / 2, height / 2]) - 0.5 * rate * 32
    matrix = np.array([[cos, -sin, middle[0]], [sin, cos, middle[1]], [tilt, 0, 1]])
    image = np.zeros((height, width, 1), np.uint8)
    part, expected = host.near(image, matrix, (32, 24))
    found, region = near(matrix[None], np.array([[0, 0, width, height]]), 32, 24)
    assert (region[0, 3], region[0, 2]) == part.shape[:2]
    np.testing.assert_allclose(found[0], expected, atol=1e-9)
    rates = host.pixel_rates(expected, (32, 24))
    size = [max(1, round(n / r)) if r > ALIAS else n for n, r in zip(part.shape[1::-1], rates, strict=True)]
    assert shrunk_sizes(found, region, 32, 24)[0].tolist() == size


@pytest.mark.parametrize(
    ("op", "one", "numbers"),
    [
        (Op.BRIGHTNESS, tables.brightness, [0.0, 0.3, 1.0, 1.7]),
        (Op.POSTERIZE, lambda bits: tables.posterize(round(bits)), [0, 1, 3, 8]),
        (Op.SOLARIZE, tables.solarize, [0, 10.5, 200, 256]),
        (Op.SOLARIZE_ADD, tables.solarize_add, [0, 30, 110]),
        (Op.INVERT, lambda _: tables.invert(), [0]),
    ],
)
def test_tables_are_those_of_one_image(op: Op, one: object, numbers: list[float]) -> None:
    found = tables_of(np.full(len(numbers), op), np.array(numbers, np.float32))
    expected = [one(float(np.float32(v))) for v in numbers]  # type: ignore[operator]
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize("span", range(1, 256))
def test_a_stretched_channel_ends_where_the_host_ends_it(span: int) -> None:
    counts = np.zeros((1, 256), np.int64)
    counts[0, [0, span]] = 1
    stretched = device_color.of_counts(torch.from_numpy(counts[None]), torch.tensor([False])).numpy()
    np.testing.assert_array_equal(stretched[0].T, tables.autocontrast(counts))


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 7, 300, 5000]), min_size=256, max_size=256), st.integers(0, 255))
@settings(deadline=None, max_examples=50)
def test_tables_of_histograms(row: list[int], most: int) -> None:
    row[most] += 1
    counts = np.array([row, row[::-1], [0] * 255 + [9]])
    table = tables.posterize(3)
    found = torch.from_numpy(np.stack([counts, counts]))
    stretched, equal = device_color.of_counts(found, torch.tensor([False, True])).numpy()
    np.testing.assert_array_equal(stretched.T, tables.autocontrast(counts))
    np.testing.assert_array_equal(equal.T, tables.equalize(counts))
    moved = device_color.carried(found, torch.from_numpy(table).expand(2, 3, 256))
    np.testing.assert_array_equal(moved[0].numpy(), tables.carried(counts, table))
    expected = float(counts @ np.arange(256) / counts.sum(1) @ np.array(tables.LUMA))
    assert device_color.means_of(found)[0].item() == pytest.approx(expected, abs=1e-3)
    factor, mean = torch.tensor([0.3]), torch.tensor([float(most)])
    np.testing.assert_array_equal(
        device_color.contrast(factor, mean)[0, 0].numpy(), tables.contrast(factor.item(), float(most))
    )


@pytest.mark.parametrize("key", [0, 5, 2**63 - 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15])
@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_noise_draws_the_same_numbers(key: int, count: int) -> None:
    keys = torch.from_numpy(np.array([key], np.uint64).view(np.int64))
    np.testing.assert_allclose(device_effects.normals(keys, count)[0].numpy(), effects.normals(key, count), atol=1e-3)


def test_noise_is_normal() -> None:
    drawn = device_effects.normals(torch.arange(4), 100_000)
    assert drawn.isfinite().all()
    assert abs(drawn.mean().item()) < 0.01
    assert drawn.std().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("sigma", [0.4, 3.0])
@pytest.mark.parametrize("shape", [(40, 30), (1, 50), (2, 2)])
def test_gaussian_is_opencvs(sigma: float, shape: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    radius = effects.blur_radius(sigma)
    for twice, border in ((True, cv2.BORDER_REFLECT), (False, cv2.BORDER_REFLECT_101)):
        expected = cv2.GaussianBlur(image, (2 * radius + 1,) * 2, sigma, borderType=border)
        x = torch.from_numpy(image)[None, None].expand(2, 1, *shape)
        both = torch.tensor([sigma, 5.0])  # the wider one must not change the narrower
        found = device_effects.smoothed(x, both, effects.blur_radius(5.0), twice)
        np.testing.assert_allclose(found[0, 0].numpy(), expected.reshape(shape), atol=1e-5)


@given(st.integers(1, 200), st.integers(1, 60))
@settings(deadline=None)
def test_taps_are_pillows(size: int, new: int) -> None:
    from PIL import Image

    line = np.random.default_rng(size).uniform(0, 255, (1, size)).astype(np.float32)
    expected = np.asarray(Image.fromarray(line).resize((new, 1), Image.Resampling.BILINEAR))[0]
    most = 2 * int(np.ceil(max(1, size / new))) + 1
    for mirrored in (False, True):
        pixels, weights = taps(torch.tensor([size]), torch.tensor([new]), torch.tensor([mirrored]), new, most)
        found = (torch.from_numpy(line)[0][pixels[0]] * weights[0]).sum(1).numpy()
        np.testing.assert_allclose(found[::-1] if mirrored else found, expected, atol=0.05)


def test_one_transfer_holds_every_array() -> None:
    pack, rng = Pack(), np.random.default_rng(0)
    arrays = [
        rng.integers(-(2**62), 2**62, (3, 5)), np.array([True, False, True]), rng.integers(0, 256, 7).astype(np.uint8),
        rng.normal(size=(2, 3, 3)).astype(np.float32), np.zeros((0, 2), np.float32),
    ]  # fmt: skip
    refs = [pack.add(a, a.dtype.type) for a in arrays]
    sent = pack.sent(torch.device("cpu"))
    for array, ref in zip(arrays, refs, strict=True):
        np.testing.assert_array_equal(sent.get(ref).numpy(), array)


def test_perspective_without_a_quadrilateral_changes_nothing() -> None:
    corners = np.zeros((1, VALUES), np.float32)
    corners[0, :4] = 0.5, 0.9, 0.9, 0
    np.testing.assert_array_equal(
        steps(np.array([Op.PERSPECTIVE]), corners, np.array([40]), np.array([40]), (8, 8))[0], np.eye(3)
    )
