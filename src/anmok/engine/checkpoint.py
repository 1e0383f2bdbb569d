"""A training state as a folder: tensors in safetensors, the rest in JSON, both under a manifest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from anmok.core.errors import DataError
from anmok.core.files import new_folder, read_json, verify_manifest, write_json, write_manifest
from anmok.core.progress import warn
from anmok.engine.shard import split_as

KEEP = 2


def save(
    folder: Path, step: int, tensors: dict[str, torch.Tensor], values: dict[str, Any], name: str | None = None
) -> Path:
    """Write checkpoints/step-<step> (or <name>): temporary name, fsync, manifest, rename; older steps are removed.

    Two steps are kept, so that a damaged last one leaves the one before it. What a killed writer left is removed.
    """
    from safetensors.torch import save_file

    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    target = folder / (name or f"step-{step:09d}")
    own = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    with new_folder(target) as temporary:
        save_file(own, temporary / "state.safetensors")
        write_json(temporary / "state.json", {"version": 1, "step": step, **values})
        write_manifest(temporary)
    if name is None:
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def load(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and values of one checkpoint; DataError where it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    verify_manifest(folder)
    values = read_json(folder / "state.json")
    if values.get("version") != 1:
        raise DataError(
            f"checkpoint version {values.get('version')!r} is not known here.", where=str(folder), code="version"
        )
    try:
        return load_file(folder / "state.safetensors"), values
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot be read ({error}).", where=str(folder), code="damaged") from error


def load_latest(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint (by step, not by clock), None if there is none; damaged ones are named and passed.

    DataError for one of a version not known here: it is whole, and what it says is not to be trained over.
    """
    for candidate in sorted(folder.glob("step-*"), reverse=True):
        try:
            return load(candidate)
        except DataError as error:
            if error.code == "version":
                raise
            warn(f"checkpoint {candidate.name} is damaged ({error.message}); going back to the one before it")
    return None


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimizer's state as flat tensors and plain values."""
    state = optimizer.state_dict()["state"]
    tensors = {f"{i}/{k}": v for i, entry in state.items() for k, v in entry.items() if isinstance(v, torch.Tensor)}
    values = {
        f"{i}/{k}": v
        for i, entry in state.items()
        for k, v in entry.items()
        if not isinstance(v, torch.Tensor) and v is not None
    }
    return tensors, values


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], values: dict[str, Any]
) -> None:
    """Back into the optimizer. Memory formats follow the parameters', as sums over another order round differently."""
    own = optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *values.items()]:
        index, name = key.split("/", 1)
        parameter = parameters[int(index)]
        if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.ndim:
            value = split_as(value, parameter)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": own["param_groups"]})


def rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    """torch's generators: dropout and stochastic depth draw from them."""
    out = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        out["cuda"] = torch.cuda.get_rng_state(device)
    return out


def set_rng_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Back to a generator state."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keys under a prefix; numbers of one element keep their shape."""
    return {f"{prefix}:{k}": v for k, v in tensors.items()}


def under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that `prefixed` put under a prefix."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{prefix}:")}
