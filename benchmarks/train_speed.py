"""Training speed beside fastai: TrashNet, the authors' split, ResNet-18 from scratch at 128 px.  About 15 minutes.

    benchmarks/setup-peers && .venv/bin/python benchmarks/train_speed.py

One fastai epoch without and with worker processes (the better median is the peer), one anmok run of a few epochs; the
three take turns, the order is turned round every time. Only anmok's first epoch, which decodes every file as fastai's
does, is held against the bound; its later epochs, whose pixels are cached, stand beside it.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

from common import (
    ANMOK,
    PEER,
    SCRATCH,
    Epoch,
    Figure,
    arguments,
    clean_environment,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    fresh,
    peer_versions,
    read_run,
    run,
    write,
)

SIZE, BATCH, BOUND = 128, 64, ">= 2"
WORKERS = (0, 2)


def fastai_epochs(source: Path, workers: int, epochs: int, seed: int) -> list[dict[str, float]]:
    """What peer_fastai.py says of each epoch, in a process of its own."""
    script = Path(__file__).with_name("peer_fastai.py")
    command = [PEER, "-W", "ignore", script, source, workers, SIZE, BATCH, epochs, seed, 0]
    done = subprocess.run([str(c) for c in command], env=clean_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"fastai failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])["epochs"]


def fastai(source: Path, workers: int, seed: int) -> Epoch:
    """One epoch by fastai."""
    (found,) = fastai_epochs(source, workers, 1, seed)
    return Epoch(int(found["images"]), found["train_s"], found["wall_s"], float("nan"))


def anmok(source: Path, epochs: int, seed: int) -> tuple[dict[str, Any], list[Epoch], float]:
    """A run of ours: its start event, its epochs, and its wall seconds outside of them."""
    out = fresh(f"speed-{seed}")
    wall = run(
        ANMOK, "train", source, "--model", "resnet18", "--weights", "none", "--image-size", str(SIZE),
        "--batch-size", str(BATCH), "--epochs", str(epochs), "--seed", str(seed), "--out", out,
    )  # fmt: skip
    start, seen = read_run(out)
    return start, seen, wall - sum(e.wall_s for e in seen)


def few(source: Path, n: int) -> Path:
    """A split.csv of the first n images of each split, for --quick; paths go back to the real ones."""
    rows = list(csv.DictReader(source.open()))
    kept = [r for s in ("train", "val") for r in sorted((r for r in rows if r["split"] == s), key=_spread)[:n]]
    out = SCRATCH / "few" / "split.csv"
    for row in kept:
        link = out.parent / row["image"]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_bytes((source.parent / row["image"]).read_bytes())
    with out.open("w", newline="") as handle:
        table = csv.DictWriter(handle, ["image", "label", "split"])
        table.writeheader()
        table.writerows(kept)
    return out


def _spread(row: dict[str, str]) -> str:
    return row["image"].split("/")[1][::-1]  # the files' numbers, read backwards, mix the classes


def main() -> None:
    """Take turns, then compare medians."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3}, epochs={"type": int, "default": 3, "help": "Epochs of our runs."}
    )
    folder = data_root() / "trashnet"
    data, source = f"trashnet {fingerprint(folder)}", folder / "split.csv"
    repeats, epochs = options.repeats, options.epochs
    if options.quick:
        source, repeats, epochs = few(source, 130), 1, 2
    peers: dict[int, list[Epoch]] = {w: [] for w in WORKERS}
    ours: list[list[Epoch]] = []
    outside: list[float] = []
    start: dict[str, Any] = {}
    for seed in range(repeats):
        turns: list[int | None] = [*WORKERS, None]  # None is ours
        for turn in reversed(turns) if seed % 2 else turns:
            if turn is None:
                start, seen, rest = anmok(source, epochs, seed)
                ours.append(seen)
                outside.append(rest)
            else:
                peers[turn].append(fastai(source, turn, seed))
    figures = compare(peers, ours, outside, list(range(repeats)), start["plan"])
    finish(write("train_speed", figures, context(data, peer_versions()), options.quick), options.quick)


def compare(
    peers: dict[int, list[Epoch]], ours: list[list[Epoch]], outside: list[float], seeds: list[int],
    plan: dict[str, Any],
) -> list[Figure]:  # fmt: skip
    """Images/s with validation and of training alone; ratios of medians to the better fastai."""
    form = f"{plan['dtype']}{' channels_last' if plan['channels_last'] else ''}, {plan['threads']} threads"
    out: list[Figure] = []
    for quantity, seconds in (("with validation", "wall_s"), ("training only", "train_s")):

        def speed(e: Epoch, seconds: str = seconds) -> float:
            return e.images / getattr(e, seconds)

        for workers, seen in peers.items():
            out.append(figure(f"fastai workers={workers}", quantity, "images/s", [speed(e) for e in seen], seeds=seeds))
        best = max(peers, key=lambda w: statistics.median(map(speed, peers[w])))
        against = (f"fastai workers={best}", statistics.median(map(speed, peers[best])))
        first, later = [speed(r[0]) for r in ours], [statistics.median(map(speed, r[1:])) for r in ours if r[1:]]
        out.append(
            figure(
                "anmok, first epoch", quantity, "images/s", first, against=against, bound=BOUND, seeds=seeds, note=form
            )
        )
        if later:
            out.append(
                figure("anmok, later epochs", quantity, "images/s", later, against=against, seeds=seeds, note=form)
            )
    waits = [statistics.median(e.wait_share for e in r) for r in ours]
    out.append(figure("anmok", "share of training spent waiting", "share", waits, seeds=seeds))
    out.append(
        figure("anmok", "wall outside the epochs", "s", outside, seeds=seeds,
               note="start, opening, planning, the best model's validation, report")
    )  # fmt: skip
    return out


if __name__ == "__main__":
    main()
