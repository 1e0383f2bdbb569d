"""Epochs of one peer's loader over a folder of classes, run by the peers' Python; prints one JSON object.

    peer_loaders.py FOLDER PEER POLICY SIZE BATCH WORKERS EPOCHS

POLICY: `randaugment` (random-resized-crop, flip, RandAugment(2, 9), normalise) or `flip-crop` (without RandAugment).
Every batch comes as float32[B, 3, SIZE, SIZE], normalised. A few batches, for which libraries are loaded, are not
counted; nor is the start of the workers where the peer can keep them from one epoch to the next.

fastai and kornia augment whole batches in the main process, as their documentation shows. fastai has no RandAugment:
`randaugment` means its own aug_transforms() there.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import torch  # noqa: E402
from peer_policies import MEAN, SCALE, STD, M, N, albumentations_policy, torchvision_policy  # noqa: E402

WARM = 8  # batches


def main(folder: str, peer: str, policy: str, size: int, batch: int, workers: int, epochs: int) -> None:
    """Time whole epochs."""
    if policy not in ("randaugment", "flip-crop"):
        raise SystemExit(f"no such policy: {policy}")
    loader = PEERS[peer](folder, policy == "randaugment", size, batch, workers)
    list(islice(loader(), WARM))
    found = []
    for _ in range(epochs):
        began, images = time.perf_counter(), 0
        for pixels in loader():
            assert (pixels.dtype, *pixels.shape[1:]) == (torch.float32, 3, size, size), pixels.shape
            images += len(pixels)
        found.append({"images": images, "seconds": time.perf_counter() - began})
    print(json.dumps({"epochs": found}))


Epoch = Callable[[], Iterable[torch.Tensor]]


def plain(dataset: Any, batch: int, workers: int) -> Epoch:
    """torch's own DataLoader."""
    loader = torch.utils.data.DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: (images for images, _ in loader)


def torchvision_(backend: str) -> Callable[..., Epoch]:
    """ImageFolder; the policy on PIL images, or on tensors made of them first."""

    def build(folder: str, randaugment: bool, size: int, batch: int, workers: int) -> Epoch:
        from torchvision.datasets import ImageFolder
        from torchvision.transforms import v2

        steps, tensor = torchvision_policy(randaugment, size), [v2.PILToTensor()]
        steps = [*tensor, *steps] if backend == "tensor" else [*steps, *tensor]
        last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        return plain(ImageFolder(folder, v2.Compose([*steps, *last])), batch, workers)

    return build


def timm_(prefetcher: bool) -> Callable[..., Epoch]:
    """create_loader; the prefetcher normalises whole batches in the main process, otherwise the workers do it."""

    def build(folder: str, randaugment: bool, size: int, batch: int, workers: int) -> Epoch:
        from timm.data import ImageDataset, create_loader

        loader = create_loader(
            ImageDataset(folder), (3, size, size), batch, is_training=True, re_prob=0.0, scale=SCALE,
            color_jitter=None, auto_augment=f"rand-m{M}-n{N}" if randaugment else None, interpolation="bilinear",
            num_workers=workers, use_prefetcher=prefetcher, device=torch.device("cpu"),
        )  # fmt: skip
        return lambda: (images for images, _ in loader)

    return build


class Files(torch.utils.data.Dataset):
    """ImageFolder's files, read by OpenCV: what Albumentations' documentation shows."""

    def __init__(self, folder: str, transform: Any):
        from torchvision.datasets import ImageFolder

        self.samples, self.transform = ImageFolder(folder).samples, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import cv2

        path, target = self.samples[index]
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        return self.transform(image=image)["image"], target


def albumentations_(folder: str, randaugment: bool, size: int, batch: int, workers: int) -> Epoch:
    """Albumentations in a DataLoader; one thread a worker, as its documentation advises."""
    import albumentations as a
    import cv2
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(0)
    steps = [*albumentations_policy(randaugment, size), a.Normalize(MEAN, STD), ToTensorV2()]
    return plain(Files(folder, a.Compose(steps)), batch, workers)


def fastai_(folder: str, randaugment: bool, size: int, batch: int, workers: int) -> Epoch:
    """DataLoaders of a DataBlock; the crop in the workers, the rest on whole batches in the main process."""
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        Flip,
        ImageBlock,
        Normalize,
        RandomResizedCrop,
        RandomSplitter,
        aug_transforms,
        get_image_files,
        parent_label,
    )

    more = aug_transforms() if randaugment else [Flip()]
    block = DataBlock(
        (ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=RandomSplitter(0.0),
        item_tfms=RandomResizedCrop(size, min_scale=SCALE[0]),
        batch_tfms=[*more, Normalize.from_stats(MEAN, STD, cuda=False)],
    )  # fmt: skip
    loader = block.dataloaders(folder, bs=batch, num_workers=workers, device=torch.device("cpu")).train
    return lambda: (images.as_subclass(torch.Tensor) for images, _ in loader)


def kornia_(folder: str, randaugment: bool, size: int, batch: int, workers: int) -> Epoch:
    """torchvision's crop and flip in the workers, kornia's RandAugment on whole batches in the main process."""
    from kornia.augmentation import ImageSequential, Normalize, RandomHorizontalFlip, RandomResizedCrop
    from kornia.augmentation.auto import RandAugment
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    # Files of different sizes cannot be batched: they are squashed to the next size first.
    first = v2.Compose([v2.PILToTensor(), v2.Resize((256, 256), antialias=True), v2.ToDtype(torch.float32, scale=True)])
    inner = [RandAugment(N, M)] if randaugment else []
    whole = ImageSequential(
        RandomResizedCrop((size, size), SCALE), RandomHorizontalFlip(p=0.5), *inner,
        Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )  # fmt: skip
    batches = plain(ImageFolder(folder, first), batch, workers)

    def epoch() -> Iterable[torch.Tensor]:
        with torch.inference_mode():
            for images in batches():
                yield whole(images)

    return epoch


PEERS: dict[str, Callable[..., Epoch]] = {
    "timm": timm_(False), "timm-prefetcher": timm_(True), "torchvision-pil": torchvision_("pil"),
    "torchvision-tensor": torchvision_("tensor"), "albumentations": albumentations_, "fastai": fastai_,
    "kornia": kornia_,
}  # fmt: skip

if __name__ == "__main__":
    folder, peer, policy = sys.argv[1:4]
    main(str(Path(folder)), peer, policy, *map(int, sys.argv[4:]))
