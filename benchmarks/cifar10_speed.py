"""Accuracy against time of recipes/cifar10-speed.toml (or -best): three seeds, with and without test-time views.

    benchmarks/setup-peers && .venv/bin/python benchmarks/cifar10_speed.py [--recipe best]    # a bit over an hour

Beside it, one seed of a plain ResNet-18 in the same minutes: the recipe of fastai's documentation (peer_fastai_auto.py)
on the images doubled to 64 pixels, which helps it; all but 1,000 of the training images are its to learn from.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from auto import HERE, SIZES, cifar
from common import (
    ANMOK,
    PEER,
    arguments,
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
from transfer_speed import other

RECIPES = Path(__file__).parents[1] / "recipes"
VIEWS = "shifts"
RANKS = ["--ranks", "2", "--optim.accumulate", "16"]  # as the recipes say
BOUNDS = {"speed": (">= 0.91", 16), "best": (">= 0.92", 45)}  # accuracy, minutes


def one(recipe: str, source: Path, seed: int, extra: list[str]) -> tuple[float, float, float]:
    """(minutes, test accuracy, test accuracy with views) of one seed."""
    out = fresh(f"cifar10-{recipe}-{seed}")
    settings = RECIPES / f"cifar10-{recipe}.toml"
    seconds = run(ANMOK, "train", source, "--config", settings, "--seed", str(seed), "--out", out, *extra, show=True)
    run(ANMOK, "evaluate", out)
    plain = read_json(out / "evaluation-test.json")["metrics"]["accuracy"]["value"]
    import anmok

    found = anmok.evaluate(out, split="test", tta=VIEWS)
    views = float(found.value("accuracy"))
    print(f"seed {seed}: {seconds / 60:.2f} min, plain {plain:.4f}, {VIEWS} {views:.4f}", flush=True)
    return seconds / 60, plain, views


def main() -> None:
    """Three seeds of a recipe, one of a plain one."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3}, recipe={"default": "speed", "choices": list(BOUNDS)}
    )
    source, repeats = data_root() / "cifar10", 1 if options.quick else options.repeats
    extra = [*RANKS, *(["--epochs", "1"] if options.quick else [])]
    rows = [one(options.recipe, source, seed, extra) for seed in range(repeats)]
    minutes, plain, views = (list(column) for column in zip(*rows, strict=True))
    name, seeds = f"recipes/cifar10-{options.recipe}.toml", list(range(repeats))
    accuracy, time = BOUNDS[options.recipe]
    files = cifar(200, 40, 200) if options.quick else cifar(50_000, 1_000, 10_000)
    peer, size = HERE / "peer_fastai_auto.py", SIZES["cifar10"]
    resnet = other(PEER, peer, files, size, 1 if options.quick else time, 0)
    what = f"fastai, ResNet-18 at {size} px"
    figures = [
        figure(name, "test accuracy, plain", "share", plain, seeds=seeds),
        figure(name, f"test accuracy, views {VIEWS}", "share", views, seeds=seeds),
        figure(name, f"mean test accuracy, views {VIEWS}", "share", [fmean(views)], bound=accuracy, seeds=seeds),
        figure(name, "training wall", "min", minutes, bound=f"<= {time}", seeds=seeds),
        figure(what, "test accuracy, plain", "share", [resnet["right"] / resnet["n"]], seeds=[0], note=resnet["what"]),
        figure(what, "training wall", "min", [resnet["seconds"] / 60], seeds=[0]),
    ]
    where = context(f"cifar10 {fingerprint(source)}", peer_versions())
    finish(write(f"cifar10_{options.recipe}", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
