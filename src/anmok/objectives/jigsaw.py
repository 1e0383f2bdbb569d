"""Jigsaw puzzles: in which order do these tiles lie?

Noroozi & Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", arXiv:1603.09246.
Tiles lie somewhere in their cell, so that no edge goes on in the next one, and each is normalised by its own mean and
deviation, so that neither light nor a drift of colours (chromatic aberration) tells where it comes from.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import UsageError
from anmok.core.types import Batch
from anmok.models.classifier import evaluating
from anmok.models.encoder import Encoder
from anmok.objectives.objective import Objective, Shown, as_pixels
from anmok.objectives.permutations import permutation_set
from anmok.objectives.supervised import Outcome

FILLED = 64 / 75  # of a cell's side that a tile takes, as in the paper
HIDDEN = 512  # width of the layer that sees all tiles
SMALL = 64  # pixels: smaller images have 2 × 2 tiles
STEP = 8  # sides that are tried are multiples of it
FAULTS = (RuntimeError, ValueError, AssertionError, IndexError)  # of a network that a tile is too small for


class Jigsaw(Objective):
    """Tells which of P permutations the tiles of an image lie in, each tile encoded alone by the same encoder.

    grid: tiles along each side; permutations: how many orders there are (`permutation_set`); tile_side: pixels to which
    a tile is enlarged, by default the least that the network takes.
    """

    def __init__(
        self, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...], image_size: int,
        grid: int | None = None, permutations: int | None = None, tile_side: int | None = None,
    ):  # fmt: skip
        super().__init__(encoder, mean, std)
        self.grid = grid or (2 if image_size < SMALL else 3)
        self.cut = round(image_size // self.grid * FILLED)
        if self.cut < 2:
            raise UsageError(
                f"{self.grid} × {self.grid} tiles of {image_size} pixels are too small.", where="objective.grid",
                remedy="Take a larger --image-size or fewer tiles.", code="setting",
            )  # fmt: skip
        tiles = self.grid**2
        orders = permutation_set(tiles, permutations or (24 if tiles == 4 else 100))
        self.orders: torch.Tensor
        self.register_buffer("orders", torch.tensor(orders.astype("int64")))
        self.tile_side = tile_side or least_side(encoder, self.cut, image_size, len(mean))
        self.head = nn.Sequential(
            nn.Linear(tiles * encoder.width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(self.orders))
        )

    def forward(self, batch: Batch) -> Outcome:
        """Cross-entropy over the permutations, one drawn for each image."""
        tiles = cut_tiles(batch.images, self.grid, self.cut)
        targets = torch.randint(len(self.orders), (len(tiles),), device=tiles.device)
        logits = self.solve(shuffled(tiles, self.orders[targets]))
        return Outcome(F.cross_entropy(logits, targets), {"correct": (logits.argmax(1) == targets).sum()})

    def solve(self, tiles: torch.Tensor) -> torch.Tensor:
        """Tiles uint8[B, T, t, t, C] in some order to logits float32[B, P]."""
        each = normalized_tiles(tiles.flatten(0, 1), self.tile_side)
        return self.head(self.encoder(each).unflatten(0, tiles.shape[:2]).flatten(1)).float()

    def show(self, batch: Batch) -> list[list[Shown]]:
        """Each image, its tiles as they were shown, and as they lie in the order that was guessed."""
        tiles = cut_tiles(batch.images, self.grid, self.cut)
        targets = torch.randint(len(self.orders), (len(tiles),), device=tiles.device)
        asked = shuffled(tiles, self.orders[targets])
        guesses = self.solve(asked).argmax(1)
        answered = shuffled(asked, self.orders[guesses].argsort(1))
        places = (self.orders[guesses] == self.orders[targets]).sum(1)
        rows = [as_pixels(batch.images), as_pixels(laid(asked, self.grid)), as_pixels(laid(answered, self.grid))]
        return [
            [
                Shown(rows[0][i], "image"), Shown(rows[1][i], "tiles as shown"),
                Shown(rows[2][i], f"as guessed, {int(places[i])} of {self.grid**2} right"),
            ]
            for i in range(len(tiles))
        ]  # fmt: skip


def cut_tiles(images: torch.Tensor, grid: int, side: int) -> torch.Tensor:
    """uint8[B, grid², side, side, C] of uint8[B, S, S, C]: a tile of each cell, row by row, at a place drawn in it."""
    n, size = images.shape[:2]
    cell = size // grid
    device = images.device
    place = torch.randint(cell - side + 1, (2, n, grid * grid), device=device)
    corner = torch.arange(grid * grid, device=device)
    along = torch.arange(side, device=device)
    rows = (corner // grid * cell + place[0])[:, :, None] + along
    columns = (corner % grid * cell + place[1])[:, :, None] + along
    return images[torch.arange(n, device=device)[:, None, None, None], rows[:, :, :, None], columns[:, :, None, :]]


def shuffled(tiles: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Tiles [B, T, …] so that place k holds tile orders[b, k]."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], orders]


def normalized_tiles(tiles: torch.Tensor, side: int) -> torch.Tensor:
    """uint8[N, t, t, C] to float32[N, C, side, side]: enlarged, each tile and channel of mean 0 and deviation 1."""
    x = tiles.permute(0, 3, 1, 2).float()
    if x.shape[2] != side:
        x = F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    deviation, mean = torch.std_mean(x, dim=(2, 3), keepdim=True, correction=0)
    return (x - mean) / deviation.clamp_min(1.0)  # a flat tile stays flat


def least_side(encoder: Encoder, cut: int, image_size: int, channels: int) -> int:
    """The smallest multiple of 8 pixels from `cut` on, or the image's own size, of which the encoder takes tiles."""
    device = next(encoder.parameters()).device
    for side in range(-(-cut // STEP) * STEP, image_size, STEP):
        try:
            with evaluating(encoder):
                encoder(torch.zeros(2, channels, side, side, device=device))
        except FAULTS:
            continue
        return side
    return image_size


def laid(tiles: torch.Tensor, grid: int) -> torch.Tensor:
    """uint8[B, H, W, C]: tiles [B, grid², t, t, C] side by side, with a white line between them."""
    n, _, side, _, depth = tiles.shape
    gap = max(1, side // 16)
    out = tiles.new_full((n, grid * (side + gap) - gap, grid * (side + gap) - gap, depth), 255)
    for k in range(grid * grid):
        top, left = k // grid * (side + gap), k % grid * (side + gap)
        out[:, top : top + side, left : left + side] = tiles[:, k]
    return out
