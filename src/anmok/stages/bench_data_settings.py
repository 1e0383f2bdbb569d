"""The settings of `anmok bench data`: those of training that its loader depends on, and the time to spend."""

from __future__ import annotations

from pydantic import Field

from anmok.augment.config import AugmentConfig, PreprocessConfig
from anmok.core.config import Config
from anmok.data.config import DataConfig, LabelsConfig


class BenchRuntime(Config):
    """Where training would run: a GPU takes batches from pinned memory, and may hold the cache."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: all cores this process may use.")


class BenchDataTree(Config):
    """Everything `anmok bench data` can be told."""

    seconds: float = Field(
        20.0, gt=0, description="Longest time of the first epoch, and of the later ones; they end with a whole epoch."
    )
    batch_size: int = Field(64, ge=1, description="Images a batch.")
    seed: int = Field(0, ge=0, description="Seed of the order and of the augmentation.")
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentConfig = AugmentConfig()
    runtime: BenchRuntime = BenchRuntime()
    data: DataConfig = DataConfig()
    labels: LabelsConfig = LabelsConfig()
