"""Small real data, and the command line as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def write_digits(folder: Path, each: int, size: int = 8) -> Path:
    """The first `each` of scikit-learn's handwritten digits 0 to 3, as folder/<digit>/<number>.png."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for digit in range(4):
        for number in np.flatnonzero(data.target == digit)[:each]:
            path = folder / f"digit-{digit}" / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = 255 - np.rint(data.images[number] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).resize((size, size)).save(path)
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 digits in four class folders."""
    return write_digits(tmp_path_factory.mktemp("digits"), 40)


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `anmok …` in a process of its own and return what it said."""

    def run(
        *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "anmok", *map(str, arguments)], capture_output=True, text=True, cwd=cwd,
            env={**os.environ, "ANMOK_QUIET": "", **(env or {})}, timeout=300, check=False,
        )  # fmt: skip

    return run
