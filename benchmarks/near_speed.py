"""How long near duplicates take: hashes of a picture, and the whole step after a scan.  About 20 s.

    .venv/bin/python benchmarks/near_speed.py

The step is what TrashNet and photos/ (2,727 images) take from the scan's table to groups: candidates by their hashes,
decoding of their pictures, comparison; on all cores. The hashes are those of a scaled decode of TrashNet's photos.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from common import Figure, arguments, context, data_root, figure, fingerprint, finish, write


def hashing(data: Path, repeats: int) -> Figure:
    """Microseconds for all hashes of a picture, on one core."""
    import cv2

    from anmok.audit.hashes import HASHES, perceptual
    from anmok.data.decode import decode

    files = [*sorted((data / "trashnet" / "glass").iterdir())[:100], *sorted((data / "photos").iterdir())[:100]]
    pictures = [decode(path.read_bytes(), channels="gray", min_side=128) for path in files]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    values = []
    for _ in range(repeats):
        began = time.perf_counter()
        for picture in pictures:
            perceptual(picture)
        values.append((time.perf_counter() - began) / len(pictures) * 1e6)
    cv2.setNumThreads(threads)
    return figure("anmok", f"{len(HASHES)} hashes of a picture", "us", values, bound="<= 120")


def step(data: Path, repeats: int) -> list[Figure]:
    """Seconds of the whole step, and of its search for candidates alone."""
    import numpy as np
    import polars as pl

    from anmok.audit.candidates import candidates
    from anmok.audit.duplicates import near_duplicates
    from anmok.audit.hashes import HASHES
    from anmok.audit.near_config import NearConfig
    from anmok.audit.scan import scan
    from anmok.core.machine import cores
    from anmok.data.sources import open_table

    sets = [(table, scan(table).images) for table in (open_table(data / "trashnet"), open_table(data / "photos"))]
    homes = {image: table for table, images in sets for image in images["image"]}
    both = pl.concat([images for _, images in sets])
    hashes = np.stack([both[name].to_numpy() for name in HASHES], axis=1)
    whole, search = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        found = near_duplicates(both, lambda image: homes[image].storage.read(image))
        whole.append(time.perf_counter() - began)
        began = time.perf_counter()
        candidates(hashes, NearConfig(), cores())
        search.append(time.perf_counter() - began)
    note = f"{both.height} images, {found.tried} pairs looked at, {len(found.findings)} confirmed"
    name = "near duplicates of trashnet and photos"
    return [
        figure("anmok", name, "s", whole, bound="<= 0.4", note=note),
        figure("anmok", f"{name}, candidates alone", "s", search),
        figure("anmok", f"{name}, a thousand images", "ms", [statistics.median(whole) / both.height * 1e6]),
    ]


def main() -> None:
    """Both."""
    options = arguments(__doc__, repeats={"type": int, "default": 7})
    data = data_root()
    repeats = 1 if options.quick else options.repeats
    figures = [hashing(data, repeats), *step(data, repeats)]
    prints = " ".join(f"{name} {fingerprint(data / name)}" for name in ("trashnet", "photos"))
    finish(write("near_speed", figures, context(prints), options.quick), options.quick)


if __name__ == "__main__":
    main()
