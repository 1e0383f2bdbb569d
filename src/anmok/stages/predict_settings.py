"""How `anmok predict` reads its images."""

from __future__ import annotations

from typing import Any

from anmok.core.config import Config
from anmok.data.config import DataConfig

AUTO, TORCH = "auto", "torch"  # what runs an exported model: the fastest here, or torch
UNIFORM, FIT = "uniform", "fit"  # what test-time views weigh: all the same, or as fitted on validation

# Images in any place, with or without labels: what a source lacks for training is no obstacle here.
ANY: dict[str, Any] = {"data.allow_unlabelled": True, "data.drop_empty": True}


class PredictTree(Config):
    """What is needed to open images that are to be predicted."""

    data: DataConfig = DataConfig()
