from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import TiffImagePlugin

from anmok.data.warned import pillow_warnings_kept


def test_only_this_thread_s_warnings_are_kept() -> None:
    def elsewhere() -> None:
        with pytest.warns(UserWarning, match="for others"):
            TiffImagePlugin.warnings.warn("for others")

    with pillow_warnings_kept() as kept, ThreadPoolExecutor(1) as pool:
        TiffImagePlugin.warnings.warn("for us")
        pool.submit(elsewhere).result()
    assert kept == ["for us"]
    elsewhere()


def test_the_stand_in_offers_the_rest_of_the_module() -> None:
    with pillow_warnings_kept():
        assert TiffImagePlugin.warnings.catch_warnings
