"""Inpainting: what stood in the hidden parts?

Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting", arXiv:1604.07379, with its random blocks and its
masked L2 loss (eq. 1); the adversarial part, which makes fills sharp and not features better, is left out.
"""

from __future__ import annotations

import torch

from anmok.core.errors import UsageError
from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.objectives.decoder import Decoder, map_rows
from anmok.objectives.objective import Objective, Shown, as_pixels
from anmok.objectives.supervised import Outcome

CELLS = 8  # along each side: what is hidden is made of these


class Inpaint(Objective):
    """Paints hidden cells from what surrounds them; only hidden pixels count.

    masked: share of the cells that is hidden in each image, drawn anew each time. Hidden pixels are the mean colour.
    """

    def __init__(
        self, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...], image_size: int, masked: float = 0.5
    ):
        super().__init__(encoder, mean, std)
        if not 0 < masked < 1:
            raise UsageError(f"masked must lie between 0 and 1, found {masked:g}.", where="objective", code="setting")
        self.masked, self.cells = masked, min(CELLS, image_size)
        rows = map_rows(encoder, len(mean), image_size)
        self.decoder = Decoder(encoder.grid_width, len(mean), rows, image_size)

    def forward(self, batch: Batch) -> Outcome:
        """The mean squared error of the hidden pixels, in units of the normalisation's deviation."""
        images = self.normalize(batch.images)
        hidden = random_cells(len(images), self.cells, self.masked, images.shape[2], images.device)
        painted = self.paint(images, hidden)
        return Outcome(masked_l2(painted, images, hidden), {})

    def paint(self, images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """float32[B, C, S, S] of normalised images, whose `hidden` pixels (bool[B, 1, S, S]) are not seen."""
        return self.decoder(self.encoder.grid(images.masked_fill(hidden, 0.0))).float()

    def show(self, batch: Batch) -> list[list[Shown]]:
        """Each image, with its hidden parts grey, and with what was painted there."""
        images = self.normalize(batch.images)
        hidden = random_cells(len(images), self.cells, self.masked, images.shape[2], images.device)
        painted = self.paint(images, hidden)
        seen, filled = images.masked_fill(hidden, 0.0), torch.where(hidden, painted, images)
        error = [masked_l2(painted[i : i + 1], images[i : i + 1], hidden[i : i + 1]) for i in range(len(images))]
        rows = [as_pixels(batch.images), *(as_pixels(self._pixels(x)) for x in (seen, filled))]
        return [
            [Shown(rows[0][i], "image"), Shown(rows[1][i], "seen"), Shown(rows[2][i], f"painted, error {error[i]:.2f}")]
            for i in range(len(images))
        ]

    def _pixels(self, images: torch.Tensor) -> torch.Tensor:
        return (images / self.scale + self.mean).permute(0, 2, 3, 1)


def random_cells(n: int, cells: int, share: float, side: int, device: torch.device) -> torch.Tensor:
    """bool[n, 1, side, side]: of cells × cells cells the share that is hidden in each image, the same number in all."""
    many = min(cells * cells - 1, max(1, round(share * cells * cells)))
    order = torch.rand(n, cells * cells, device=device).argsort(1)
    hidden = torch.zeros(n, cells * cells, dtype=torch.bool, device=device).scatter_(1, order[:, :many], True)
    place = torch.arange(side, device=device) * cells // side  # the cell of each pixel; sides need not divide
    return hidden.view(n, 1, cells, cells)[:, :, place][:, :, :, place]


def masked_l2(painted: torch.Tensor, images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Σ m (x − x̂)² / Σ m over each image's hidden values, then the mean over images.  float[B, C, S, S], m of bool."""
    squared = ((painted.float() - images.float()) ** 2) * hidden
    counts = hidden.flatten(1).sum(1) * images.shape[1]
    return (squared.flatten(1).sum(1) / counts.clamp_min(1)).mean()
