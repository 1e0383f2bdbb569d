from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from anmok.audit.heap import keep_freed
{first}
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(20):
    if turn == 10: before = faults()
    some = [np.ones(120_000, np.float32) for _ in range(12)]
    del some
print(faults() - before)
"""


def pages(first: str) -> int:
    """Pages fetched from the system by ten times twelve arrays of half a megabyte."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_is_freed_is_not_fetched_again() -> None:
    assert pages("") > 1000  # each time anew
    assert pages("keep_freed()") < 100
