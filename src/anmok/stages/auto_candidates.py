"""Who takes part in `anmok auto`: networks that fit the pictures' size, with weights of others where there are some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from anmok.core.config import dump_toml, leaves, read_toml, resolve
from anmok.core.errors import UsageError
from anmok.core.files import make_folder, write_atomic
from anmok.stages.auto_settings import AutoTree
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import HEAD_LR, WHOLE, is_set

SMALL, MIDDLE = 40, 88  # pixels: median short sides up to which images are seen at 32 and at 64
SIDE = 128  # of larger pictures: what a processor trains on in minutes
SCRATCH = {
    32: ("speednet_small", "speednet", "lenet", "resnet18"),
    64: ("speednet_small", "speednet", "cs3darknet_s", "resnet18"),
    SIDE: ("cs3darknet_s", "resnet18", "speednet", "convnext_atto"),
}  # fmt: skip
# Networks whose weights are looked for in the hub's cache on this machine, and are taken at SIDE pixels.
PRETRAINED = (
    "resnet18", "mobilenetv3_small_100", "mobilenetv3_large_100", "convnext_atto", "efficientnet_b0", "resnet50",
    "convnext_tiny", "vit_small_patch16_224",
)  # fmt: skip
MOST = 6

# From scratch: as recipes/trashnet.toml, which reached 0.865 on TrashNet's test split in 9 minutes of two cores.
FROM_SCRATCH: dict[str, Any] = {
    "optim": {"name": "muon", "lr": 0.02, "weight_decay": 0.05, "aux_lr": 0.002, "betas": (0.9, 0.99), "ema": 0.99},
    "schedule": {"name": "cosine", "warmup": "10%", "end": 0.001},
}  # fmt: skip
SMOOTHING: dict[str, Any] = {"loss": {"label_smoothing": 0.1}}  # of targets of one class each
PHOTOS: dict[str, Any] = {
    "augment": {"policy": "flip-crop", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3},
}  # fmt: skip
TINY: dict[str, Any] = {  # 2 of 32 pixels, as airbench94 (Jordan 2024, arXiv:2404.00498)
    "augment": {"policy": "none", "hflip": 0.5, "translate": 0.0625},
}


class Candidate(NamedTuple):
    """A training that may be the best one: its name in tables, and its settings, complete."""

    name: str
    config: TrainConfig

    @property
    def place(self) -> str:
        """Its name as that of a folder or file."""
        return re.sub(r"[^a-z0-9._]+", "-", self.name.lower()).strip("-")


def image_side(median: float | None) -> int:
    """The side, pixels, at which a network sees images whose short sides have this median; None: not measured."""
    if median is None:
        return SIDE
    return 32 if median <= SMALL else 64 if median <= MIDDLE else SIDE


def build_candidates(config: AutoTree, task: str, median: float | None) -> list[Candidate]:
    """Those that the settings name, or as many as MOST that fit the images; those with weights of others first.

    UsageError for an unknown network, with the nearest.
    """
    from anmok.models.families import accepts

    side = config.preprocess.image_size or image_side(median)
    if config.candidates:
        for name in config.candidates:
            accepts(name)
        starts = _starts(config)
        found = [(name, *start) for name in config.candidates for start in starts]
    elif is_set(config, "model.name"):
        found = [(config.model.name, *start) for start in _starts(config)]
    else:
        found = _usual(config, side)
    out = [_candidate(config, task, side, *one) for one in found]
    if len({candidate.place for candidate in out}) < len(out):
        raise UsageError("two candidates would have the same name.", where="--candidates", code="setting")
    return out


def _usual(config: AutoTree, side: int) -> list[tuple[str, str, str]]:
    """(network, weights, adapt) of those that are taken where none are named."""
    known: list[str] = []
    if config.model.weights == "pretrained":
        known = usual_networks("pretrained", side)
    elif config.model.weights != "none" or not is_set(config, "model.weights"):
        known = _cached()
    found = [(name, "pretrained", adapt) for name in known[: MOST // 2] for adapt in ("head", "full")]
    if config.model.weights == "pretrained":
        return found
    scratch = [(name, "none", "full") for name in usual_networks("none", side)]
    return found + scratch[: max(2, MOST - len(found))] if found else scratch


def usual_networks(weights: str, side: int) -> list[str]:
    """Networks for images of this side, pixels: to learn from scratch, or ('pretrained') whose weights are here.

    Where none are here, the first of PRETRAINED, whose weights are then fetched, or refused with what to do.
    """
    if weights == "pretrained":
        return _cached() or [PRETRAINED[0]]
    return list(SCRATCH[min(SCRATCH, key=lambda size: abs(size - side))])


def _cached() -> list[str]:
    """Those of PRETRAINED whose weights are on this machine."""
    from anmok.models.catalog import is_cached, weights_of

    return [n for n in PRETRAINED if (repo := weights_of(n)[0]) and is_cached(repo)]


def _starts(config: AutoTree) -> list[tuple[str, str]]:
    """(weights, adapt) of a named network: from weights of others the head alone is tried too, unless it is said."""
    weights, adapt = config.model.weights, config.model.adapt
    if weights == "none" or is_set(config, "model.adapt"):
        return [(weights, adapt)]
    return [(weights, "head"), (weights, "full")]


def _candidate(config: AutoTree, task: str, side: int, name: str, weights: str, adapt: str) -> Candidate:
    from anmok.models.families import accepts

    layer: dict[str, Any] = {"model": {"name": name, "weights": weights, "adapt": adapt}}
    own = accepts(name)
    if own.variable:
        wanted = max(side, SIDE) if weights != "none" and side < SIDE else side
        layer["preprocess"] = {"image_size": max(own.minimum, round(wanted / own.multiple) * own.multiple)}
    if weights == "none" and adapt == "full":
        layer |= FROM_SCRATCH | (SMOOTHING if task == "multiclass" else {}) | (TINY if side <= SMALL else PHOTOS)
    given = {path: value for path, value in chosen(config).items() if not path.startswith("model.")}
    if adapt == "head" and not any(path in given for path in ("optim.name", "optim.lr")):
        layer["optim"] = {"lr": HEAD_LR}
    if task == "multilabel":
        layer["augment"] = layer.get("augment", {}) | WHOLE
    if any(path.startswith("augment.") for path in given):
        layer.pop("augment", None)
    more = {path: value for path, value in chosen(config).items() if path.startswith("model.")}
    for path in ("model.name", "model.weights", "model.adapt"):
        more.pop(path, None)
    told = "" if weights == "none" else f", {'pretrained' if weights == 'pretrained' else 'given weights'}, {adapt}"
    return Candidate(f"{name}{told}", resolve(TrainConfig, layer, given, more))


def chosen(config: AutoTree) -> dict[str, Any]:
    """{path: value} of what the user set of a training; not the time, which is that of everything."""
    out = {}
    for leaf in leaves(TrainConfig):
        if leaf.path in ("minutes", "epochs") or not is_set(config, leaf.path):
            continue
        value: Any = config
        for part in leaf.path.split("."):
            value = getattr(value, part)
        out[leaf.path] = value
    return out


def save_candidates(folder: Path, candidates: list[Candidate]) -> None:
    """Write each as candidates/NN-NAME.toml, which `anmok train --config` takes."""
    make_folder(folder / "candidates")
    for number, candidate in enumerate(candidates):
        head = f"# {candidate.name}\n"
        path = folder / "candidates" / f"{number:02d}-{candidate.place}.toml"
        write_atomic(path, head + dump_toml(candidate.config))


def load_candidates(folder: Path) -> list[Candidate]:
    """As they were saved."""
    out = []
    for path in sorted((folder / "candidates").glob("*.toml")):
        name = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        out.append(Candidate(name, resolve(TrainConfig, read_toml(path))))
    return out


def by_name(candidates: list[Candidate]) -> Mapping[str, Candidate]:
    """The candidates by their names."""
    return {candidate.name: candidate for candidate in candidates}
