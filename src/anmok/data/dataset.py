"""A map-style view of a Table, so that a DataLoader of the user's own can sit on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from anmok.data.decode import decode
from anmok.data.table import Table


class Dataset:
    """`dataset[i]` is (image, target), like torchvision's ImageFolder: a PIL picture, unless `transform` changes it.

    target: int (-1: unlabelled), or float32[K] for multi-label, unless `target_transform` changes it. It has what
    torch.utils.data.DataLoader asks for and needs no torch itself.
    """

    def __init__(
        self, table: Table, *, split: str | None = None, transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None, channels: Literal["rgb", "gray"] = "rgb",
    ):  # fmt: skip
        self.table = table if split is None else table.where(split=split)
        self.classes = list(table.classes)
        self.transform, self.target_transform, self.channels = transform, target_transform, channels
        self.ids: list[str] = self.table.rows["id"].to_list()
        self._images: list[str] = self.table.rows["image"].to_list()
        self._targets = self.table.targets()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from PIL import Image

        pixels = decode(self.table.storage.read(self._images[index]), channels=self.channels)
        image: Any = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        target: Any = self._targets[index]
        target = target if isinstance(target, np.ndarray) else int(target)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target
