"""The pictures of an audit's report: decoded as small as they are shown, on threads, as WebP without any metadata."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np

from anmok.core.errors import DataError
from anmok.data.decode import decode
from anmok.data.storage import Storage
from anmok.report.audit_content import Picture

# Long side in pixels for so many pictures: twice the width they are shown at, where the page can carry it.
SIDES = ((150, 320), (500, 256), (900, 192), (1_000_000, 160))
BYTES = 6_400_000  # of all pictures together; in the page a third more
QUALITY = 62
METHOD = 0  # WebP's fastest: a third of the time of its default (4), for a quarter more bytes
TASK = 8  # images
MEAN_SIDE = 64


def pictures(storage: Storage, references: Mapping[str, str], threads: int) -> dict[str, Picture]:
    """A picture of each image {id: reference}, of at most BYTES together: one heavier than its share is made smaller.

    An image that cannot be decoded has an empty picture; of one that is cut off, what is there is shown.
    """
    if not references:
        return {}
    side = next(side for most, side in SIDES if len(references) <= most)
    share = BYTES // len(references)

    def one(reference: str) -> Picture:
        pixels = _decode(storage, reference, int(0.7 * side))
        return Picture() if pixels is None else picture(pixels, side, share)

    return dict(zip(references, _on_threads(one, list(references.values()), threads), strict=True))


def picture(pixels: np.ndarray, side: int, limit: int | None = None, quality: int = QUALITY) -> Picture:
    """Pixels uint8[H, W, 3] as WebP, long side at most `side`; smaller still if it takes more than `limit` bytes."""
    from PIL import Image

    small = shrink(pixels, side)
    out = io.BytesIO()
    Image.fromarray(small).save(out, "WEBP", quality=quality, method=METHOD)
    if limit is not None and out.tell() > limit and side > 48:
        return picture(small, side * 2 // 3, limit, quality)
    return Picture(out.getvalue(), small.shape[1], small.shape[0])


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8[H, W, 3] to a long side of `side`, of one that is larger; no side falls below one pixel.

    By areas, which is slow, only where neighbours are not enough: below half the size.
    """
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)


def mean_pictures(
    storage: Storage, references: Mapping[str, Sequence[str]], threads: int
) -> dict[str, tuple[int, Picture]]:
    """{class: (images, their mean picture)} of {class: references}; each image is squeezed to a square first."""
    import cv2

    def total(wanted: Sequence[str]) -> tuple[int, np.ndarray]:
        count, summed = 0, np.zeros((MEAN_SIDE, MEAN_SIDE, 3), np.float32)
        for reference in wanted:
            pixels = _decode(storage, reference, MEAN_SIDE // 2)
            if pixels is not None:
                cv2.accumulate(cv2.resize(pixels, (MEAN_SIDE, MEAN_SIDE), interpolation=cv2.INTER_AREA), summed)
                count += 1
        return count, summed

    parts = [(name, some[i : i + TASK]) for name, some in references.items() for i in range(0, len(some), TASK)]
    sums: dict[str, tuple[int, np.ndarray]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for (name, _), (count, summed) in zip(parts, pool.map(total, [some for _, some in parts]), strict=True):
            before = sums.get(name)
            sums[name] = (count, summed) if before is None else (before[0] + count, before[1] + summed)
    return {
        name: (count, picture((summed / count).round().astype(np.uint8), MEAN_SIDE, quality=95))
        for name, (count, summed) in sums.items()
        if count
    }


def _decode(storage: Storage, reference: str, min_side: int) -> np.ndarray | None:
    try:
        return decode(storage.read(reference), min_side=min_side, allow_truncated=True)
    except DataError:
        return None


def _on_threads(one: Callable[[str], Picture], references: Sequence[str], threads: int) -> Iterator[Picture]:
    """The picture of each reference, in order, a few to a task."""
    tasks = [references[i : i + TASK] for i in range(0, len(references), TASK)]
    with ThreadPoolExecutor(threads) as pool:
        yield from chain.from_iterable(pool.map(lambda some: [one(r) for r in some], tasks))
