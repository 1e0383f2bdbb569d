"""Inference: the runtime that `anmok export` takes beside torch float32, and from JPEG files beside torchvision.

    benchmarks/setup-peers && .venv/bin/python benchmarks/inference.py            # about an hour

Four networks at 224 pixels, trained on TrashNet from random weights: some minutes at 64 pixels, then some at 224, which
makes answers as firm as a real model's. Agreement is that of all validation images up to 400, at the batch shown. Each
network is exported, which chooses a runtime for batch 1 and 32, and then measured once more (`anmok bench model`): the
choice of the first measurement is held against the fastest of the second. End to end: every image of TrashNet, from
files to probabilities on disk, the start of the process apart, against peer_torchvision.py with its better workers.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
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
    run,
    write,
)
from train_speed import few

from anmok.core.artifacts import load_predictions

NETWORKS = {"resnet18": 2.5, "convnext_atto": 2.5, "vit_tiny_patch16_224": 2.2, "mobilenetv3_small_100": 2.5}
AT_32, NEAR, FILES = 1.8, "<= 1.05", ">= 3"
WORKERS = (0, 2)
STAGES = (("64", "5", "0.001"), ("224", "4", "0.0002"))  # side of the images, minutes, learning rate


def trained(name: str, source: Path, quick: bool) -> Path:
    """A run that has learned: small images first, of which a minute holds more, then 224 pixels."""
    weights: str | Path = "none"
    for side, minutes, rate in STAGES:
        out = fresh(f"inference-{name}-{side}")
        length = ("--epochs", "1") if quick else ("--minutes", minutes)
        run(ANMOK, "train", source, "--model", name, "--weights", weights, "--image-size", side, *length,
            "--optim.lr", rate, "--seed", "0", "--out", out)  # fmt: skip
        weights = out
    return out


def exported(folder: Path, quick: bool) -> tuple[Path, list[dict[str, Any]]]:
    """The exported folder, and the rows that its choice follows from."""
    out = fresh(f"{folder.name}-model")
    run(ANMOK, "export", folder, "--out", out, *(["--limit", "32"] if quick else []))
    machines = json.loads((out / "runtime.json").read_text())["machines"]
    return out, next(iter(machines.values()))["rows"]


def again(folder: Path, images: Path, quick: bool) -> list[dict[str, Any]]:
    """The rows of a second measurement."""
    command = [ANMOK, "bench", "model", folder, "--images", images, "--json", *(["--limit", "32"] if quick else [])]
    done = subprocess.run([str(c) for c in command], env=clean_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout)["rows"]


def by_network(name: str, bound: float, source: Path, quick: bool) -> tuple[list[Figure], Path]:
    """Figures of one network, and its exported folder."""
    folder, rows = exported(trained(name, source, quick), quick)
    second = again(folder, source, quick)
    out: list[Figure] = []
    for batch, least in ((1, bound), (32, AT_32)):
        mine = [r for r in rows if r["batch"] == batch and r["ms"] is not None]
        eager = next(r for r in mine if r["runtime"] == "torch" and r["dtype"] == "fp32" and not r["layout"])
        taken = next(r for r in mine if r["chosen"])
        for row in mine:
            form = " ".join(p for p in (row["runtime"], row["dtype"], row["layout"]) if p)
            note = f"agreement {row['agreement']:.4f}, largest difference {row['difference']:.2g}"
            note += f"; not taken: {row['why']}" if row["why"] else "; taken" if row["chosen"] else ""
            out.append(
                figure(f"{name}, {form}", f"batch {batch}", "images/s", [row["images_per_s"]],
                       against=None if row is eager else ("torch fp32", eager["images_per_s"]), note=note,
                       bound=f">= {least}" if row is taken else "")
            )  # fmt: skip
        later = [r for r in second if r["batch"] == batch and r["ms"] is not None and not r["why"]]
        best = min(later, key=lambda r: r["ms"])
        same = next((r for r in later if _form(r) == _form(taken)), None)
        out.append(
            figure(f"{name}, the choice", f"batch {batch}, measured again", "ms",
                   [same["ms"] if same else float("inf")], against=(" ".join(_form(best)).strip(), best["ms"]),
                   bound=NEAR)
        )  # fmt: skip
    return out, folder


def _form(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["runtime"], row["dtype"], row["layout"]


def end_to_end(folder: Path, source: Path, repeats: int) -> list[Figure]:
    """Every image from its file to its answer on disk."""
    ours: list[float] = []
    peers: dict[int, list[float]] = {w: [] for w in WORKERS}
    start: list[float] = []
    out, answers = SCRATCH / "inference.parquet", SCRATCH / "inference-peer.json"
    first = few(source, 1)
    images = 0
    for turn in range(repeats):
        for workers in WORKERS if turn % 2 == 0 else reversed(WORKERS):
            script = Path(__file__).with_name("peer_torchvision.py")
            command = [PEER, "-W", "ignore", script, folder, source, workers, 32, answers]
            done = subprocess.run([str(c) for c in command], env=clean_environment(), capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"torchvision failed:\n{done.stderr[-3000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            images = found["images"]
            peers[workers].append(images / found["seconds"])
        began = time.perf_counter()  # two images: what starting and opening the model take
        out.unlink(missing_ok=True)
        run(ANMOK, "predict", folder, first, "--out", out)
        start.append(time.perf_counter() - began)
        out.unlink(missing_ok=True)
        ours.append(images / max(1e-3, run(ANMOK, "predict", folder, source, "--out", out) - start[-1]))
    p, theirs = load_predictions(out), json.loads(answers.read_text())
    same = np.mean([int(np.argmax(theirs[i]) == row.argmax()) for i, row in zip(p.ids, p.probs, strict=True)])
    best = max(peers, key=lambda w: np.median(peers[w]))
    figures = [
        figure(f"torchvision, {w} workers", "JPEG files to answers", "images/s", v, note="resnet18, float32")
        for w, v in peers.items()
    ]
    against = (f"torchvision, {best} workers", float(np.median(peers[best])))
    return [
        *figures,
        figure("anmok predict", "JPEG files to answers", "images/s", ours, against=against, bound=FILES,
               note=f"resnet18, the runtime taken; {images} images; the same answer as torchvision on {same:.4f}"),
        figure("anmok predict", "start, opening the model, two images", "s", start),
    ]  # fmt: skip


def main() -> None:
    """Each network, then end to end with the first."""
    options = arguments(__doc__, repeats={"type": int, "default": 3})
    root = data_root() / "trashnet"
    data, source = f"trashnet {fingerprint(root)}", root / "split.csv"
    networks, repeats = dict(NETWORKS), options.repeats
    if options.quick:
        networks, repeats = {"resnet18": NETWORKS["resnet18"]}, 1
        kept = few(source, 40)
        source = kept.with_name("split-inference.csv")
        source.write_text(kept.read_text())
    figures: list[Figure] = []
    folders: dict[str, Path] = {}
    for name, bound in networks.items():
        more, folders[name] = by_network(name, bound, source, options.quick)
        figures += more
    figures += end_to_end(folders["resnet18"], source, repeats)
    finish(write("inference", figures, context(data, peer_versions()), options.quick), options.quick)


if __name__ == "__main__":
    main()
