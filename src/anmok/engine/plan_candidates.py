"""The forms of computing that are worth timing on a device."""

from __future__ import annotations

from typing import NamedTuple

import torch

from anmok.engine.config import RuntimeConfig

MACOS_BF16 = 14  # the first macOS whose Metal computes in bf16


class Form(NamedTuple):
    """Precision and memory format of a step."""

    dtype: str
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.dtype}{' channels_last' if self.channels_last else ''}"


def candidates(config: RuntimeConfig, device: torch.device) -> tuple[list[str], list[bool]]:
    """Precisions (fp32 first, as the reference) and memory formats worth timing on a device."""
    dtypes: list[str]
    if config.dtype != "auto":
        dtypes = [config.dtype]
    elif config.plan == "none":
        dtypes = ["fp32"]
    else:
        dtypes = ["fp32", *half_precisions(device)]
    if config.channels_last is not None:
        layouts = [config.channels_last]
    else:
        layouts = [False] if config.plan == "none" else [False, True]
    return dtypes, layouts


def half_precisions(device: torch.device) -> list[str]:
    """bf16 and fp16 where the device has them; a CPU computes in bf16 only, however slowly."""
    if device.type == "cpu":
        return ["bf16"]
    if device.type == "cuda":
        return ["bf16", "fp16"] if torch.cuda.is_bf16_supported() else ["fp16"]
    if device.type == "mps":
        return ["bf16", "fp16"] if torch.backends.mps.is_macos_or_newer(MACOS_BF16, 0) else ["fp16"]
    return []


def thread_counts(threads: int) -> list[int]:
    """One, half and all of the threads, ascending."""
    return sorted({1, max(1, threads // 2), threads})
