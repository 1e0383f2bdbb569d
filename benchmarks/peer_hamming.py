"""Near pairs of hashes by faiss, run by the peers' Python: peer_hamming.py multihash|flat COUNT RADIUS.

multihash: IndexBinaryMultiHash of 4 hashes of 16 bits, with the flips that make it exact; building and searching.
flat: IndexBinaryFlat, every distance, of 1 % of the queries, times 100. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time

import faiss
import numpy as np
from planted_hashes import planted


def main() -> None:
    """One index."""
    kind, count, radius = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rows = planted(count, radius)[0].view(np.uint8).reshape(count, 8)
    began, share = time.perf_counter(), 1
    if kind == "multihash":
        index = faiss.IndexBinaryMultiHash(64, 4, 16)
        index.nflip = radius // 4
    else:
        index, share = faiss.IndexBinaryFlat(64), 100
    index.add(rows)
    limits, _, found = index.range_search(rows[: count // share], radius + 1)  # it wants what is below
    seconds = (time.perf_counter() - began) * share
    queries = np.repeat(np.arange(count // share), np.diff(limits.astype(np.int64)))
    print(json.dumps({"seconds": seconds, "pairs": int((found > queries).sum()), "version": faiss.__version__}))


if __name__ == "__main__":
    main()
