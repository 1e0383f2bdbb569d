"""Memory that is freed with one picture and needed again with the next."""

from __future__ import annotations

import numpy as np

_BLOCK = 31 << 20  # bytes: just below the 32 MiB that the allocator's limit can rise to


def keep_freed() -> None:
    """Have glibc's allocator keep up to 62 MiB of freed memory a thread instead of handing it back to the system.

    It hands back what lies above twice the largest block that was ever freed (mallopt(3): the threshold is dynamic), so
    that arrays of half a megabyte are fetched anew, page by page, for every picture: half of the time of a comparison.
    One larger block, freed untouched, ends that.  Other allocators do not mind.
    """
    np.empty(_BLOCK, np.uint8)
