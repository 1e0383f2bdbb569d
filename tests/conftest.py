"""What every test may ask for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("anmok", deadline=None)  # a busy machine is no fault
settings.load_profile("anmok")

os.environ.setdefault("ANMOK_QUIET", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# pixels, plans and vectors that tests keep do not outlive them, nor are those of the user found
_CACHE = tempfile.TemporaryDirectory(prefix="anmok-tests-")
os.environ["ANMOK_CACHE"] = _CACHE.name


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data (see CONTRIBUTING); the test is skipped, saying so, where they are absent."""
    folder = Path(os.environ.get("ANMOK_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ANMOK_DATA")
    return folder
