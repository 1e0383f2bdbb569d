"""The deterministic preprocessing: its steps against other libraries, its file, and that training sees the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from anmok.augment.color import SPACES, convert
from anmok.augment.config import Colorspace, Equalize, Normalize, PreprocessConfig, fit_together
from anmok.augment.params import Op
from anmok.augment.policy import Policy, ranges
from anmok.augment.preprocess import MARGIN, Preprocess, build_preprocess
from anmok.augment.statistics import PHOTOS
from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError
from anmok.data import Loader, Table, open_table
from anmok.data.cache import RamCache
from anmok.data.decode import decode
from anmok.data.loading import Normalized
from anmok.stages.config import TrainConfig

PHOTO = np.ascontiguousarray(load_sample_image("china.jpg"))
STEPS = [
    {"equalize": equalize, "colorspace": colorspace, "normalize": normalize}
    for equalize, colorspace, normalize in itertools.product(
        get_args(Equalize), get_args(Colorspace), get_args(Normalize)
    )
    if not fit_together("rgb", colorspace, normalize)
]
SOME = [
    {"equalize": "global"}, {"equalize": "luminance"}, {"equalize": "clahe"}, {"colorspace": "lab"},
    {"colorspace": "hsv"}, {"normalize": "minmax"}, {"normalize": "zscore"},
    {"equalize": "clahe", "colorspace": "ycrcb", "normalize": "zscore"},
]  # fmt: skip


def photo(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    layers = [127 + 120 * np.sin(x / 9), 255 * y / height, 127 + 100 * np.cos((x + y) / 15)]
    return np.stack(layers, -1).astype(np.uint8)


def named(step: dict[str, str]) -> str:
    return "-".join(step.values())


@pytest.mark.parametrize("size", [(100, 160), (160, 100), (64, 64)])
def test_preprocessing_equals_pillow_and_torchvision(size: tuple[int, int]) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = photo(*size)
    picture = Image.fromarray(image)
    squash = picture.resize((48, 48), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(Preprocess(48).apply(image), np.asarray(squash))
    crop = transforms.Compose([transforms.Resize(60), transforms.CenterCrop(48)])(picture)
    mine = Preprocess(48, fit="crop", crop_pct=0.8).apply(image)
    assert np.abs(mine.astype(int) - np.asarray(crop)).max() <= 1
    boxed = Preprocess(48, fit="letterbox", background=(9, 9, 9)).apply(image)
    long, short = 48, round(48 * min(size) / max(size))
    inner = np.asarray(
        picture.resize((long, short) if size[1] >= size[0] else (short, long), Image.Resampling.BILINEAR)
    )
    top, left = (48 - inner.shape[0]) // 2, (48 - inner.shape[1]) // 2
    np.testing.assert_array_equal(boxed[top : top + inner.shape[0], left : left + inner.shape[1]], inner)
    if size[0] != size[1]:
        assert (boxed[0, 0] == 9).all() or (boxed[0, 0] == inner[0, 0]).all()


def test_preprocessing_survives_json() -> None:
    pre = Preprocess(40, "gray", "crop", 0.9, (0.4,), (0.2,), (1, 2, 3))
    assert Preprocess.from_dict(pre.to_dict()) == pre
    with pytest.raises(DataError, match="version"):
        Preprocess.from_dict({**pre.to_dict(), "version": 99})


@given(
    st.sampled_from(STEPS), st.sampled_from(["squash", "crop", "letterbox"]), st.floats(0.1, 40), st.integers(1, 16),
    st.integers(4, 512),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_every_combination_survives_json(step: dict[str, Any], fit: Any, limit: float, tiles: int, size: int) -> None:
    pre = Preprocess(size, fit=fit, clip_limit=limit, tiles=tiles, **step)
    assert Preprocess.from_dict(json.loads(json.dumps(pre.to_dict()))) == pre


def test_a_file_of_version_1_still_loads() -> None:
    old = {
        "version": 1, "resize": "pillow-bilinear-antialias", "image_size": 48, "channels": "rgb", "fit": "crop",
        "crop_pct": 0.9, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "background": [255, 255, 255],
    }  # fmt: skip
    pre = Preprocess.from_dict(old)
    assert pre == Preprocess(48, fit="crop", crop_pct=0.9)
    assert pre.plain
    assert pre.steps() == []
    short = Image.fromarray(PHOTO).resize((int(53 * 640 / 427), 53), Image.Resampling.BILINEAR)
    left, top = round((short.width - 48) / 2), round((53 - 48) / 2)
    np.testing.assert_array_equal(pre.apply(PHOTO), np.asarray(short)[top : top + 48, left : left + 48])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"equalize": "cahle"}, "no such equalize as cahle. Did you mean clahe"),
        ({"colorspace": "gray"}, "no such colorspace as gray"),
        ({"sharpen": 1}, "sharpen"),
        ({"tiles": 0}, "tiles at least 1"),
        ({"clip_limit": "x"}, "str"),
        ({"mean": [0.5]}, "found 1 and 3"),
        ({"resize": "nearest"}, "nearest"),
        ({"version": 3}, "version 3"),
    ],
)
def test_a_damaged_file_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Preprocess.from_dict({**Preprocess(40).to_dict(), **change})


def test_what_does_not_fit_together() -> None:
    with pytest.raises(UsageError, match="colorspace lab needs the three channels of rgb"):
        Preprocess(32, "gray", colorspace="lab")
    with pytest.raises(UsageError, match=r"hue is an angle.*zscore.*hls"):
        Preprocess(32, colorspace="hls", normalize="zscore")
    with pytest.raises(
        UsageError, match=r"no such normalize as z\. .*|no such normalize as zsore\. Did you mean zscore"
    ):
        Preprocess(32, normalize="zsore")  # type: ignore[arg-type]


def test_equalisation_comes_first_on_a_working_size_and_colour_last() -> None:
    picture = Image.fromarray(PHOTO)  # 640 × 427
    working = np.asarray(picture.resize((round(640 * 83 / 427), 83), Image.Resampling.BILINEAR))
    apart = cv2.cvtColor(working, cv2.COLOR_RGB2YCrCb)
    apart[..., 0] = cv2.createCLAHE(3.0, (4, 4)).apply(np.ascontiguousarray(apart[..., 0]))
    equalized = Image.fromarray(cv2.cvtColor(apart, cv2.COLOR_YCrCb2RGB))
    square = np.asarray(equalized.resize((64, 64), Image.Resampling.BILINEAR))
    pre = Preprocess(64, equalize="clahe", clip_limit=3.0, tiles=4, colorspace="lab")
    assert round(64 * MARGIN) == 83
    np.testing.assert_array_equal(pre.apply(PHOTO), cv2.cvtColor(square, cv2.COLOR_RGB2LAB))


def test_a_picture_at_or_below_the_working_size_is_not_resized_for_it() -> None:
    small = PHOTO[:83, :90]
    channels = [cv2.equalizeHist(np.ascontiguousarray(small[..., c])) for c in range(3)]
    np.testing.assert_array_equal(Preprocess(64, equalize="global").prepare(small), np.stack(channels, -1))


def test_padding_is_the_background_and_no_part_of_the_histogram() -> None:
    dull = (PHOTO[:100, :200] // 8 + 100).astype(np.uint8)
    pre = Preprocess(64, fit="letterbox", background=(10, 200, 30), equalize="global", colorspace="lab")
    padding = convert(np.array([[[10, 200, 30]]], np.uint8), "rgb", "lab")[0, 0]
    out = pre.apply(dull)
    assert (out[0] == padding).all()
    alone = Preprocess(64, fit="letterbox", background=(255, 255, 255), equalize="global", colorspace="lab").apply(dull)
    np.testing.assert_array_equal(out[16:48], alone[16:48])


@pytest.mark.parametrize("equalize", ["global", "luminance"])
def test_one_channel_is_equalised_as_it_is(equalize: Any) -> None:
    gray = PHOTO[:60, :60, :1].copy()
    expected = cv2.equalizeHist(np.ascontiguousarray(gray[..., 0]))
    np.testing.assert_array_equal(Preprocess(60, "gray", equalize=equalize).apply(gray)[..., 0], expected)


def test_zscore_reaches_the_network_as_the_images_own_score() -> None:
    pre = Preprocess(96, normalize="zscore")
    square = Preprocess(96).apply(PHOTO).astype(np.float64)
    score = np.clip((square - square.mean()) / square.std(), -4, 4)
    received = (pre.apply(PHOTO) / 255 - np.array(pre.mean)) / np.array(pre.std)
    np.testing.assert_allclose(received, score, atol=4 / 255 + 1e-6)  # half a level of 8 spreads over 255
    flat = pre.apply(np.full((9, 9, 3), 200, np.uint8))
    assert abs((flat / 255 - 0.5) * 8).max() < 0.02


def test_minmax_reaches_the_network_as_0_to_1() -> None:
    dull = (PHOTO // 4 + 90).astype(np.uint8)
    pre = Preprocess(96, normalize="minmax")
    square = Preprocess(96).apply(dull).astype(np.float64)
    received = (pre.apply(dull) / 255 - np.array(pre.mean)) / np.array(pre.std)
    np.testing.assert_allclose(received, (square - square.min()) / (square.max() - square.min()), atol=0.5 / 255 + 1e-6)
    none = Preprocess(96, normalize="none")
    np.testing.assert_allclose((none.apply(dull) / 255 - np.array(none.mean)) / np.array(none.std), square / 255)


def test_other_spaces_than_rgb_are_ranged_channel_by_channel() -> None:
    out = Preprocess(64, colorspace="lab", normalize="minmax").apply(PHOTO)
    assert (out.min((0, 1)) == 0).all()
    assert (out.max((0, 1)) == 255).all()
    together = Preprocess(64, normalize="minmax").apply((PHOTO // [1, 2, 4]).astype(np.uint8))
    assert together[..., 2].max() < 80  # blue keeps its share of red


@pytest.mark.parametrize("step", STEPS, ids=named)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 20_000, 3), (700, 2, 3)])
def test_odd_pictures_pass_every_step(step: dict[str, Any], shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for fit in ("squash", "crop", "letterbox"):
        out = Preprocess(16, fit=fit, **step).apply(image)  # type: ignore[arg-type]
        assert (out.shape, out.dtype) == ((16, 16, 3), np.uint8)


def test_every_space_has_statistics_of_photos(data_dir: Path) -> None:
    assert set(PHOTOS) == set(SPACES) == {*get_args(Colorspace), "gray"}
    files = sorted((data_dir / "photos").iterdir())
    squares = np.stack([Preprocess(224).apply(decode(file.read_bytes())) for file in files])
    for space, (mean, std) in PHOTOS.items():
        pixels = convert(squares[:, 1::3, 1::3], "rgb", space)
        usual = space in ("rgb", "bgr", "gray")  # ImageNet's own, of 1.2 million photos
        np.testing.assert_allclose(pixels.mean((0, 1, 2)) / 255, mean, atol=0.03 if usual else 0.002)
        np.testing.assert_allclose(pixels.std((0, 1, 2)) / 255, std, atol=0.06 if usual else 0.002)


@pytest.mark.parametrize("space", get_args(Colorspace))
def test_mean_and_std_follow_the_space(space: Any) -> None:
    assert (Preprocess(8, colorspace=space).mean, Preprocess(8, colorspace=space).std) == PHOTOS[space]
    config = PreprocessConfig(colorspace=space)
    own = build_preprocess(config, 8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert own.mean == ((0.1, 0.2, 0.3) if space == "rgb" else PHOTOS[space][0])
    scored = build_preprocess(PreprocessConfig(normalize="zscore"), 8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert scored.std == (0.125,) * 3


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Cuts of a photo, in two classes."""
    folder = tmp_path_factory.mktemp("cuts")
    for i in range(12):
        path = folder / ("left" if i % 2 else "right") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(PHOTO[5 * i : 5 * i + 150, 37 * i : 37 * i + 130 + 9 * i]).save(path)
    return open_table(folder)


def images(table: Table, pre: Preprocess, **options: Any) -> np.ndarray:
    return np.concatenate([b.images for b in Loader(table, preprocess=pre, batch_size=5, **options).epoch(1)])


@pytest.mark.parametrize("step", SOME, ids=named)
@pytest.mark.parametrize("fit", ["squash", "crop", "letterbox"])
def test_training_sees_what_validation_sees(table: Table, step: dict[str, Any], fit: Any) -> None:
    pre = Preprocess(64, fit=fit, **step)
    used = images(table, pre)
    np.testing.assert_array_equal(images(table, pre, policy=Policy()), used)
    plain = np.abs(images(table, Preprocess(64, fit=fit), policy=ranges(hflip=1))[:, :, ::-1].astype(int)
                   - images(table, Preprocess(64, fit=fit))).mean()  # fmt: skip
    flipped = np.abs(images(table, pre, policy=ranges(hflip=1))[:, :, ::-1].astype(int) - used)
    if pre.colorspace == "hsv":
        flipped[..., 0] = np.minimum(flipped[..., 0], 180 - flipped[..., 0])
    # The one difference is the warp in the place of the resize, enlarged as the step enlarges contrast.
    gain = max(1.0, used.std() / images(table, Preprocess(64, fit=fit)).std())
    assert flipped.mean() <= 2 * gain * plain + 0.5


@pytest.mark.parametrize("equalize", ["global", "luminance"])
def test_equalisation_does_not_undo_what_is_drawn(table: Table, equalize: Any) -> None:
    policy = ranges(brightness=0.4)
    programs = policy.draw(table.rows["id"].to_list(), 1, 7).programs
    factor = np.array([dict(program)[Op.BRIGHTNESS][0] for program in programs])
    drawn = images(table, Preprocess(64, "gray", equalize=equalize), policy=policy, seed=7)
    brightest = np.minimum(255 * factor, 255)
    np.testing.assert_allclose(drawn.max((1, 2, 3)), brightest, rtol=0.04)  # smoothed a little by the resize


@pytest.mark.parametrize("step", SOME, ids=named)
def test_colour_and_range_come_after_augmentation_and_mixing(table: Table, step: dict[str, Any]) -> None:
    pre = Preprocess(48, **step)
    before = Preprocess(48, equalize=pre.equalize)
    for policy in (ranges(hflip=0.5, rotate=20, brightness=0.3, erase=0.5), ranges(rotate=9, mixup=0.4, cutmix=1.0)):
        drawn = images(table, before, policy=policy, seed=4)
        np.testing.assert_array_equal(images(table, pre, policy=policy, seed=4), pre.finish(drawn))
        np.testing.assert_array_equal(
            images(table, pre, policy=policy, seed=4, cache=RamCache(1 << 30), threads=3), pre.finish(drawn)
        )


def test_a_scaled_jpeg_is_equalised_as_a_whole_one(data_dir: Path) -> None:
    """Training decodes large JPEGs at a part of their size; the difference is of the order it is without the step."""
    files = sorted((data_dir / "trashnet" / "glass").iterdir())[:20]
    for equalize, most in (("none", 1.5), ("global", 2.5), ("luminance", 2.5), ("clahe", 3.0)):
        pre = Preprocess(64, equalize=equalize)  # type: ignore[arg-type]
        off = [
            np.abs(pre.apply(decode(data)).astype(int) - pre.apply(decode(data, min_side=83))).mean()
            for data in (file.read_bytes() for file in files)
        ]
        assert np.mean(off) <= most


def test_tensors_are_normalised_by_the_spaces_numbers(table: Table) -> None:
    pytest.importorskip("torch")
    pre = Preprocess(32, colorspace="lab")
    batch = next(iter(Normalized(Loader(table, preprocess=pre, batch_size=12))))
    expected = (images(table, pre) / 255 - np.array(pre.mean)) / np.array(pre.std)
    np.testing.assert_allclose(batch.images.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_settings_by_their_short_and_their_long_names() -> None:
    tree = resolve(TrainConfig, {"equalize": "clahe", "colorspace": "lab", "preprocess.tiles": "4"})
    pre = build_preprocess(tree.preprocess, 32, (1, 2, 3))
    assert pre == Preprocess(32, equalize="clahe", tiles=4, colorspace="lab", background=(1, 2, 3))
    assert pre.steps() == ["CLAHE 2, 4×4", "Lab"]
    assert Preprocess(8, equalize="global", normalize="zscore").steps() == ["equalised", "z-score"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colorspace": "lba"}, r"preprocess\.colorspace: .*found 'lba'\. Did you mean lab"),
        ({"colorspace": "gray"}, r"preprocess\.colorspace: .*found 'gray'"),
        ({"equalize": "cahle"}, r"Did you mean clahe"),
        ({"preprocess.normalize": "zsocre"}, r"Did you mean zscore"),
        ({"channels": "gray", "colorspace": "lab"}, r"colorspace lab needs the three channels of rgb"),
        ({"colorspace": "hsv", "preprocess.normalize": "minmax"}, r"hue is an angle"),
        ({"preprocess.clip_limit": "0"}, r"preprocess\.clip_limit: .*greater than 0"),
        ({"preprocess.tiles": "0"}, r"preprocess\.tiles: "),
    ],
)
def test_bad_settings(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(TrainConfig, settings)


def test_bicubic_is_pillows_and_travels(tmp_path: Path) -> None:
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    pre = Preprocess(32, resample="bicubic")
    wanted = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pre.apply(image), wanted)
    assert pre.to_dict()["resize"] == "pillow-bicubic-antialias"
    assert Preprocess.from_dict(pre.to_dict()) == pre != Preprocess(32)
    with pytest.raises(DataError):
        Preprocess.from_dict(pre.to_dict() | {"resize": ["lanczos"]})
