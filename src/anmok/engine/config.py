"""Settings of the machine, the optimizer, the schedule and the loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from anmok.core.config import Config
from anmok.engine.duration import Duration


class RuntimeConfig(Config):
    """Where and in which form the computation runs."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: all cores this process may use.")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="Precision of the forward pass.")
    channels_last: bool | None = Field(None, description="Memory format of convolutions; default: as planned.")
    compile: Literal["auto", "true", "false"] = Field(
        "auto", description="torch.compile; auto: where training is so long that it repays its time, as measured."
    )
    plan: Literal["auto", "none"] = Field("auto", description="auto: measure a few steps and take the fastest form.")
    shard: bool = Field(False, description="Of several processes each keeps a part of the weights only (FSDP2).")
    rank_timeout: float = Field(600, gt=0, description="Seconds without a sign of a rank after which the run ends.")

    @field_validator("compile", mode="before")
    @classmethod
    def _as_word(cls, value: object) -> object:
        return str(value).lower() if isinstance(value, bool) else value


class OptimConfig(Config):
    """The optimizer; unset quantities take its usual values."""

    name: Literal["sgd", "adam", "adamw", "muon"] = Field("adamw", description="Optimizer.")
    lr: float | None = Field(
        None, gt=0, description="Peak learning rate; default: sgd 0.05, adam 0.001, adamw 0.001, muon 0.02."
    )
    weight_decay: float | None = Field(
        None, ge=0, description="Not on biases and norms; default: sgd 5e-4, adamw 0.05, muon 0.01, adam 0."
    )
    momentum: float | None = Field(None, ge=0, lt=1, description="Default: sgd 0.9, muon 0.95.")
    nesterov: bool = Field(True, description="Nesterov momentum, of sgd and muon.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Of adam and adamw.")
    eps: float = Field(1e-8, gt=0, description="Of adam and adamw.")
    aux_lr: float = Field(1e-3, gt=0, description="With muon: AdamW's rate for norms, biases, stem and head.")
    normalize: bool = Field(
        False,
        description="With muon: matrices are kept at rows of norm 1, on average; for those that a norm layer follows.",
    )
    clip: float | None = Field(None, gt=0, description="Largest norm of the gradient; default: not clipped.")
    layer_decay: float | None = Field(
        None, gt=0, le=1, description="The rate of each stage is so many times that of the stage after it."
    )
    accumulate: int = Field(1, ge=1, description="Parts that a batch is taken in, to need less memory.")
    ema: float | None = Field(None, gt=0, lt=1, description="Decay of the weights' moving average; default: none kept.")
    lookahead: float | None = Field(
        None, gt=0, le=1,
        description="Share of the way that slow weights, which are kept, go to the fast ones, which go on from there.",
    )  # fmt: skip
    lookahead_every: int = Field(5, ge=1, description="Of lookahead: steps from one such meeting to the next.")
    lookahead_power: float = Field(
        0.0,
        ge=0,
        description="Of lookahead: 0: the same share throughout; above: it falls from 1, late if this is high.",
    )

    @model_validator(mode="after")
    def _one_average(self) -> OptimConfig:
        if self.ema is not None and self.lookahead is not None:
            raise ValueError("ema and lookahead each choose the weights that are kept; leave one of them out")
        return self


class ScheduleConfig(Config):
    """The learning rate as a function of the step. Durations: '500 steps', '3 epochs', '5%'."""

    name: Literal["constant", "step", "exponential", "cosine", "linear", "one-cycle", "plateau"] = Field(
        "one-cycle", description="Course of the learning rate."
    )
    warmup: str = Field("0%", description="Linear warm-up from 0, before any course.")
    every: str = Field("30%", description="Of step: how long between two drops.")
    gamma: float = Field(
        0.1, gt=0, le=1, description="Of step: factor a drop; of exponential: factor an epoch; of plateau: factor."
    )
    patience: int = Field(5, ge=0, description="Of plateau: epochs without a better validation loss.")
    start: float = Field(0.04, gt=0, le=1, description="Of one-cycle: share of the peak to start from.")
    end: float = Field(1e-4, ge=0, le=1, description="Of one-cycle, cosine and linear: share of the peak to end at.")
    peak: float = Field(0.3, gt=0, lt=1, description="Of one-cycle: share of the steps before the peak.")

    @field_validator("warmup", "every")
    @classmethod
    def _durations(cls, value: str) -> str:
        Duration.parse(value)
        return value


class TrainingConfig(Config):
    """The loop."""

    early_stop: int | None = Field(None, ge=1, description="Stop after so many epochs without a better validation.")
    checkpoint_every: str = Field("1 epoch", description="Also '200 steps' or '5 min'.")
    unfreeze: str | None = Field(
        None, description="The head learns alone at first, one stage before it joins each so often: '1 epoch', '10%'."
    )
    select: Literal["auto", "accuracy", "macro_f1", "loss"] = Field(
        "auto", description="Validation figure that chooses the best weights; auto: accuracy, multi-label macro_f1."
    )

    @field_validator("checkpoint_every", "unfreeze")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None:
            Duration.parse(value)
        return value


class SupervisedTraining(TrainingConfig):
    """The loop, with what only learning from labels can leave out to be faster."""

    grow: float | None = Field(
        None, gt=0, lt=1, description="Training images begin at this share of the image size and grow, epoch by epoch."
    )
    grow_until: str = Field("60%", description="Of grow: when images have their size: '60%', '10 epochs', '500 steps'.")
    skip: float | None = Field(
        None, gt=0, lt=1,
        description="Of images with a loss below the mean, the share that an epoch leaves out; others make up for it.",
    )  # fmt: skip
    skip_until: str = Field("87.5%", description="Of skip: when epochs take all images again.")

    @field_validator("grow_until", "skip_until")
    @classmethod
    def _counted(cls, value: str) -> str:
        if Duration.parse(value).unit == "seconds":
            raise ValueError("expected epochs, steps or a share: '10 epochs', '500 steps', '60%'")
        return value
