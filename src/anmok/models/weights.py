"""Weights from a file: checked against the network by name and shape before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from anmok.core.errors import DataError, UsageError
from anmok.core.files import MANIFEST, read_json, verify_manifest
from anmok.models.class_rows import bring_into_order
from anmok.models.heads import in_head
from anmok.models.pickled import PICKLED as PICKLED
from anmok.models.pickled import refuse_pickle
from anmok.models.positions import fit_positions


def find_weights(path: Path | str) -> Path:
    """The model.safetensors that a path means: the file itself, a model folder, or a run (its model/ or encoder/).

    UsageError where there is none, DataError for a pickled file or a folder that fails its manifest.
    """
    path = Path(path)
    refuse_pickle(path)
    inside = [path / folder / "model.safetensors" for folder in ("", "model", "encoder")]
    for candidate in (path, *inside):
        if candidate.is_file() and candidate.suffix == ".safetensors":
            if (candidate.parent / MANIFEST).exists():
                verify_manifest(candidate.parent)
            return candidate
    for candidate in sorted(path.glob("*")) if path.is_dir() else []:
        refuse_pickle(candidate)
    raise UsageError(
        "no weights here.", where=f"--weights {path}",
        remedy="Expected none, pretrained, a .safetensors file, a model folder or a run.", code="weights",
    )  # fmt: skip


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors file; DataError where it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"not a readable .safetensors file ({error}).", where=str(file), code="damaged") from error


def classes_beside(file: Path) -> list[str] | None:
    """The class names in the config.json beside a weights file, if it says any."""
    config = file.parent / "config.json"
    if not config.is_file():
        return None
    values = read_json(config)
    names = values.get("label_names") if isinstance(values, dict) else None
    return list(names) if isinstance(names, list) else None


class Seen(NamedTuple):
    """What weights have been trained on, as the preprocess.json beside them says: side of the square in pixels, and
    mean and std, one a channel, of pixels in [0, 1]; empty where these are of another colour space or range.
    """

    image_size: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def seen_by(file: Path) -> Seen | None:
    """What the weights of a file have been trained on, None where nothing beside it says so.

    DataError where what stands there is damaged.
    """
    beside = file.parent / "preprocess.json"
    if not beside.is_file():
        return None
    values = read_json(beside)
    try:
        usual = (values.get("colorspace", "rgb"), values.get("normalize", "standard")) == ("rgb", "standard")
        mean, std = (tuple(map(float, values.get(k, ()))) if usual else () for k in ("mean", "std"))
        return Seen(int(values["image_size"]), mean, std)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the settings are damaged ({error}).", where=str(beside), code="damaged") from error


def differences(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], wanted: set[str]) -> str:
    """What keeps `state` from being loaded into `own`, of which it must hold `wanted`; '' if nothing does."""
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in sorted(wanted & state.keys())
        if state[k].shape != own[k].shape
    ]
    groups = (
        ("missing", sorted(wanted - state.keys())), ("unknown", sorted(state.keys() - own.keys())),
        ("of another shape", shapes),
    )  # fmt: skip
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in groups
        if names
    )


def load_into(backbone: nn.Module, file: Path, heads: tuple[str, ...], classes: list[str]) -> list[str]:
    """Load a weights file into a network; returns what has to be said aloud.

    heads: the layers whose parameters belong to the classes. They are kept only if the file's class names are these
    classes; their order may be another one.  A first layer made for colours is summed for grey images (and the other
    way round), a two-logit head of a yes/no question becomes one logit, and position embeddings of another image size
    are interpolated.  DataError naming the differences if anything else does not fit: nothing is loaded then.
    """
    state = {k.removeprefix("timm_model."): v for k, v in read_weights(file).items()}
    own = backbone.state_dict()
    said = []
    stored = classes_beside(file)
    if stored != classes and bring_into_order(state, heads, stored, classes):
        said.append(f"the head's classes are in another order in {file.name}: its rows follow their names")
    elif stored != classes:
        rest = {k: v for k, v in state.items() if not in_head(k, heads)}
        why = "was trained for other classes" if len(rest) < len(state) else "holds none"
        said.append(f"the head ({', '.join(heads)}) starts anew: {file.name} {why}")
        state = rest
    _one_logit(own, state, heads)
    said += _input_channels(own, state)
    said += fit_positions(backbone, own, state)
    wanted = {k for k in own if k in state or not in_head(k, heads)}
    problems = differences(own, state, wanted)
    if problems:
        raise DataError(
            f"the weights are of another architecture: {problems}.", where=str(file),
            remedy="Nothing was loaded. Choose the --model that these weights belong to.", code="weights-mismatch",
        )  # fmt: skip
    backbone.load_state_dict({**own, **state})
    return said


def _one_logit(own: Mapping[str, torch.Tensor], state: dict[str, torch.Tensor], heads: tuple[str, ...]) -> None:
    """(z0, z1) to z1 - z0 in the head, where the network has one logit and the file two."""
    for key in [k for k in state if in_head(k, heads) and k in own]:
        if own[key].shape[:1] == (1,) and state[key].shape[:1] == (2,) and own[key].shape[1:] == state[key].shape[1:]:
            state[key] = state[key][1:] - state[key][:1]


def _input_channels(own: Mapping[str, torch.Tensor], state: dict[str, torch.Tensor]) -> list[str]:
    """Adapt what reads the image from 3 channels to 1, or from 1 to 3, as timm does; says so."""
    adapted = []
    for key, value in state.items():
        if key not in own or value.ndim != 4 or own[key].ndim != 4:
            continue
        have, want = value.shape[1], own[key].shape[1]
        if {have, want} == {1, 3} and value.shape[0] == own[key].shape[0] and value.shape[2:] == own[key].shape[2:]:
            state[key] = value.sum(1, keepdim=True) if want == 1 else value.repeat(1, 3, 1, 1) / 3
            adapted.append(f"the first layer ({key}) was made for {have} channel(s) and is adapted to {want}")
    return adapted
