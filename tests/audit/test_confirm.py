from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from scenes import encoded, scene

from anmok.audit.confirm import Verdict, confirm, look
from anmok.audit.near_config import NearConfig
from anmok.core.errors import ImageError


def verdict(one: bytes, two: bytes, fit: str = "upright", **config: float) -> Verdict | None:
    looks = []
    for data in (one, two):
        with Image.open(io.BytesIO(data)) as image:
            looks.append(look(data, *image.size))
    return confirm(*looks, fit, NearConfig.model_validate(config), lambda: (one, two))


def marked(image: Image.Image, size: int) -> Image.Image:
    layer = image.copy()
    ImageDraw.Draw(layer).text((30, 80), "SAMPLE", fill="white", font_size=size)
    return Image.blend(image, layer, 0.7)


CHANGES = {
    "re-encoded": (lambda i: i, {"quality": 30}, "upright"),
    "resized to 50 %": (lambda i: i.resize((160, 120)), {}, "upright"),
    "resized to 200 %": (lambda i: i.resize((640, 480)), {}, "upright"),
    "stretched": (lambda i: i.resize((320, 300)), {}, "upright"),
    "brighter": (lambda i: ImageEnhance.Brightness(i).enhance(1.2), {}, "upright"),
    "darker": (lambda i: ImageEnhance.Brightness(i).enhance(0.8), {}, "upright"),
    "without colour": (lambda i: i.convert("L"), {}, "upright"),
    "mirrored": (ImageOps.mirror, {}, "mirrored"),
    "turned by 90 degrees clockwise": (lambda i: i.transpose(Image.Transpose.ROTATE_270), {}, "right"),
    "turned by 180 degrees": (lambda i: i.rotate(180), {}, "half-turn"),
    "turned by 3 degrees": (lambda i: i.rotate(3, Image.Resampling.BICUBIC), {}, "upright"),
    "cropped to 90 % × 90 %": (lambda i: i.crop((16, 12, 304, 228)), {}, "phash_centre"),
    "has a border": (lambda i: ImageOps.expand(i, 16, "black"), {}, "in phash_centre"),
}


@pytest.mark.parametrize("words", CHANGES)
def test_what_was_done_to_a_picture_is_said_in_words(words: str) -> None:
    change, options, fit = CHANGES[words]
    found = []
    for seed in range(6):
        image = scene(seed)
        found.append(verdict(encoded(image), encoded(change(image), **options), fit))
    assert all(v is not None and v.kind == "near-duplicate" for v in found)
    assert sum(words in v.evidence for v in found if v) >= 5, [v and v.evidence for v in found]
    assert all(0.7 <= v.score <= 1 for v in found if v)


def test_a_mark_laid_over_a_picture_does_not_hide_it() -> None:
    small = [verdict(encoded(scene(seed)), encoded(marked(scene(seed), 40))) for seed in range(6)]
    large = [verdict(encoded(scene(seed)), encoded(marked(scene(seed), 70))) for seed in range(6)]
    assert all(small)
    assert sum(v is not None for v in large) >= 4
    assert any("in part covered or changed" in v.evidence and 0.7 <= v.score < 0.85 for v in large if v)


@pytest.mark.parametrize("fit", ["upright", "mirrored", "phash_centre", "in phash_top_left"])
def test_different_pictures_are_not_confirmed(fit: str) -> None:
    for seed in range(10):
        assert verdict(encoded(scene(seed)), encoded(scene(seed + 50)), fit) is None


def test_different_things_on_white_are_not_confirmed_though_most_pixels_agree() -> None:
    pages = []
    for seed in range(8):
        page = Image.new("RGB", (400, 300), "white")
        page.paste(scene(seed).resize((80, 60)), (160, 120))
        pages.append(encoded(page))
    for one, two in itertools.pairwise(pages):
        assert verdict(one, two) is None
    assert verdict(pages[0], encoded(Image.open(io.BytesIO(pages[0])), quality=40)) is not None


def test_other_bytes_with_the_same_pixels() -> None:
    image = scene(3)
    with Image.open(io.BytesIO(encoded(image))) as decoded:
        decoded.load()
    jpeg, png = encoded(image), encoded(decoded, "PNG")
    found = verdict(jpeg, png)
    assert found == Verdict("exact-pixels", 1.0, "other bytes, the same pixels")
    changed = np.asarray(decoded).copy()
    changed[5, 7] ^= 1  # one pixel, by one level
    found = verdict(jpeg, encoded(Image.fromarray(changed), "PNG"))
    assert found is not None
    assert found.kind == "near-duplicate"


def test_plain_pictures_are_compared_by_their_shade() -> None:
    def plain(*color: int) -> bytes:
        noise = np.random.default_rng(color).integers(-1, 2, (200, 300, 3))
        return encoded(Image.fromarray((np.array(color) + noise).astype(np.uint8)), "PNG")

    found = verdict(plain(240, 240, 240), plain(241, 240, 240))
    assert found is not None
    assert found.evidence.startswith("both plain, of one shade: 0.9")
    assert verdict(plain(240, 240, 240), plain(200, 200, 200)) is None
    assert verdict(plain(200, 100, 100), plain(100, 152, 100)) is None  # the same luma


def test_the_threshold_can_be_moved() -> None:
    one, two = encoded(scene(1)), encoded(scene(1), quality=20)
    found = verdict(one, two)
    assert found is not None
    assert verdict(one, two, alike=min(1, found.score + 0.01), covered=1) is None


def test_bytes_that_are_no_picture_are_an_error() -> None:
    with pytest.raises(ImageError):
        look(b"not a picture", 10, 10)
