from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.audit import hamming_kernel
from anmok.audit.hamming_kernel import popcount


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_popcount_is_that_of_python(value: int) -> None:
    assert popcount(np.uint64(value)) == value.bit_count()


def test_without_a_place_for_the_cache_it_compiles_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def homeless(*args: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", homeless)
    compiled = hamming_kernel._compiled(nogil=True)(lambda x: x + 1)
    assert compiled(2) == 3
