"""Training batches at 224 px on TrashNet beside six peers' loaders, on two cores.  About 12 minutes.

    benchmarks/setup-peers && .venv/bin/python benchmarks/loader.py

Every subject makes batches of 64 float32 tensors [3, 224, 224], normalised, by two workers or two threads, and runs in
a process of its own; they take turns, the order is turned round every time. Peers read and decode in every epoch, so
our first epoch, which does too, is compared with the same figure as our later ones, which read from the cache in RAM.
Of a peer's variants the fastest is the one that is compared with.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import (
    PEER,
    Figure,
    arguments,
    clean_environment,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    write,
)

SIZE, BATCH, WORKERS = 224, 64, 2
CACHED = 3  # epochs of ours from the cache in each round
PEERS = ("timm", "timm-prefetcher", "torchvision-pil", "torchvision-tensor", "albumentations", "fastai", "kornia")
POLICIES = {"randaugment": "crop, flip, RandAugment(2, 9)", "flip-crop": "crop, flip"}
# The peer that a policy's bounds are about, and what is promised from the cache and in the first epoch.
BOUNDS = {"randaugment": ("timm", ">= 4", ">= 1.8"), "flip-crop": ("torchvision", ">= 8", ">= 1.8")}
NAMES = ("torch", "torchvision", "timm", "fastai", "albumentations", "kornia", "opencv-python-headless", "pillow")
NOTES = {
    ("fastai", "randaugment"): "aug_transforms() in RandAugment's place",
    ("kornia", "randaugment"): "squashed to 256 px, then whole batches; one draw of operations a batch",
    ("kornia", "flip-crop"): "squashed to 256 px, then whole batches",
}
ORDER = {"contiguous": "from the cache, contiguous NCHW", "none": "without a cache"}


def measured(python: Path, *command: object) -> Any:
    """What a script of ours prints last, as JSON."""
    words = [str(c) for c in (python, "-W", "ignore", Path(__file__).with_name(str(command[0])), *command[1:])]
    done = subprocess.run(words, env=clean_environment(ANMOK_QUIET="1"), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peer_versions() -> dict[str, str]:
    """Versions in the peers' environment, of its own metadata."""
    code = f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {NAMES}}}))"
    return json.loads(subprocess.run([str(PEER), "-c", code], check=True, capture_output=True, text=True).stdout)


def rates(passes: list[dict[str, float]]) -> list[float]:
    """Images a second of each pass."""
    return [p["images"] / p["seconds"] for p in passes]


def measure(folder: Path, policy: str, rounds: int, epochs: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Images/s of every peer, and of ours {threads: {what: images/s}}, taking turns."""
    peers: dict[str, list[float]] = {name: [] for name in PEERS}
    ours: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        subjects: list[Any] = [*PEERS, 2, 1]
        for subject in reversed(subjects) if turn % 2 else subjects:
            if isinstance(subject, str):
                found = measured(PEER, "peer_loaders.py", folder, subject, policy, SIZE, BATCH, WORKERS, epochs)
                peers[subject] += rates(found["epochs"])
            else:
                mine = measured(
                    Path(sys.executable), "own_loader.py", "speed", folder, policy, SIZE, BATCH, subject, CACHED
                )
                for what, passes in mine.items():
                    ours.setdefault(subject, {}).setdefault(what, []).extend(rates(passes))
    return peers, ours


def compare(policy: str, peers: dict[str, list[float]], ours: Any, memory: dict[str, int]) -> list[Figure]:
    """The rows of one policy."""
    what = f"{POLICIES[policy]}, {SIZE} px"
    rows = [
        figure(name, what, "images/s", values, note=NOTES.get((name, policy), f"{WORKERS} workers"))
        for name, values in peers.items()
    ]
    families = list(dict.fromkeys(name.partition("-")[0] for name in PEERS))
    best = {f: max((n for n in PEERS if n.startswith(f)), key=lambda n: statistics.median(peers[n])) for f in families}
    judged, cached, first = BOUNDS[policy]
    for key, subject, bound in (("cached", "anmok, from the cache", cached), ("first", "anmok, first epoch", first)):
        for family in [judged, *(f for f in families if f != judged)]:
            against = (best[family], statistics.median(peers[best[family]]))
            rows.append(
                figure(subject, what, "images/s", ours[2][key], against=against, note="2 threads, channels last",
                       bound=bound if family == judged else "")
            )  # fmt: skip
    for key, words in ORDER.items():
        rows.append(figure(f"anmok, {words}", what, "images/s", ours[2][key], note="2 threads"))
    for key, words in (("cached", "from the cache"), ("first", "first epoch"), ("decoding", "decoding alone")):
        one = statistics.median(ours[1][key])
        rows.append(figure(f"anmok, {words}, 1 thread", what, "images/s", ours[1][key]))
        rows.append(
            figure(f"anmok, {words}, 2 threads", what, "images/s", ours[2][key], against=(f"{words}, 1 thread", one))
        )
    for threads in (1, 2):
        limit = ("decoding alone", statistics.median(ours[threads]["decoding"]))
        rows.append(
            figure(f"anmok, first epoch, {threads} thread{'s'[: threads > 1]}", f"{what}: share of the decode limit",
                   "images/s", ours[threads]["first"], against=limit)
        )  # fmt: skip
    allowed = memory["cache"] + 4 * memory["batch"]
    text = f"{memory['cache'] / 2**20:.0f} MiB in the cache, {memory['batch'] / 2**20:.1f} MiB a uint8 batch"
    rows.append(
        figure("anmok, growth of memory", what, "MiB", [memory["growth"] / 2**20], bound="<= 1", note=text,
               against=("cache and 4 batches", allowed / 2**20))
    )  # fmt: skip
    return rows


def main() -> None:
    """Measure both policies and write them down."""
    options = arguments(__doc__, rounds={"type": int, "default": 3}, epochs={"type": int, "default": 1})
    folder = data_root() / "trashnet"
    rounds, epochs = (1, 1) if options.quick else (options.rounds, options.epochs)
    rows: list[Figure] = []
    for policy in POLICIES:
        peers, ours = measure(folder, policy, rounds, epochs)
        memory = measured(Path(sys.executable), "own_loader.py", "memory", folder, policy, SIZE, BATCH, WORKERS, CACHED)
        rows += compare(policy, peers, ours, memory)
    where = context(f"trashnet {fingerprint(folder)}", peer_versions())
    finish(write("loader", rows, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
