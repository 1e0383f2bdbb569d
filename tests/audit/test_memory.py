from __future__ import annotations

import subprocess
import sys
import types

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.audit import memory
from anmok.audit.memory import account, decoded_pixels, fit, gpu_memory
from anmok.core.machine import memory_bytes

IMAGES = pl.DataFrame(
    {"bytes": [1000, 2000, None, 500], "width": [400, 100, None, 90], "height": [800, 50, None, 90],
     "fault": [None, None, "io-error", "truncated"]}
)  # fmt: skip


def test_account_by_hand() -> None:
    found = account(IMAGES, image_size=10, batch_size=3)
    pixels = 400 * 800 + 100 * 50
    assert found["files_bytes"] == 3500
    assert (found["uint8_bytes"], found["float32_bytes"]) == (pixels * 3, pixels * 12)
    assert found["decoded_256_bytes"] == (256 * 512 + 100 * 50) * 3
    assert (found["batch_uint8_bytes"], found["batch_bytes"]) == (3 * 100 * 3, 3 * 100 * 12)
    assert 0 < found["ram_free_bytes"] <= found["ram_bytes"] == memory_bytes()
    assert found["fits"].endswith("free RAM holds all pixels as float32 (3.9 MB).")


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_decoded_pixels_have_at_most_the_short_side(width: int, height: int) -> None:
    found = decoded_pixels(pl.DataFrame({"width": [width], "height": [height]}))
    short, long = sorted((width, height))
    assert found == (width * height if short <= 256 else 256 * round(long * 256 / short))


GB = 10**9
SIZES = {"files_bytes": GB // 2, "decoded_256_bytes": 3 * GB, "uint8_bytes": 20 * GB, "float32_bytes": 80 * GB}


@pytest.mark.parametrize(
    ("ram", "gpu", "text"),
    [
        (200 * GB, None, "half of the 200 GB of free RAM holds all pixels as float32 (80.0 GB)."),
        (50 * GB, None, "half of the 50.0 GB of free RAM holds all pixels as uint8 (20.0 GB), "
                        "not all pixels as float32 (80.0 GB)."),
        (10 * GB, 4 * GB, "half of the 10.0 GB of free RAM holds the pixels at 256 of the short side as uint8 "
                          "(3.0 GB), not all pixels as uint8 (20.0 GB); half of the 4.0 GB of free GPU memory holds "
                          "the files (500 MB), not the pixels at 256 of the short side as uint8 (3.0 GB)."),
        (GB // 10, None, "half of the 100 MB of free RAM holds none of it, not the files (500 MB)."),
    ],
)  # fmt: skip
def test_what_would_fit(ram: int, gpu: int | None, text: str) -> None:
    assert fit({**SIZES, "ram_free_bytes": ram, "gpu_free_bytes": gpu}) == text


def test_no_gpu_is_asked_for_where_pytorch_is_not_loaded() -> None:
    code = (
        "import polars as pl, sys\n"
        "from anmok.audit.memory import account\n"
        "rows = pl.DataFrame({'bytes': [1], 'width': [1], 'height': [1], 'fault': [None]})\n"
        "assert account(rows)['gpu_bytes'] is None\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_gpu_is_told_where_pytorch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = types.SimpleNamespace(is_available=lambda: True, mem_get_info=lambda: (3 * GB, 8 * GB))
    monkeypatch.setitem(memory.sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    assert gpu_memory() == (3 * GB, 8 * GB)
    assert "free GPU memory holds" in account(IMAGES)["fits"]
    cuda.is_available = lambda: False
    assert gpu_memory() == (None, None)
