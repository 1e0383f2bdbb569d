"""Plans of earlier runs, in the user's cache folder: the same network on the same machine is not measured twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anmok.core.errors import AnmokError
from anmok.core.files import make_folder, read_json, write_json
from anmok.core.machine import free_memory_bytes
from anmok.core.progress import warn
from anmok.core.types import Batch
from anmok.data.cache_folder import cache_root
from anmok.engine.plan import Plan
from anmok.engine.runtime import Runtime

VERSION = 1  # of what is measured, and how


def plan_folder() -> Path:
    """Where plans are kept: 'plans' beside the kept pixels, or in $ANMOK_CACHE."""
    root = cache_root()
    return (root.parent if root.name == "pixels" else root) / "plans"


def plan_key(
    learner: nn.Module, batch: Batch, runtime: Runtime, settings: Mapping[str, Any], machine: Mapping[str, Any]
) -> str:
    """BLAKE2b-16 (hex) over what a plan depends on: the network, what of it learns, the batch's shape, the settings,
    the device, the machine with its versions, and the power of two of its free memory.
    """
    images = batch.images if isinstance(batch.images, tuple) else (batch.images,)
    about = {
        "version": VERSION, "network": repr(learner), "settings": dict(settings), "machine": dict(machine),
        "parameters": [(name, list(p.shape), p.requires_grad) for name, p in learner.named_parameters()],
        "images": [(list(i.shape), str(i.dtype)) for i in images], "targets": list(batch.targets.shape),
        "device": [str(runtime.device), device_name(runtime.device)], "threads": runtime.threads,
        "world": runtime.world, "memory": free_memory_bytes().bit_length(),
    }  # fmt: skip
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()


def device_name(device: torch.device) -> str:
    """What a GPU calls itself; empty for others."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def read_plan(key: str) -> Plan | None:
    """The plan of an earlier run, None where there is none that can be read."""
    from dataclasses import replace

    try:
        return replace(Plan(**read_json(plan_folder() / f"{key}.json")), cached=True)
    except (
        OSError,
        ValueError,
        TypeError,
        AnmokError,
    ):  # not there, half written by another program, of another version
        return None


def keep_plan(key: str, plan: Plan) -> None:
    """Keep a plan for later runs; where that cannot be, it is said and the run goes on."""
    try:
        write_json(make_folder(plan_folder()) / f"{key}.json", plan.to_dict())
    except (OSError, AnmokError) as error:
        warn(f"the plan cannot be kept for later runs ({error})")
