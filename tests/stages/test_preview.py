"""Previews: which images are shown, that they are what training and the model see, and what a sheet is written as."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import anmok
from anmok.augment.color import convert
from anmok.augment.config import AugmentConfig
from anmok.augment.named import build_policy
from anmok.augment.params import Chains, Op, Params
from anmok.augment.policy import Policy, ranges
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.data import Loader, Table, open_table
from anmok.data.decode import decode
from anmok.report.sheet import Cell, Row
from anmok.stages import preview as stage
from anmok.stages.pick import candidates, class_of, pick

PHOTO = load_sample_image("china.jpg")
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of five cuts of a photo; one name is Korean."""
    folder = tmp_path_factory.mktemp("cuts")
    for k, label in enumerate(("bottle", "can", "paper", "유리")):
        (folder / label).mkdir()
        for i in range(5):
            Image.fromarray(PHOTO[10 * i : 10 * i + 90, 60 * k : 60 * k + 80 + 20 * i]).save(
                folder / label / f"{i}.png"
            )
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What was handed to the drawing of the last sheet."""
    seen: Seen = {}
    draw = stage.draw_sheet

    def keep(title: str, notes: Sequence[str], columns: Sequence[str], rows: Sequence[Row]) -> Image.Image:
        seen.update(title=title, notes=" ".join(notes), columns=list(columns), rows=list(rows))
        return draw(title, notes, columns, rows)

    monkeypatch.setattr(stage, "draw_sheet", keep)
    return seen


def cell(seen: Seen, row: int, column: str) -> Cell:
    return seen["rows"][row].cells[seen["columns"].index(column)]


def test_images_are_chosen_evenly_and_the_same_for_the_same_seed(cuts: Path, drawn: Seen) -> None:
    shown = []
    for n, seed in ((4, 0), (4, 0), (6, 0), (4, 1)):
        anmok.preview(cuts, images=n, seed=seed, image_size=16)
        shown.append([row.name for row in drawn["rows"]])
        labels = [row.label for row in drawn["rows"]]
        assert labels == sorted(labels)
        assert max(Counter(labels).values()) - min(Counter(labels).values()) <= 1
        assert len(set(shown[-1])) == n
    assert shown[0] == shown[1] != shown[3]
    assert set(shown[0]) <= set(shown[2])
    anmok.preview(cuts, images=2, image_size=16)
    assert [row.label for row in drawn["rows"]] == ["bottle", "유리"]
    anmok.preview(cuts, images=100, image_size=16)
    assert len(drawn["rows"]) == 20


def test_candidates_are_a_permutation_that_takes_turns() -> None:
    place = np.array([0] * 5 + [2] * 3 + [1] * 1)
    order = list(candidates([str(i) for i in range(9)], place, 4, 0))
    assert sorted(order) == list(range(9))
    assert sorted(place[order[:3]]) == [0, 1, 2]
    assert sorted(place[order[3:5]]) == [0, 2]
    assert list(candidates([], np.zeros(0, int), 3, 0)) == []


def test_rows_without_a_label_and_with_several(cuts: Path, drawn: Seen) -> None:
    flat = open_table(cuts / "can")
    anmok.preview(flat, images=2, image_size=16)
    assert [row.label for row in drawn["rows"]] == ["unlabelled"] * 2
    rows = open_table(cuts).rows.with_columns(
        pl.Series("label", [["a", "b"], ["b"], [], None] * 5, dtype=pl.List(pl.String))
    )
    table = Table(rows, cuts, ("a", "b"), "multilabel")
    assert class_of(table).tolist() == [0, 1, 2, 2] * 5
    anmok.preview(table, images=3, image_size=16)
    assert [row.label for row in drawn["rows"]] == ["a, b", "b", "unlabelled"]


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"equalize": "clahe"}, {"equalize": "clahe", "colorspace": "lab"}, {"colorspace": "hsv"},
        {"preprocess.normalize": "zscore"}, {"colorspace": "ycrcb", "preprocess.normalize": "minmax"},
        {"channels": "gray", "equalize": "global"}, {"preprocess.fit": "letterbox", "data.background": "#204060"},
    ],
    ids=lambda s: "-".join(s.values()) or "plain",
)  # fmt: skip
def test_the_prepared_cell_is_what_the_model_sees(cuts: Path, drawn: Seen, settings: dict[str, str]) -> None:
    anmok.preview(cuts, images=4, image_size=32, **settings)
    short = {k.removeprefix("preprocess."): v for k, v in settings.items() if not k.startswith("data.")}
    background = (32, 64, 96) if "data.background" in settings else (255, 255, 255)
    pre = Preprocess(32, background=background, **short)  # type: ignore[arg-type]
    for n, row in enumerate(drawn["rows"]):
        image = decode((cuts / row.name).read_bytes(), channels=pre.channels)
        assert cell(drawn, n, "original").caption == f"{image.shape[1]} × {image.shape[0]} px"
        model = pre.apply(image)
        prepared = pre.square(pre.prepare(image))
        if pre.colorspace != "rgb":
            prepared = convert(convert(prepared, "rgb", pre.colorspace), pre.colorspace, "rgb")
        np.testing.assert_array_equal(cell(drawn, n, "prepared").image, prepared)
        received = (model / 255 - np.array(pre.mean)) / np.array(pre.std)
        names = {"lab": ["L*", "a*", "b*"], "hsv": ["hue", "saturation", "value"], "ycrcb": ["Y", "Cr", "Cb"]}
        inputs = names.get(pre.colorspace, ["network's input"] if pre.finishes else [])
        assert drawn["columns"] == ["original", "prepared", *inputs]
        for i, name in enumerate(inputs):
            numbers = received[..., i] if len(inputs) == 3 else received
            low, high = (float(part) for part in cell(drawn, n, name).caption.split(",")[0].split(" to "))
            np.testing.assert_allclose((low, high), (numbers.min(), numbers.max()), atol=0.0051)
    for text in ("CLAHE 2, 8×8", "Lab") if settings.get("colorspace") == "lab" else ():
        assert text in drawn["notes"]
        assert text in cell(drawn, 0, "prepared").caption


def test_a_network_input_is_shown_about_middle_grey(cuts: Path, drawn: Seen) -> None:
    anmok.preview(cuts, images=1, image_size=32, colorspace="lab")
    row = drawn["rows"][0]
    pre = Preprocess(32, colorspace="lab")
    codes = pre.apply(decode((cuts / row.name).read_bytes()))[..., 1:2]
    expected = np.clip(((codes / 255 - pre.mean[1]) / pre.std[1] + 3) * 255 / 6, 0, 255)
    np.testing.assert_allclose(cell(drawn, 0, "a*").image, expected, atol=0.51)
    assert "black is -3, grey 0, white +3" in drawn["notes"]


@pytest.mark.parametrize("policy", ["light", "strong"])
def test_variants_are_those_of_the_epochs_of_a_training(cuts: Path, drawn: Seen, policy: str) -> None:
    anmok.preview(
        cuts, images=4, variants=3, seed=5, image_size=40, equalize="luminance", colorspace="hsv", augment=policy
    )
    table = open_table(cuts)
    alone = replace(build_policy(AugmentConfig(policy=policy)), mixup=0.0, cutmix=0.0)
    pre = Preprocess(40, equalize="luminance")
    training = Loader(table, preprocess=pre, policy=alone, batch_size=20, shuffle=True, seed=5)
    for epoch in range(3):
        batch = next(training.epoch(epoch))
        place = {identity: i for i, identity in enumerate(batch.ids)}
        for n, row in enumerate(drawn["rows"]):
            shown = cell(drawn, n, f"drawn {epoch + 1}")
            np.testing.assert_array_equal(shown.image, batch.images[place[row.name]])
            assert ("erased" in shown.caption) == (Op.ERASE in alone.draw([row.name], epoch, 5).ops)
    assert ("Mixed batches are not shown" in drawn["notes"]) == (policy == "strong")
    assert len(drawn["columns"]) == 2 + 3 + 3


def test_what_was_drawn_is_said_in_words() -> None:
    still = Policy().draw(["a"], 0, 0)
    assert stage.drawn(still, 0) == "unchanged"
    params = ranges(hflip=1, vflip=1, scale=(0.25, 0.25), ratio=(2, 2), relative=False).draw(["a"], 0, 0)
    words = stage.drawn(params, 0).replace("\N{NO-BREAK SPACE}", " ")
    assert words == "crop 25% of the area, aspect 2.00, flip, upside down"
    params = ranges(rotate=30, shear=10, brightness=0.5, contrast=0.5, saturation=0.5, erase=1).draw(["a"], 0, 0)
    words = stage.drawn(params, 0).replace("\N{NO-BREAK SPACE}", " ")
    v = {op: numbers[0] for op, numbers in params.programs[0]}
    expected = (
        f"turn {np.rad2deg(v[Op.ROTATE]):+.1f}°, shear {np.rad2deg(np.arctan(v[Op.SHEAR_X])):+.1f}°, "
        f"brightness ×{v[Op.BRIGHTNESS]:.2f}, contrast ×{v[Op.CONTRAST]:.2f}, "
        f"saturation ×{v[Op.SATURATION]:.2f}, erased"
    )
    assert words == expected
    assert "saturation" not in stage.drawn(params, 0, depth=1)


def test_augmentation_is_only_drawn_where_it_is_asked_for(cuts: Path, drawn: Seen, tmp_path: Path) -> None:
    anmok.preview(cuts, images=1, image_size=16)
    assert drawn["columns"] == ["original", "prepared"]
    anmok.preview(cuts, images=1, image_size=16, variants=2, **{"augment.rotate": 25})
    assert drawn["columns"] == ["original", "prepared", "drawn 1", "drawn 2"]
    assert cell(drawn, 0, "drawn 1").caption.startswith("turn")
    assert "none, rotate 25" in drawn["notes"]
    file = tmp_path / "look.toml"
    file.write_text('images = 1\n[augment]\npolicy = "flip-crop"\n')
    anmok.preview(cuts, config=file, variants=1, image_size=16)
    assert len(drawn["rows"]) == 1
    assert drawn["columns"][-1] == "drawn 1"


def test_images_that_cannot_be_read_are_passed_over_and_named(
    tmp_path: Path, drawn: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("anmok.stages.pick.warn", said.append)
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    with pytest.raises(DataError, match="no image that can be shown") as caught:
        anmok.preview(tmp_path)
    assert caught.value.code == "no-images"
    Image.fromarray(PHOTO[:9, :9]).save(tmp_path / "good.png")
    anmok.preview(tmp_path, images=3, image_size=16)
    assert [row.name for row in drawn["rows"]] == ["good.png"]
    assert "4 images" in said[-1]
    assert "0.png" in said[-1]
    with pytest.raises(DataError):
        pick(open_table(tmp_path).take([]), 3, 0, Preprocess(16), 100)


def test_odd_pictures_have_a_row_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("one", (1, 1, 3)), ("strip", (1, 20_000, 3)), ("tower", (3_000, 2)), ("alpha", (9, 9, 4))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{name}.png")
    for settings in ({"equalize": "clahe", "colorspace": "lab"}, {"channels": "gray"}):
        for fit in ("squash", "crop", "letterbox"):
            sheet = anmok.preview(
                tmp_path, augment="strong", variants=1, image_size=16, **{"preprocess.fit": fit}, **settings
            )
            assert sheet.mode == "RGB"
            assert np.asarray(sheet).std() > 5


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "JPEG"])
def test_the_suffix_is_the_format(cuts: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"sheet.{suffix}"
    sheet = anmok.preview(cuts, out, images=2, image_size=16)
    with Image.open(out) as read:
        assert read.format == {"png": "PNG", "webp": "WEBP"}.get(suffix, "JPEG")
        assert np.abs(np.asarray(read.convert("RGB")).astype(int) - np.asarray(sheet)).mean() < 3
    with pytest.raises(UsageError, match="exists already"):
        anmok.preview(cuts, out, images=2)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_sheet_too_long_for_webp_says_so(cuts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "WEBP_SIDE", 600)
    with pytest.raises(UsageError, match=r"WebP ends at 600\. Write \.png"):
        anmok.preview(cuts, tmp_path / "sheet.webp", images=3, image_size=16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colorspace": "lba"}, "Did you mean lab"),
        ({"augment": "lihgt"}, "Did you mean light"),
        ({"equalise": "clahe"}, "Did you mean equalize"),
        ({"channels": "gray", "colorspace": "lab"}, "needs the three channels of rgb"),
        ({"images": 0}, "greater than or equal to 1"),
        ({"out": "sheet.gif"}, r"expected a \.png, \.webp or \.jpg"),
        ({"epochs": 3}, "no such setting"),
    ],
)
def test_bad_settings(cuts: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        anmok.preview(cuts, **settings)


def test_a_source_without_images(tmp_path: Path, cuts: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        anmok.preview(tmp_path / "empty")
    with pytest.raises(UsageError, match="no such file or folder"):
        anmok.preview(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no image that can be shown"):
        anmok.preview(open_table(cuts).take([]))


def test_the_command(cuts: Path, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    out = tmp_path / "sheet.png"
    done = cli("preview", cuts, "--equalize", "clahe", "--colorspace", "lab", "--image-size", 32, "--images", 3,
               "--augment", "light", "--variants", 2, "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    with Image.open(out) as sheet:
        assert sheet.width > 7 * 208
    failed = cli("preview", cuts, "--colorspace", "lba", "--out", tmp_path / "x.png")
    assert failed.returncode == 2
    assert "Did you mean lab?" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert cli("preview", cuts).returncode == 2
    assert not (tmp_path / "x.png").exists()


def test_it_needs_no_torch(cuts: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import anmok; anmok.preview(sys.argv[1], sys.argv[2], images=1, augment='light', colorspace='lab')"
    )
    out = tmp_path / "sheet.png"
    done = subprocess.run([sys.executable, "-c", code, cuts, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.is_file()


def test_nothing_that_was_drawn_is_cut_off(cuts: Path, drawn: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.report import sheet

    written: list[list[str]] = []
    wrapped = sheet.wrapped

    def keep(text: str, *rest: Any) -> list[str]:
        written.append([text, *wrapped(text, *rest)])
        return written[-1][1:]

    monkeypatch.setattr(sheet, "wrapped", keep)
    for policy in ("strong", "augmix:severity=10,width=3,depth=3"):
        written.clear()
        anmok.preview(cuts, images=6, variants=4, image_size=32, augment=policy)
        captions = {c.caption.replace("\N{NO-BREAK SPACE}", " ") for row in drawn["rows"] for c in row.cells}
        whole = {" ".join(lines) for _, *lines in written}
        assert captions <= whole
        assert not any("…" in line for _, *lines in written for line in lines)


def test_chains_that_weigh_nothing_are_left_out_and_long_ones_break_before_an_operation() -> None:
    chains = Chains(
        np.array([[[Op.BRIGHTNESS, Op.INVERT], [Op.EQUALIZE, 0]]], np.int8),
        np.array([[[[0.5] + [0] * 7, [0] * 8], [[0] * 8] * 2]], np.float32),
        np.array([[0.7, 0.299, 0.001]], np.float32),
    )
    params = Params(np.array([[Op.AUGMIX]], np.int8), np.zeros((1, 1, 8), np.float32), np.zeros(1, np.uint64), chains)
    space = "\N{NO-BREAK SPACE}"
    assert stage.drawn(params, 0) == "70%_as_it_is, 30%_brightness_×0.50 +_invert".replace("_", space)


def test_a_guest_s_transforms_are_named(cuts: Path, drawn: Seen) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    compose = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandomRotation(20)])
    anmok.preview(cuts, images=1, variants=1, image_size=32, augment=compose)
    assert "(RandomHorizontalFlip, RandomRotation)" in drawn["notes"]
