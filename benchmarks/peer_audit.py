"""One audit by a peer, in the peers' environment: peer_audit.py cleanvision|fastdup|imagededup FOLDER SCRATCH.

Prints the seconds of the work itself, imports left out, as JSON on the last line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def cleanvision(folder: str, scratch: str) -> Callable[[], None]:
    """Every issue that it knows, with its own number of processes."""
    from cleanvision import Imagelab

    return lambda: Imagelab(data_path=folder).find_issues()


def fastdup(folder: str, scratch: str) -> Callable[[], None]:
    """Features, statistics, similar pairs and components."""
    import fastdup as module

    return lambda: module.create(work_dir=scratch, input_dir=folder).run(overwrite=True, print_summary=False)


def imagededup(folder: str, scratch: str) -> Callable[[], None]:
    """Perceptual hashes and their search, with its own number of processes."""
    from imagededup.methods import PHash

    def work() -> None:
        method = PHash(verbose=False)
        encodings = method.encode_images(image_dir=folder, recursive=True)
        method.find_duplicates(encoding_map=encodings, max_distance_threshold=10, scores=True)

    return work


if __name__ == "__main__":
    prepared = {"cleanvision": cleanvision, "fastdup": fastdup, "imagededup": imagededup}[sys.argv[1]](*sys.argv[2:4])
    began = time.perf_counter()
    prepared()
    print(json.dumps({"seconds": time.perf_counter() - began}))
