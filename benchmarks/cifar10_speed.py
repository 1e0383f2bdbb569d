"""Accuracy against time of recipes/cifar10-speed.toml (or -best): three seeds, with and without test-time views.

    benchmarks/setup-peers && .venv/bin/python benchmarks/cifar10_speed.py [--recipe best]    # an hour and a half

Beside it, one seed of a plain ResNet-18 in the same minutes, by the recipe of fastai's documentation
(peer_fastai_auto.py), all but 1,000 of the training images its to learn from: on the images as they are, and doubled to
64 pixels, which suits the network better but leaves time for few epochs. Stored run by run: a second call goes on.
"""

from __future__ import annotations

import json
import tomllib
from functools import partial
from pathlib import Path
from statistics import fmean

from auto import HERE, cifar
from common import (
    ANMOK,
    PEER,
    Figure,
    Kept,
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

VIEWS = "shifts"
RANKS = ["--ranks", "2", "--optim.accumulate", "16"]  # as the recipes say
SIDES = (32, 64)  # pixels that fastai sees
BOUNDS = {"speed": (">= 0.91", 16), "best": (">= 0.92", 45)}  # accuracy, minutes


def one(recipe: str, source: Path, seed: int, extra: list[str]) -> dict[str, float]:
    """Minutes, test accuracy, and that of the views, of one seed."""
    out = fresh(f"cifar10-{recipe}-{seed}")
    seconds = run(ANMOK, "train", source, "--config", path_of(recipe), "--seed", str(seed), "--out", out, *extra,
                  show=True)  # fmt: skip
    run(ANMOK, "evaluate", out)
    plain = read_json(out / "evaluation-test.json")["metrics"]["accuracy"]["value"]
    import anmok

    found = anmok.evaluate(out, split="test", tta=VIEWS)
    return {"minutes": seconds / 60, "plain": plain, "views": float(found.value("accuracy"))}


def resnet(kept: Kept, files: Path, side: int, minutes: int) -> list[Figure]:
    """What fastai's recipe reaches in so many minutes on images of `side` pixels."""
    name = f"fastai, ResNet-18 at {side} px"
    train = partial(other, PEER, HERE / "peer_fastai_auto.py", files, side, minutes, 0)
    found = kept.of(f"{name}, {minutes} min", train)
    return [
        figure(name, "test accuracy, plain", "share", [found["right"] / found["n"]], seeds=[0], note=found["what"]),
        figure(name, "training wall", "min", [found["seconds"] / 60], seeds=[0]),
    ]


def path_of(recipe: str) -> Path:
    """The recipe's file."""
    return Path(__file__).parents[1] / "recipes" / f"cifar10-{recipe}.toml"


def main() -> None:
    """Three seeds of a recipe, one of a plain one."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3}, recipe={"default": "speed", "choices": list(BOUNDS)},
        only={"nargs": "+", "default": ["ours", "fastai"], "choices": ["ours", "fastai"]},
    )  # fmt: skip
    source, repeats = data_root() / "cifar10", 1 if options.quick else options.repeats
    extra = [*RANKS, *(["--epochs", "1"] if options.quick else [])]
    accuracy, time = BOUNDS[options.recipe]
    where = context(f"cifar10 {fingerprint(source)}", peer_versions())
    settings = json.dumps(tomllib.loads(path_of(options.recipe).read_text()))
    kept = Kept(f"cifar10-{options.recipe}", where, f"{settings} {' '.join(extra)}")
    name, seeds, figures = f"recipes/cifar10-{options.recipe}.toml", list(range(repeats)), []
    if "ours" in options.only:
        rows = [kept.of(f"seed {seed}", partial(one, options.recipe, source, seed, extra)) for seed in seeds]
        minutes, plain, views = ([row[key] for row in rows] for key in ("minutes", "plain", "views"))
        figures += [
            figure(name, "test accuracy, plain", "share", plain, seeds=seeds),
            figure(name, f"test accuracy, views {VIEWS}", "share", views, seeds=seeds),
            figure(name, f"mean test accuracy, views {VIEWS}", "share", [fmean(views)], bound=accuracy, seeds=seeds),
            figure(name, "training wall", "min", minutes, bound=f"<= {time}", seeds=seeds),
        ]
    if "fastai" in options.only:
        files = cifar(200, 40, 200) if options.quick else cifar(50_000, 1_000, 10_000)
        limit = 1 if options.quick else time
        figures += [row for side in SIDES for row in resnet(kept, files, side, limit)]
    finish(write(f"cifar10_{options.recipe}", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
