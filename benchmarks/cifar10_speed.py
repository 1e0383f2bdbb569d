"""Accuracy against time of recipes/cifar10-speed.toml (or -best): three seeds, with and without test-time views.

.venv/bin/python benchmarks/cifar10_speed.py [--recipe best]
"""

from __future__ import annotations

from pathlib import Path

from common import ANMOK, arguments, context, data_root, figure, fingerprint, finish, fresh, read_json, run, write

RECIPES = Path(__file__).parents[1] / "recipes"
VIEWS = "shifts"
BOUNDS = {"speed": (">= 0.91", "<= 16"), "best": (">= 0.92", "<= 45")}


def one(recipe: str, source: Path, seed: int, extra: list[str]) -> tuple[float, float, float]:
    """(minutes, test accuracy, test accuracy with views) of one seed."""
    out = fresh(f"cifar10-{recipe}-{seed}")
    settings = RECIPES / f"cifar10-{recipe}.toml"
    seconds = run(ANMOK, "train", source, "--config", settings, "--seed", str(seed), "--out", out, *extra, show=True)
    run(ANMOK, "evaluate", out)
    plain = read_json(out / "evaluation-test.json")["metrics"]["accuracy"]["value"]
    import anmok

    found = anmok.evaluate(out, split="test", tta=VIEWS)
    return seconds / 60, plain, float(found.value("accuracy"))


def main() -> None:
    """Three seeds of a recipe."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3}, recipe={"default": "speed", "choices": list(BOUNDS)}
    )
    source, repeats = data_root() / "cifar10", 1 if options.quick else options.repeats
    extra = ["--epochs", "1"] if options.quick else []
    rows = [one(options.recipe, source, seed, extra) for seed in range(repeats)]
    minutes, plain, views = (list(column) for column in zip(*rows, strict=True))
    name, seeds = f"recipes/cifar10-{options.recipe}.toml", list(range(repeats))
    accuracy, time = BOUNDS[options.recipe]
    figures = [
        figure(name, "test accuracy, plain", "share", plain, seeds=seeds),
        figure(name, f"test accuracy, views {VIEWS}", "share", views, bound=accuracy, seeds=seeds),
        figure(name, "training wall", "min", minutes, bound=time, seeds=seeds),
    ]
    where = context(f"cifar10 {fingerprint(source)}")
    finish(write(f"cifar10_{options.recipe}", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
