"""The settings of a run of a second, and digits that a test may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {
    "model": "lenet", "image_size": 32, "epochs": 1, "batch_size": 16, "plan": "none", "augment": "none", "threads": 1,
}  # fmt: skip


def digits_and(tmp_path: Path, digits: Path, *classes: int) -> Path:
    """A copy of some class folders that a test may spoil."""
    for digit in classes or (0, 1):
        shutil.copytree(digits / f"digit-{digit}", tmp_path / "set" / f"digit-{digit}")
    return tmp_path / "set"
