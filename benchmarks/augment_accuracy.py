"""Accuracy is not paid for speed: our RandAugment beside torchvision's, same model, images, epochs and seeds.

A network for 32 px learns from 10,000 images of CIFAR-10's training split (a stratified draw by the seed) and is judged
on the 10,000 of its test split. Both policies: padded by 4 and cropped, mirrored, RandAugment(2, 9), bilinear, black
fill; torchvision's runs as a guest in the same training.  About a quarter of an hour on two cores.

.venv/bin/python benchmarks/augment_accuracy.py
"""

from __future__ import annotations

from typing import Any

from common import arguments, context, data_root, figure, fingerprint, finish, fresh, read_run, write

IMAGES = 10_000


def ours() -> Any:
    """The policy as anmok has it."""
    from anmok.augment import compose, flip, pad_crop, randaugment

    return compose(pad_crop(4), flip(), randaugment(2, 9), border="fill")


def torchvisions() -> Any:
    """The same as torchvision has it."""
    from torchvision.transforms import InterpolationMode, v2

    return v2.Compose([
        v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(),
        v2.RandAugment(2, 9, interpolation=InterpolationMode.BILINEAR),
    ])  # fmt: skip


def drawn(seed: int, images: int) -> Any:
    """A table of `images` training images, as many of each class, and all test images."""
    import numpy as np

    import anmok

    table = anmok.open(data_root() / "cifar10")
    split, targets = table.rows["split"].to_numpy(), table.targets()
    rng = np.random.default_rng(seed)
    train = [
        rng.permutation(np.flatnonzero((split == "train") & (targets == k)))[: images // len(table.classes)]
        for k in range(len(table.classes))
    ]
    test = np.flatnonzero(split == "test")[: None if images == IMAGES else images]
    return table.take(np.sort(np.concatenate([*train, test])))


def accuracy(name: str, policy: Any, seed: int, epochs: int, images: int, model: str) -> tuple[float, float]:
    """Test accuracy of the last weights, and images/s of the training."""
    import anmok

    out = fresh(f"augment-accuracy-{name}-{seed}")
    run = anmok.train(
        drawn(seed, images), model=model, weights="none", image_size=32, epochs=epochs, seed=seed, augment=policy,
        out=out, optim={"lr": 2e-3},
    )  # fmt: skip
    found = anmok.evaluate(run)
    speeds = [epoch.images / epoch.train_s for epoch in read_run(out)[1]]
    return found.value("accuracy") or 0.0, sum(speeds) / len(speeds)


def main() -> None:
    """Three seeds of each policy, in turns."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3}, epochs={"type": int, "default": 12}, model={"default": "lenet"}
    )
    images, epochs, repeats = (1_000, 1, 1) if options.quick else (IMAGES, options.epochs, options.repeats)
    found: dict[str, list[tuple[float, float]]] = {"anmok": [], "torchvision": []}
    for seed in range(repeats):
        for name, policy in (("torchvision", torchvisions()), ("anmok", ours())):
            found[name].append(accuracy(name, policy, seed, epochs, images, options.model))
    scores = {name: [100 * score for score, _ in values] for name, values in found.items()}
    apart = [a - b for a, b in zip(scores["anmok"], scores["torchvision"], strict=True)]
    seeds, note = list(range(repeats)), f"{options.model}, {images:,} images, {epochs} epochs"
    figures = [
        *(figure(name, "test accuracy, RandAugment(2, 9)", "%", values, seeds=seeds, note=note)
          for name, values in scores.items()),
        figure("anmok - torchvision", "difference of the same seed", "points", apart, seeds=seeds, note=note),
        *(figure(name, "training speed", "images/s", [speed for _, speed in values], seeds=seeds, note=note)
          for name, values in found.items()),
    ]  # fmt: skip
    data = f"cifar10 {fingerprint(data_root() / 'cifar10')}"
    finish(write("augment_accuracy", figures, context(data), options.quick), options.quick)


if __name__ == "__main__":
    main()
