from __future__ import annotations

from typing import Any

import bad_images as bad
import cv2
import numpy as np
import pytest
from PIL import Image

from anmok.audit.hashes import HASHES, perceptual
from anmok.audit.measure import MEASURES, complete, has_exif, inspect, measure
from anmok.audit.pixels import reduce
from anmok.core.errors import ImageError
from anmok.data.decode import decode
from anmok.data.table import content_hash


def measured(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    measure(data, found)
    return found


def test_every_measure_of_a_jpeg() -> None:
    data = bad.encode(bad.photo(300, 420), "JPEG", quality=83, exif=bad.exif(6), icc_profile=bad.gamma_profile(2.2))
    found = measured(data)
    assert set(found) == set(MEASURES) - {"mtime", "fault", "reason"}
    assert (found["bytes"], found["hash"], found["format"]) == (len(data), content_hash(data), "jpeg")
    assert (found["width"], found["height"], found["orientation"]) == (300, 420, 6)
    assert (found["exif"], found["icc"], found["jpeg_quality"]) == (True, True, 83)
    small = decode(data, min_side=128)
    assert min(small.shape[:2]) == 150
    assert found["mean_b"] == pytest.approx(small[:, :, 2].mean() / 255)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    assert found["brightness"] == pytest.approx(luma.mean() / 255, abs=0.002)
    assert tuple(found[name] for name in HASHES) == perceptual(reduce(luma))


def test_measures_are_alike_at_every_size() -> None:
    large = bad.photo(600, 800, seed=3)
    found = [measured(bad.encode(cv2.resize(large, size, interpolation=cv2.INTER_AREA), "PNG"))
             for size in ((800, 600), (400, 300), (200, 150))]  # fmt: skip
    for name in ("brightness", "contrast", "luma_5", "luma_95", "colorfulness", "chroma", "mean_r", "std_r"):
        values = [row[name] for row in found]
        assert max(values) - min(values) <= 0.02 * max(values), name


def test_a_grey_picture_has_no_chroma_however_it_is_stored() -> None:
    gray = Image.fromarray(bad.photo(200, 220)).convert("L")
    for form, image in (("PNG", gray), ("PNG", gray.convert("RGB")), ("JPEG", gray), ("JPEG", gray.convert("RGB"))):
        found = measured(bad.encode(image, form))
        assert found["chroma"] < 0.001
        assert found["colorfulness"] < 0.1
    assert measured(bad.encode(bad.photo(200, 220), "JPEG"))["chroma"] > 0.05


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("there", [True, False])
def test_exif_is_seen(form: str, there: bool) -> None:
    data = bad.encode(bad.photo(), form, **({"exif": bad.exif(3)} if there else {}))
    assert measured(data)["exif"] is there


def test_exif_is_not_told_where_it_is_not_read() -> None:
    assert has_exif(bad.encode(bad.photo(), "BMP"), "bmp") is None


def test_only_a_jpeg_has_a_quality() -> None:
    assert "jpeg_quality" not in measured(bad.encode(bad.photo(), "WEBP", quality=60))


def test_a_damaged_file_is_measured_as_far_as_it_goes() -> None:
    data = bad.encode(bad.photo(200, 300), "JPEG")[:-900]
    found: dict[str, Any] = {}
    with pytest.raises(ImageError):
        measure(data, found)
    assert (found["bytes"], found["width"]) == (len(data), 300)
    assert "brightness" not in found


def test_one_pixel_and_a_strip_are_measured() -> None:
    for shape in ((1, 1), (20000, 1), (2, 300)):
        found = measured(bad.encode(bad.photo(*shape), "PNG"))
        assert np.isfinite(found["brightness"])
        assert found["sharpness"] is None


def test_some_together_as_each_alone() -> None:
    files = [bad.encode(bad.photo(150 + 20 * k, 210, seed=k), "JPEG") for k in range(4)]
    rows: list[dict[str, Any]] = [{} for _ in files]
    complete([inspect(data, row) for data, row in zip(files, rows, strict=True)])
    for row, data in zip(rows, files, strict=True):
        alone = measured(data)
        numbers = [name for name, value in alone.items() if isinstance(value, float)]
        assert {name: row.pop(name) for name in numbers} == pytest.approx({name: alone.pop(name) for name in numbers})
        assert row == alone
