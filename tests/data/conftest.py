"""Small real images and folders of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def encode(number: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """picture(n, kind='PNG'): the bytes of an image; another n, another content."""
    return encode


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """folder('cat/1.png', 'dog/1.png', …): a new folder with these images, all of different content."""

    def build(*names: str, at: str = "images") -> Path:
        root = tmp_path / at
        for number, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(number))
        return root

    return build
