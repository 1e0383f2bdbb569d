"""The whole configuration of a training run: the rooms' slices in one tree."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.audit.config import AuditConfig
from anmok.augment.config import AugmentConfig, PreprocessConfig
from anmok.core.config import Config
from anmok.data.config import DataConfig, LabelsConfig, SplitConfig
from anmok.engine.config import OptimConfig, RuntimeConfig, ScheduleConfig, SupervisedTraining, TrainingConfig
from anmok.models.config import ModelConfig
from anmok.objectives.config import LossConfig
from anmok.objectives.pairs_config import TrainObjective
from anmok.stages.semi_settings import SemiConfig

Tracker = Literal["tensorboard", "mlflow", "wandb"]


class SourceConfig(Config):
    """What is needed to open a source and split it."""

    data: DataConfig = DataConfig()
    labels: LabelsConfig = LabelsConfig()
    split: SplitConfig = SplitConfig()


class AuditTree(SourceConfig):
    """What is needed to open a source and look at it."""

    audit: AuditConfig = AuditConfig()


class LearnConfig(SourceConfig):
    """What every training can be told, whatever it learns from."""

    epochs: int | None = Field(
        None, ge=1, description="Passes over the training images; default 30, or what --minutes allows."
    )
    minutes: float | None = Field(
        None, gt=0, description="Training time to fill: sets the epochs from the measured speed."
    )
    batch_size: int = Field(64, ge=1, description="Images an optimizer step, over all ranks.")
    seed: int = Field(0, ge=0, description="Seed of initial weights, order, augmentation and dropout.")
    track: list[Tracker] = Field([], description="Also report to: tensorboard, mlflow, wandb.")
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    runtime: RuntimeConfig = RuntimeConfig()


class TrainConfig(LearnConfig):
    """Everything `anmok train` can be told; `config.toml` of a run holds it complete."""

    training: SupervisedTraining = SupervisedTraining()
    loss: LossConfig = LossConfig()
    objective: TrainObjective = TrainObjective()
    semi: SemiConfig = SemiConfig()
