from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anmok.audit.config import AuditConfig
from anmok.audit.quality import quality
from anmok.audit.scan import scan
from anmok.data.decode import decode
from anmok.data.sources import open_table

SHAPES = 24
KINDS = ("dark", "bright", "low-contrast", "blurry", "low-information")


def scene(seed: int, height: int = 200, width: int = 260) -> np.ndarray:
    """uint8[H, W, 3]: rectangles and disks with sharp edges, a little noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for i in range(SHAPES):
        y, x, size = rng.integers(0, height), rng.integers(0, width), int(rng.integers(10, 60))
        color = rng.integers(0, 256, 3).tolist()
        if i % 2:
            cv2.circle(pixels, (int(x), int(y)), size // 2, color, -1)
        else:
            cv2.rectangle(pixels, (int(x), int(y)), (int(x) + size, int(y) + size), color, -1)
    return np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def scaled(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.rint(low + pixels / 255 * (high - low)).astype(np.uint8)


CHANGES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "darkened": ("dark", scaled(0, 50)),
    "lit": ("bright", scaled(236, 255)),
    "hazy": ("low-contrast", scaled(120, 150)),
    "blurred": ("blurry", lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 3)),
    "moved": ("blurry", lambda pixels: cv2.blur(pixels, (15, 1))),
    "blank": ("low-information", lambda pixels: np.full_like(pixels, pixels[0, 0])),
    "clean": ("", lambda pixels: pixels),
}


def by_folder(folder: Path, config: AuditConfig | None = None) -> dict[str, dict[str, int]]:
    """{folder: {kind: findings}}"""
    out: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for finding in quality(scan(open_table(folder)).images, config or AuditConfig()):
        out[finding.ids[0].split("/")[0]][finding.kind] += 1
    return {name: dict(kinds) for name, kinds in out.items()}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    for name, (_, change) in CHANGES.items():
        (root / name).mkdir()
        for i in range(12):
            Image.fromarray(change(scene(i))).save(root / name / f"{i}.jpg", quality=90)
    return root


def test_what_is_planted_is_found_and_what_is_clean_is_not(planted: Path) -> None:
    found = by_folder(planted)
    for name, (kind, _) in CHANGES.items():
        if kind:
            assert found[name][kind] >= 11, (name, found[name])
    assert "clean" not in found
    for name in ("darkened", "lit", "hazy"):
        assert "blurry" not in found[name], "sharpness does not depend on contrast"
    assert set(found["blurred"]) == set(found["moved"]) == {"blurry"}


def test_every_threshold_can_be_moved(planted: Path) -> None:
    none = AuditConfig(dark=0, bright=1, low_contrast=0, blurry=0, low_entropy=0, low_detail=0)
    assert by_folder(planted, none).get("darkened", {}) == {}
    assert not set(KINDS) & set().union(*by_folder(planted, none).values())
    every = AuditConfig(dark=1, bright=0, low_contrast=1, blurry=1, low_entropy=8)
    assert set(by_folder(planted, every)["hazy"]) == set(KINDS)


def test_an_object_on_a_plain_ground_is_not_dark_bright_or_flat(tmp_path: Path) -> None:
    for name, ground, thing in (("white", 250, 90), ("black", 3, 160), ("blue", (10, 20, 200), (230, 40, 60))):
        pixels = np.full((300, 300, 3), ground, np.uint8)
        cv2.circle(pixels, (150, 140), 45, (thing,) * 3 if isinstance(thing, int) else thing, -1)
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "1.png")
    found = by_folder(tmp_path)
    assert not {kind for kinds in found.values() for kind in kinds} & {"dark", "bright", "low-contrast", "blurry"}


def test_grey_pictures_are_told_in_a_colour_set_only(tmp_path: Path) -> None:
    for i in range(8):
        image = Image.fromarray(scene(i))
        image = image if i > 2 else image.convert("L")
        image = image.convert("RGB") if i == 1 else image
        image.save(tmp_path / f"{i}.jpg")
    found = [f for f in quality(scan(open_table(tmp_path)).images, AuditConfig()) if f.kind == "grey"]
    assert [f.ids for f in found] == [["0.jpg"], ["1.jpg"], ["2.jpg"]]
    assert found[0].evidence == "no colour in 1 channel; 62% of the set has some"
    assert found[1].evidence == "no colour in 3 channels; 62% of the set has some"
    for i in range(3, 8):
        (tmp_path / f"{i}.jpg").unlink()
    assert not [f for f in quality(scan(open_table(tmp_path)).images, AuditConfig()) if f.kind == "grey"]


def test_few_real_photos_are_flagged_and_most_real_ones_that_are_spoilt(data_dir: Path, tmp_path: Path) -> None:
    paths = [*sorted((data_dir / "photos").iterdir())[::4], *sorted((data_dir / "trashnet").glob("*/*.jpg"))[::50]]
    for name in ("clean", "darkened", "lit", "hazy", "blurred", "moved"):
        (tmp_path / name).mkdir()
        for i, path in enumerate(paths):
            pixels = CHANGES[name][1](decode(path.read_bytes()))
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.jpg", quality=90)
    found = by_folder(tmp_path)
    found["clean"].pop("grey", None)
    assert sum(found["clean"].values()) <= 0.03 * len(paths), found["clean"]
    for name, share in (("darkened", 0.98), ("lit", 0.98), ("hazy", 0.98), ("blurred", 0.9), ("moved", 0.8)):
        assert found[name][CHANGES[name][0]] >= share * len(paths), (name, found[name])


def test_small_sharp_pictures_are_not_all_blurry(data_dir: Path) -> None:
    table = open_table(data_dir / "cifar10" / "test-00000-of-00001.parquet").take(range(1000))
    found = [f.kind for f in quality(scan(table).images, AuditConfig())]
    assert sum(kind != "grey" for kind in found) <= 10
