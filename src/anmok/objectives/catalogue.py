"""The self-supervised objectives by name."""

from __future__ import annotations

import torch

from anmok.models.encoder import Encoder
from anmok.objectives.config import ObjectiveConfig
from anmok.objectives.objective import Objective


def build_objective(
    config: ObjectiveConfig, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...], image_size: int,
    colors: torch.Tensor | None = None,
) -> Objective:  # fmt: skip
    """The objective around an encoder.

    image_size: of the batches, pixels. colors: of colorize, how often the training data have each ab bin
    (`color_bins`), float[Q]; None: all alike. UsageError for settings that do not fit the images or the network.
    """
    if config.name == "rotation":
        from anmok.objectives.rotation import Rotation

        return Rotation(encoder, mean, std)
    if config.name == "jigsaw":
        from anmok.objectives.jigsaw import Jigsaw

        return Jigsaw(encoder, mean, std, image_size, config.grid, config.permutations)
    if config.name == "colorize":
        from anmok.objectives.colorize import Colorize

        return Colorize(encoder, mean, std, image_size, colors)
    if config.name == "inpaint":
        from anmok.objectives.inpaint import Inpaint

        return Inpaint(encoder, mean, std, image_size, config.masked)
    from anmok.objectives.contrastive import Contrastive

    return Contrastive(encoder, mean, std, config.temperature, config.projection, config.labels)
