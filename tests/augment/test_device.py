"""The executor on the device gives the host's pictures: every operation, every named policy, every kind of image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from anmok.augment import host
from anmok.augment.config import AugmentConfig
from anmok.augment.execute import apply as apply_anywhere
from anmok.augment.named import NAMED, build_policy
from anmok.augment.params import VALUES, Chains, Op, Params
from anmok.augment.policy import compose
from anmok.augment.steps import blur, crop, elastic, noise, rotate
from anmok.core.errors import UsageError

torch = pytest.importorskip("torch")
from anmok.augment import device, device_color, device_parts  # noqa: E402

LUMA = np.array([0.299, 0.587, 0.114])
CHINA, FLOWER = load_sample_image("china.jpg"), load_sample_image("flower.jpg")


def resized(image: np.ndarray, height: int, width: int, depth: int = 3) -> np.ndarray:
    out = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    return out if depth == 3 else gray(out)


def gray(image: np.ndarray) -> np.ndarray:
    return (image @ LUMA).astype(np.uint8)[..., None]


def params(programs: Sequence[Sequence[tuple[Op, Sequence[float]]]], **rest: object) -> Params:
    """Parameters of as many images as there are programs, with keys of their own."""
    length = max(map(len, programs))
    ops, values = np.zeros((len(programs), length), np.int8), np.zeros((len(programs), length, VALUES), np.float32)
    for i, program in enumerate(programs):
        for p, (op, numbers) in enumerate(program):
            ops[i, p], values[i, p, : len(numbers)] = op, numbers
    keys = np.arange(1, len(programs) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Params(ops, values, keys, **rest)  # type: ignore[arg-type]


def on_device(images: Sequence[np.ndarray], drawn: Params, size: int | None) -> np.ndarray:
    """The batch of images of any sizes, read from one flat buffer."""
    flat = torch.from_numpy(np.concatenate([i.ravel() for i in images]))
    offsets = np.cumsum([0] + [i.size for i in images])[:-1]
    sizes = np.array([i.shape[:2] for i in images])
    return device.augment_batch(flat, offsets, sizes, images[0].shape[2], drawn, size).numpy()


def off(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """float[N]: the mean absolute difference of each image."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.uint8
    return np.abs(found.astype(int) - expected.astype(int)).reshape(len(found), -1).mean(1)


MAGNITUDES: dict[Op, list[list[float]]] = {
    Op.CROP: [[0.1, 0, 0, 0.3, 0.6], [0.5, 0.2, 0, 0.9, 0.1], [1, 0, 1, 0, 0], [0.9, -0.28, 0, 0.5, 0.5]],
    Op.HFLIP: [[]],
    Op.VFLIP: [[]],
    Op.ROTATE: [[0.1], [-0.52], [2.3], [np.pi / 2]],
    Op.SHEAR_X: [[0.3, 1], [-0.9, 1], [0.17, 0]],
    Op.SHEAR_Y: [[0.3, 1], [-0.9, 1], [0.17, 0]],
    Op.TRANSLATE: [[0.3, -0.2], [0, 0, 4, -4], [-0.45, 0], [1.2, 0]],
    Op.SCALE: [[0.5, 0.5], [2, 2], [0.8, 1.1]],
    Op.PERSPECTIVE: [[0.1, 0.05, 0.2, 0.02, 0.12, 0.1, 0.01, 0.24], [0.24] * 8, [0.0] * 8],
    Op.BRIGHTNESS: [[0.1], [0.73], [1.0], [1.9]],
    Op.CONTRAST: [[0.0], [0.1], [0.73], [1.0], [1.9]],
    Op.POSTERIZE: [[0], [2], [4], [8]],
    Op.SOLARIZE: [[0], [85.5], [128], [255]],
    Op.SOLARIZE_ADD: [[0], [50], [110]],
    Op.INVERT: [[]],
    Op.AUTOCONTRAST: [[]],
    Op.EQUALIZE: [[]],
    Op.SATURATION: [[0], [0.1], [1], [1.9]],
    Op.HUE: [[-0.5], [0.1], [0.02], [0]],
    Op.SHARPNESS: [[0], [0.1], [1], [1.9]],
    Op.BLUR: [[0.1], [0.8], [2], [5]],
    Op.NOISE: [[1], [10], [40]],
    Op.ELASTIC: [[10, 3], [40, 5], [100, 9]],
    Op.ERASE: [[0.1, 0.9, 0.3, 0.6], [0.9, 0.1, 0.9, 0], [1, 1, 1, 1]],
}
SHAPES = [(96, 96), (120, 75), (60, 150), (1, 200), (200, 1), (1, 1)]


@pytest.mark.parametrize("border", ["reflect", "fill"])
@pytest.mark.parametrize("depth", [3, 1])
@pytest.mark.parametrize("op", MAGNITUDES, ids=lambda op: op.name)
def test_every_operation_is_the_hosts(op: Op, depth: int, border: str) -> None:
    programs = [[(op, numbers)] for numbers in MAGNITUDES[op]]
    fill = (124, 116, 104) if depth == 3 else (0, 0, 0)
    drawn = params(programs, border=border, fill=fill)
    for k, shape in enumerate(SHAPES):
        image = resized((CHINA, FLOWER)[k % 2], *shape, depth)
        images = np.stack([image] * len(programs))
        for size in (None, 48):  # in its own frame, and in one that it is resized to
            found = device.apply(torch.from_numpy(images), drawn, size).numpy()
            assert off(found, host.apply(images, drawn, size)).max() <= 1, (shape, size)


STRIPS = [(1, 200), (200, 1), (1, 1)]


def drawn_by(name: str, depth: int, count: int) -> Params:
    return build_policy(AugmentConfig(policy=name), depth=depth).draw([str(i) for i in range(count)], epoch=1, seed=3)


def equalises(drawn: Params) -> np.ndarray:
    """bool[N]: whether an image's values are equalised, which spreads two values that many pixels have: the resize of
    the host, right within one level, then moves many pixels by several.
    """
    found = (drawn.ops == Op.EQUALIZE).any(1)
    return found if drawn.chains is None else found | (drawn.chains.ops == Op.EQUALIZE).any((1, 2))


@pytest.mark.parametrize("depth", [3, 1])
@pytest.mark.parametrize("name", NAMED)
def test_every_policy_is_the_hosts(name: str, depth: int) -> None:
    whole = [CHINA, FLOWER] if depth == 3 else [gray(CHINA), gray(FLOWER)]
    shapes = [(256, 256), (300, 220), (96, 96), (640, 110), (37, 53)]
    images = [*whole, *(resized((CHINA, FLOWER)[k % 2], *shape, depth) for k, shape in enumerate(shapes))] * 6
    drawn = drawn_by(name, depth, len(images))
    apart = off(on_device(images, drawn, 96), host.apply(images, drawn, 96))
    assert apart[~equalises(drawn)].max(initial=0) <= 1
    assert np.mean(apart <= 1) > 0.9
    assert apart.max() <= 4


@pytest.mark.parametrize("depth", [3, 1])
@pytest.mark.parametrize("name", NAMED)
def test_strips_pass_every_policy(name: str, depth: int) -> None:
    images = [resized(CHINA, *shape, depth) for shape in STRIPS] * 8
    drawn = drawn_by(name, depth, len(images))
    apart = off(on_device(images, drawn, 64), host.apply(images, drawn, 64))
    assert apart[~equalises(drawn)].max(initial=0) <= 1
    assert np.median(apart) <= 0.5


@pytest.mark.parametrize("name", ["randaugment", "strong", "augmix"])
def test_real_photos(name: str, data_dir: Path) -> None:
    paths = sorted(p for p in (data_dir / "photos").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))[:12]
    if not paths:
        pytest.skip("no photos among the real data")
    images = []
    for path in paths:
        with Image.open(path) as photo:
            photo.thumbnail((400, 400))
            images.append(np.array(photo.convert("RGB")))
    drawn = drawn_by(name, 3, len(images))
    apart = off(on_device(images, drawn, 224), host.apply(images, drawn, 224))
    assert apart[~equalises(drawn)].max(initial=0) <= 1
    assert apart.max() <= 4


PROGRAMS: dict[str, list[tuple[Op, list[float]]]] = {
    "table before the crop": [(Op.BRIGHTNESS, [1.3]), (Op.CROP, [0.4, 0.1, 0, 0.5, 0.5]), (Op.INVERT, [])],
    "flip after that table": [(Op.CONTRAST, [0.5]), (Op.HFLIP, []), (Op.CROP, [0.4, 0.1, 0, 0.5, 0.5])],
    "others before the crop": [(Op.BLUR, [1]), (Op.ROTATE, [0.3]), (Op.SHARPNESS, [2]), (Op.CROP, [0.5, 0, 0, 0, 1])],
    "geometry before the crop": [(Op.ROTATE, [0.3]), (Op.SHEAR_X, [0.2, 1]), (Op.CROP, [0.4, 0, 0, 0.2, 0.5])],
    "frames passed": [(Op.CROP, [0.4, 0, 0, 0.2, 0.5]), (Op.TRANSLATE, [0.3, 0.1]), (Op.ROTATE, [0.4]), (Op.HFLIP, [])],
    "no crop": [(Op.ROTATE, [0.4]), (Op.EQUALIZE, [])],
    "two crops": [(Op.CROP, [0.6, 0, 0, 0.2, 0.5]), (Op.CROP, [0.5, 0, 0, 0.5, 0.5]), (Op.SOLARIZE, [100])],
    "table, geometry, table": [(Op.CROP, [0.6]), (Op.INVERT, []), (Op.ROTATE, [0.4]), (Op.CONTRAST, [1.4])],
    "the same other twice": [(Op.CROP, [0.6]), (Op.SHARPNESS, [1.5]), (Op.SHARPNESS, [1.5]), (Op.VFLIP, [])],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("border", ["reflect", "fill"])
@pytest.mark.parametrize("depth", [3, 1])
def test_programs_of_all_orders_in_one_batch(depth: int, border: str) -> None:
    images = [resized(CHINA, 100, 140, depth), resized(FLOWER, 64, 64, depth), resized(CHINA, 200, 80, depth)]
    images = images * len(PROGRAMS)
    drawn = params([list(PROGRAMS.values())[i // 3] for i in range(len(images))], border=border)
    apart = off(on_device(images, drawn, 64), host.apply(images, drawn, 64))
    assert apart.max() <= 1, list(PROGRAMS)[int(apart.argmax()) // 3]


@pytest.mark.parametrize("depth", [3, 1])
def test_tables_compose_exactly(depth: int) -> None:
    """Those that depend on the pixels see them as the tables before have left them."""
    tables: list[tuple[Op, list[float]]] = [
        (Op.POSTERIZE, [4]), (Op.EQUALIZE, []), (Op.CONTRAST, [0.6]), (Op.AUTOCONTRAST, []), (Op.BRIGHTNESS, [0.8]),
        (Op.SOLARIZE, [128]), (Op.INVERT, []), (Op.SOLARIZE_ADD, [30]),
    ]  # fmt: skip
    programs = [[*tables[k:], *tables[:k]] for k in range(len(tables))]
    images = np.stack([resized(CHINA[:, 40 * k :], 64, 64, depth) for k in range(len(programs))])
    found = device.apply(torch.from_numpy(images), params(programs)).numpy()
    np.testing.assert_array_equal(found, host.apply(images, params(programs)))


def test_an_image_does_not_depend_on_its_batch() -> None:
    images = torch.from_numpy(np.stack([resized(CHINA[:, 10 * i :], 80, 80) for i in range(24)]))
    drawn = drawn_by("randaugment", 3, 24)
    whole = device.apply(images, drawn, 64)
    assert torch.equal(whole, device.apply(images, drawn, 64))
    some = np.array([17, 3, 8])
    assert torch.equal(device.apply(images[some], drawn.take(some), 64), whole[some])


@pytest.mark.parametrize("name", ["randaugment", "augmix", "strong"])
def test_flat_form_is_the_batch_form(name: str) -> None:
    images = np.stack([resized(CHINA[:, 10 * i :], 120, 90) for i in range(24)])
    before, drawn = images.copy(), drawn_by(name, 3, 24)
    whole = device.apply(torch.from_numpy(images), drawn, 64).numpy()
    assert off(on_device(list(images), drawn, 64), whole).max() < 0.05
    assert (images == before).all()


@pytest.mark.parametrize("flat", [False, True])
def test_parts_give_what_the_whole_gives(flat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [resized(CHINA[:, 10 * i :], 120, 90 + (i if flat else 0)) for i in range(24)]
    policy = compose(crop(64), rotate(30), blur(p=0.5), noise(p=0.5), elastic(p=0.5), *AUGMIXED)
    drawn = policy.draw([str(i) for i in range(24)], 0, 0)
    whole = device.apply(torch.from_numpy(np.stack(images)), drawn) if not flat else on_device(images, drawn, 64)
    for module in (device_parts, device_color):
        monkeypatch.setattr(module, "TEMPORARY", 400_000)
    parts = device.apply(torch.from_numpy(np.stack(images)), drawn) if not flat else on_device(images, drawn, 64)
    assert off(np.asarray(parts), np.asarray(whole)).max() < 0.05


AUGMIXED = build_policy(AugmentConfig(policy="augmix")).steps[-1:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("depth", [3, 1])
def test_finish_normalises(dtype: torch.dtype, channels_last: bool, depth: int) -> None:
    images = torch.arange(2 * 8 * 8 * depth).mul(37).remainder(256).to(torch.uint8).view(2, 8, 8, depth)
    mean, std = (0.485, 0.456, 0.406)[:depth], (0.229, 0.224, 0.225)[:depth]
    found = device.finish(images, mean, std, dtype, channels_last)
    expected = (images.double() / 255 - torch.tensor(mean).double()) / torch.tensor(std).double()
    assert found.shape == (2, depth, 8, 8)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    precision = 4 * torch.finfo(dtype).eps
    assert (found.double() - expected.permute(0, 3, 1, 2)).abs().max() <= precision


def test_one_call_for_both() -> None:
    images, drawn = np.stack([resized(CHINA, 40, 40)] * 2), drawn_by("light", 3, 2)
    found = apply_anywhere(torch.from_numpy(images), drawn, 32)
    assert isinstance(found, torch.Tensor)
    assert off(found.numpy(), apply_anywhere(images, drawn, 32)).max() <= 1


def test_empty_batch() -> None:
    drawn = drawn_by("light", 3, 1).take(slice(0, 0))
    assert device.apply(torch.zeros((0, 8, 8, 3), dtype=torch.uint8), drawn, 4).shape == (0, 4, 4, 3)


def test_what_cannot_be_is_said() -> None:
    images, drawn = torch.zeros((2, 8, 8, 3), dtype=torch.uint8), drawn_by("light", 3, 2)
    with pytest.raises(UsageError, match="2 images and parameters of 1"):
        device.apply(images, drawn.take(slice(0, 1)))
    with pytest.raises(UsageError, match="uint8 of 1 or 3"):
        device.apply(images.float(), drawn)
    with pytest.raises(UsageError, match="N, H, W, C"):
        device.apply(images[0], drawn)
    with pytest.raises(UsageError, match="lie in the buffer"):
        device.augment_batch(images.view(-1), np.array([0, 300]), [(8, 8), (8, 8)], 3, drawn, 4)
    with pytest.raises(UsageError, match="of several sizes"):
        device.augment_batch(images.view(-1), np.array([0, 192]), [(8, 8), (4, 4)], 3, drawn)
    with pytest.raises(UsageError, match="means"):
        device.finish(images, (0.5,), (0.5,))
    chainless = params([[(Op.AUGMIX, [])]] * 2)
    with pytest.raises(UsageError, match="no chains"):
        device.apply(images, chainless)


def test_augmix_weighs_its_chains() -> None:
    """Of an image and its inverse, with weights 1/4 and 3/4."""
    image = np.full((1, 4, 4, 3), 200, np.uint8)
    ops, weights = np.full((1, 1, 1), Op.INVERT, np.int8), np.array([[0.25, 0.75]], np.float32)
    chains = Chains(ops, np.zeros((1, 1, 1, VALUES), np.float32), weights)
    drawn = params([[(Op.AUGMIX, [])]])
    drawn = Params(drawn.ops, drawn.values, drawn.keys, chains)
    found = device.apply(torch.from_numpy(image), drawn)
    assert (found == int(0.25 * 200 + 0.75 * 55)).all()
