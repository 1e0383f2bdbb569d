"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("anmok", deadline=None)  # a busy machine is no fault
settings.load_profile("anmok")

os.environ.setdefault("ANMOK_QUIET", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data (see CONTRIBUTING); the test is skipped, saying so, where they are absent."""
    folder = Path(os.environ.get("ANMOK_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ANMOK_DATA")
    return folder
