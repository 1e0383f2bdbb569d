"""All near pairs of 64-bit hashes, up to ten million, beside faiss's index that is exact too.  About 5 minutes.

    benchmarks/setup-peers audit && .venv/bin/python benchmarks/hamming.py

Random hashes, 1 % of them planted near another one. Ours runs in a new process for every size, so that its peak memory
is its own, after a search that compiles the kernel or loads it. faiss runs on the same hashes, with every hash as a
query: IndexBinaryFlat, which computes every distance, with 1 % of them; IndexBinaryMultiHash with a hundred thousand
hashes, as it takes longer than four minutes for a million. Both use all cores.
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
RADIUS, COMPARED = 10, {"multihash": 100_000, "flat": 1_000_000}  # what faiss is asked for
FLAT = "1 % of the queries, times 100"
BOUNDS = {(1_000_000, 10): "<= 5", (10_000_000, 6): "<= 60"}


def ours(count: int, radius: int, repeats: int) -> dict[str, Any]:
    """Seconds of the search, pairs, planted ones that are lost, pairs that are wrong, and the peak memory in MiB."""
    from anmok.audit.hamming import near_pairs

    near_pairs(planted(10_000, radius)[0], radius)  # few pairs: it must not be what the peak memory is of
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
    name = name_of(count, radius)
    note = f"{found['pairs']:,} pairs"
    bound = BOUNDS.get((count, radius), "")
    faults = f"{count // 100:,} planted: {found['lost']} lost; {found['wrong']} wrong"
    memory = "<= 4096" if count == 10_000_000 else ""
    return [
        figure("anmok", name, "s", found["seconds"], bound=bound, seeds=[SEED], note=note),
        figure("anmok", f"{name}, lost or wrong", "pairs", [found["lost"] + found["wrong"]], bound="<= 0", note=faults),
        figure("anmok", f"{name}, peak memory", "MiB", [found["peak"]], bound=memory),
    ]


def theirs(kind: str, count: int, against: float) -> tuple[Figure, dict[str, str]]:
    """faiss, of one kind and size, and its version."""
    tool = {"multihash": "faiss IndexBinaryMultiHash", "flat": "faiss IndexBinaryFlat"}[kind]
    found = process(PEER, "-W", "ignore", Path(__file__).with_name("peer_hamming.py"), kind, count, RADIUS)
    note = f"{found['pairs']:,} pairs; stopped after 4 minutes at 1,000,000 hashes" if kind == "multihash" else FLAT
    name = name_of(count, RADIUS)
    out = figure(tool, name, "s", [found["seconds"]], against=("anmok", against), seeds=[SEED], note=note)
    return out, {"faiss-cpu": found["version"]}


def name_of(count: int, radius: int) -> str:
    """How a size is called."""
    return f"{count:,} hashes within {radius}"


def main() -> None:
    """Every size, then faiss."""
    if sys.argv[1:2] == ["--of"]:
        print(json.dumps(ours(*map(int, sys.argv[2:]))))
        return
    options = arguments(__doc__, repeats={"type": int, "default": 3})
    sizes = SIZES[:2] if options.quick else SIZES
    figures = [f for size in sizes for f in figures_of(*size, 1 if options.quick else options.repeats)]
    peers: dict[str, str] = {}
    for kind, count in COMPARED.items() if PEER.exists() else ():
        count = SIZES[0][0] if options.quick else count
        own = next(f.value for f in figures if f.quantity == name_of(count, RADIUS))
        found, peers = theirs(kind, count, own)
        figures.append(found)
    finish(write("hamming", figures, context("random hashes", peers), options.quick), options.quick)


if __name__ == "__main__":
    main()
