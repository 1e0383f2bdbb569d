"""All near pairs of 64-bit hashes, up to ten million, beside faiss's index that is exact too.  About 5 minutes.

    benchmarks/setup-peers-audit && .venv/bin/python benchmarks/hamming.py

Random hashes, 1 % of them planted near another one. Ours runs in a new process for every size, so that its peak memory
is its own, after a search that compiles the kernel or loads it. faiss runs on the same hashes, with every hash as a
query (IndexBinaryFlat, which computes every distance, with 1 % of them). Both use all cores.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Figure, arguments, clean_environment, context, figure, finish, write
from planted_hashes import SEED, planted

PEER = ROOT / "benchmarks" / ".peers-audit" / "bin" / "python"
SIZES = ((10_000, 10), (100_000, 10), (1_000_000, 6), (1_000_000, 10), (1_000_000, 12), (10_000_000, 6))
BOUNDS = {(1_000_000, 10): "<= 5", (10_000_000, 6): "<= 60"}


def ours(count: int, radius: int, repeats: int) -> dict[str, Any]:
    """Seconds of the search, pairs, planted ones that are lost, pairs that are wrong, and the peak memory in MiB."""
    from anmok.audit.hamming import near_pairs

    near_pairs(np.arange(10_000, dtype=np.uint64) * np.uint64(2**50 + 3), radius)
    hashes, first, second = planted(count, radius)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = near_pairs(hashes, radius)
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    one, other = np.sort([found.inverse[first], found.inverse[second]], axis=0)
    lost = ~np.isin(one * count + other, found.first * count + found.second) & (one != other)
    apart = np.bitwise_count(found.unique[found.first] ^ found.unique[found.second])
    wrong = (apart > radius) | (apart != found.distance)
    return {
        "seconds": seconds, "pairs": len(found.first), "lost": int(lost.sum()), "wrong": int(wrong.sum()), "peak": peak,
    }  # fmt: skip


def process(*command: object) -> dict[str, Any]:
    """The JSON that a command prints last."""
    done = subprocess.run([str(c) for c in command], env=clean_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def figures_of(count: int, radius: int, repeats: int) -> list[Figure]:
    """Ours, of one size."""
    found = process(sys.executable, __file__, "--of", count, radius, repeats)
    name = f"{count:,} hashes within {radius}"
    note = f"{found['pairs']:,} pairs"
    bound = BOUNDS.get((count, radius), "")
    faults = f"{count // 100:,} planted: {found['lost']} lost; {found['wrong']} wrong"
    memory = "<= 4096" if count == 10_000_000 else ""
    return [
        figure("anmok", name, "s", found["seconds"], bound=bound, seeds=[SEED], note=note),
        figure("anmok", f"{name}, lost or wrong", "pairs", [found["lost"] + found["wrong"]], bound="<= 0", note=faults),
        figure("anmok", f"{name}, peak memory", "MiB", [found["peak"]], bound=memory),
    ]


def theirs(count: int, radius: int, against: float) -> tuple[list[Figure], dict[str, str]]:
    """faiss, of one size, and its version."""
    out, version = [], ""
    for kind, tool in (("multihash", "faiss IndexBinaryMultiHash"), ("flat", "faiss IndexBinaryFlat")):
        found = process(PEER, "-W", "ignore", Path(__file__).with_name("peer_hamming.py"), kind, count, radius)
        note = f"{found['pairs']:,} pairs" if kind == "multihash" else "1 % of the queries, times 100"
        name = f"{count:,} hashes within {radius}"
        out.append(figure(tool, name, "s", [found["seconds"]], against=("anmok", against), seeds=[SEED], note=note))
        version = found["version"]
    return out, {"faiss-cpu": version}


def main() -> None:
    """Every size, then faiss at a million."""
    if sys.argv[1:2] == ["--of"]:
        print(json.dumps(ours(*map(int, sys.argv[2:]))))
        return
    options = arguments(__doc__, repeats={"type": int, "default": 3})
    sizes, compared = (SIZES[:2], SIZES[0]) if options.quick else (SIZES, (1_000_000, 10))
    figures = [f for size in sizes for f in figures_of(*size, 1 if options.quick else options.repeats)]
    peers: dict[str, str] = {}
    if PEER.exists():
        name = f"{compared[0]:,} hashes within {compared[1]}"
        more, peers = theirs(*compared, next(f.value for f in figures if f.quantity == name))
        figures += more
    finish(write("hamming", figures, context("random hashes", peers), options.quick), options.quick)


if __name__ == "__main__":
    main()
