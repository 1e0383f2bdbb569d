"""Frozen fine-tuning beside fastai, a plain loop and scikit-learn: ResNet-18 at 224 px on TrashNet.

    benchmarks/setup-peers && .venv/bin/python benchmarks/transfer_speed.py   # a repeat takes about an hour of one core
    .venv/bin/python benchmarks/transfer_speed.py --augmented                 # and half as long again

Ten epochs of the head alone, the authors' split, the same weights for all: a ResNet-18 that anmok trains for a few
minutes on CIFAR-10 first (kept in runs/bench). Seconds are those of the whole process, from its start to its end, with
validation; of the peers without looking at the test images. One view without augmentation stands against fastai without
augmentation; with --augmented also four views against fastai's aug_transforms(). fastai goes on training the norms of
the frozen body, so it goes backwards through all of it. The plain loop is peer_plain_frozen.py, logistic regression
peer_plain_logistic.py on what plain PyTorch extracts and, as what is left without all that ours does besides,
own_logistic.py on what anmok does. `features not kept` is ours with --model.no-keep-features. Nothing that anmok
keeps, neither pixels nor plans, is there at the start of a run. Stored run by run: a second call goes on.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import (
    ANMOK,
    PEER,
    SCRATCH,
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
    read_json,
    run,
    write,
)
from train_speed import few

SIZE, BATCH, EPOCHS = 224, 64, 10
FASTER, NOT_SLOWER = ">= 8", ">= 1"
WORKERS = 2
AUGMENTED = "fastai, aug_transforms()"
Run = dict[str, float]


def weights(minutes: float, quick: bool) -> Path:
    """The weights that all start from, trained once and kept."""
    name = "transfer-quick" if quick else "transfer"
    file = SCRATCH / f"{name}-weights.safetensors"
    if not file.is_file():
        out = fresh(f"{name}-source")
        length = ["--epochs", "1", "--model.drop", "0"] if quick else ["--minutes", str(minutes)]
        source = few(data_root() / "trashnet" / "split.csv", 60) if quick else data_root() / "cifar10"
        run(ANMOK, "train", source, "--model", "resnet18", "--image-size", "64", "--batch-size", "128", "--out", out,
            *length, show=True)  # fmt: skip
        file.write_bytes((out / "model" / "model.safetensors").read_bytes())
    return file


def anmok(source: Path, start: Path, size: int, epochs: int, seed: int, *more: str) -> Run:
    """A run of ours, then its accuracies."""
    out = fresh(f"transfer-speed-{seed}")
    seconds = run(
        ANMOK, "train", source, "--model", "resnet18", "--weights", start, "--image-size", str(size), "--adapt", "head",
        "--batch-size", str(BATCH), "--epochs", str(epochs), "--seed", str(seed), "--out", out, *more, **cold(),
    )  # fmt: skip
    run(ANMOK, "evaluate", out)
    val, test = (read_json(out / f"evaluation-{s}.json")["metrics"]["accuracy"]["value"] for s in ("val", "test"))
    return {"seconds": seconds, "val": val, "test": test}


def cold() -> dict[str, str]:
    """An environment whose cache is empty."""
    return {"XDG_CACHE_HOME": str(made("transfer-speed-cache"))}


def other(*command: Any) -> Run:
    """A peer in a process of its own: its whole seconds but for the look at the test images."""
    began = time.perf_counter()
    environment = clean_environment(**cold())
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[1]} failed:\n{done.stderr[-3000:]}")
    whole = time.perf_counter() - began
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "seconds": min(whole, found["seconds"] + starting(command[0]))}


def starting(python: Any) -> float:
    """Seconds that an interpreter takes before its first line."""
    began = time.perf_counter()
    subprocess.run([str(python), "-c", ""], env=clean_environment(), check=True)
    return time.perf_counter() - began


def main() -> None:
    """Take turns, then compare medians."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3},
        minutes={"type": float, "default": 6.0, "help": "Of training the weights that all start from."},
        augmented={"action": "store_true", "help": "fastai with aug_transforms(), too."},
    )  # fmt: skip
    folder = data_root() / "trashnet"
    data, source = f"trashnet {fingerprint(folder)}", folder / "split.csv"
    size, epochs, repeats = SIZE, EPOCHS, options.repeats
    start = weights(options.minutes, options.quick)
    if options.quick:
        source, size, epochs, repeats = few_with_test(source, 40), 64, 2, 1
    here = Path(__file__).parent
    fastai = [PEER, "-W", "ignore", here / "peer_fastai_frozen.py", source, start]
    none, light = ("--augment", "none"), ("--augment", "light", "--model.views", "4")
    subjects: dict[str, Callable[[int], Run]] = {
        "anmok, one view": lambda seed: anmok(source, start, size, epochs, seed, *none),
        "anmok, four views": lambda seed: anmok(source, start, size, epochs, seed, *light),
        "anmok, features not kept": lambda seed: anmok(
            source, start, size, epochs, seed, *none, "--model.no-keep-features"
        ),
        "plain loop": lambda seed: other(
            sys.executable, here / "peer_plain_frozen.py", source, start, WORKERS, size, BATCH, epochs, seed
        ),
        "logistic regression": lambda seed: other(
            sys.executable, here / "peer_plain_logistic.py", source, start, WORKERS, size, BATCH
        ),
        "logistic regression, anmok's features": lambda seed: other(
            sys.executable, here / "own_logistic.py", source, start, size, BATCH, made(f"logistic-{seed}")
        ),
        "fastai": lambda seed: other(*fastai, 0, WORKERS, size, BATCH, epochs, seed),
        AUGMENTED: lambda seed: other(*fastai, 1, WORKERS, size, BATCH, epochs, seed),
    }
    if not options.augmented:
        del subjects[AUGMENTED]
    where = context(data, peer_versions())
    file = SCRATCH / f"transfer-speed{'-quick' if options.quick else ''}.json"
    key = f"{where['data']} {where['machine']} {where['versions']} {where['peers']}"
    stored = read_json(file) if file.is_file() else {}
    known: dict[str, Run] = stored.setdefault(key, {})
    seen: dict[str, list[Run]] = {name: [] for name in subjects}
    for seed in range(repeats):
        for name in reversed(subjects) if seed % 2 else subjects:
            cell = f"{name}, seed {seed}"
            if cell not in known:
                known[cell] = subjects[name](seed)
                file.write_text(json.dumps(stored))
            seen[name].append(known[cell])
            print(f"{cell}: {known[cell]}", flush=True)
    finish(write("transfer_speed", compare(seen, list(range(repeats))), where, options.quick), options.quick)


def made(name: str) -> Path:
    """An empty folder in runs/bench."""
    folder = fresh(name)
    folder.mkdir()
    return folder


def few_with_test(source: Path, n: int) -> Path:
    """`few` of each split, every second image of validation as a test image."""
    small = few(source, n)
    rows = small.read_text().splitlines()
    turned = [r.removesuffix("val") + "test" if r.endswith(",val") and i % 2 else r for i, r in enumerate(rows)]
    out = small.with_name("with-test.csv")
    out.write_text("\n".join(turned) + "\n")
    return out


def compare(seen: dict[str, list[Run]], seeds: list[int]) -> list[Figure]:
    """Seconds and ratios of medians (how many times as fast), accuracies beside them."""
    seconds = {name: [r["seconds"] for r in runs] for name, runs in seen.items()}
    out = [figure(name, "end to end", "s", values, seeds=seeds) for name, values in seconds.items()]
    pairs = (
        ("anmok, one view", "fastai", FASTER), ("anmok, one view", "plain loop", FASTER),
        ("anmok, one view", "anmok, features not kept", ""),
        ("anmok, one view", "logistic regression", NOT_SLOWER),
        ("anmok, one view", "logistic regression, anmok's features", NOT_SLOWER),
        ("anmok, four views", AUGMENTED, ""),
    )  # fmt: skip
    for mine, peer, bound in pairs:
        if peer not in seen:
            continue
        speeds = [60 / s for s in seconds[mine]]
        against = (peer, 60 / statistics.median(seconds[peer]))
        out.append(figure(mine, "trainings a minute", "1/min", speeds, against=against, bound=bound, seeds=seeds))
    for name, runs in seen.items():
        for split in ("test", "val"):
            out.append(figure(name, f"{split} accuracy", "share", [r[split] for r in runs], seeds=seeds))
    return out


if __name__ == "__main__":
    main()
