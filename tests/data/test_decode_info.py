from __future__ import annotations

import bad_images as bad
import pytest

from anmok.core.errors import ImageError
from anmok.data.decode import decode, probe
from anmok.data.header import ImageInfo


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_on_info_hears_what_probe_says(form: str) -> None:
    data = bad.encode(bad.photo(40, 60), form)
    heard: list[ImageInfo] = []
    decode(data, on_info=heard.append)
    assert heard == [probe(data)]


def test_on_info_hears_of_a_damaged_file_too_but_not_of_one_that_is_too_large() -> None:
    heard: list[ImageInfo] = []
    with pytest.raises(ImageError, match="cut off"):
        decode(bad.encode(bad.photo(200, 300), "JPEG")[:-900], on_info=heard.append)
    assert [(info.width, info.height) for info in heard] == [(300, 200)]
    with pytest.raises(ImageError, match="too many"):
        decode(bad.png(bad.photo(2, 2), 2, 8, size=(100_000, 1000)), on_info=heard.append)
    assert len(heard) == 1
