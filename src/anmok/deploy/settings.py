"""config.json of a model folder: what timm and transformers read, and under `anmok` what we need besides."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.types import Task
from anmok.deploy.portable import Portable
from anmok.models.networks import kind_of
from anmok.models.norms import NORMS

VERSION = 1

# What a folder may pass to the network's constructor: nothing that names a file or an address.
MODEL_ARGS = ("in_chans", "img_size", "drop_rate", "drop_path_rate")
OPTIONS = ("drop_rate", "drop_path_rate", "norm", "pool")  # what a network is given besides classes, channels and size
CHOICES = {"norm": NORMS, "pool": ("bilinear",)}
ARGUMENTS = ("num_classes", "in_chans", "in_channels", "img_size", "image_size")

_CROP_MODE = {"squash": "squash", "crop": "center", "letterbox": "border"}


def build_config(
    name: str, saved: Portable, classes: list[str], task: Task, preprocess: Preprocess, options: dict[str, Any],
    backbone: nn.Module,
) -> dict[str, Any]:  # fmt: skip
    """The content of config.json."""
    ours = {
        "version": VERSION, "task": task, "outputs": saved.outputs, "gray_convs": list(saved.gray_convs),
        "module": saved.module, "arguments": saved.arguments,
        "options": options if name != "object" and (kind_of(name) == "own" or "pool" in options) else {},
    }  # fmt: skip
    if isinstance(tower := getattr(backbone, "anmok_tower", None), dict):  # the image tower of a dual encoder
        ours["tower"] = tower
    config: dict[str, Any] = {
        "architecture": name if name == "object" or kind_of(name) != "timm" else name.split(".")[0],
        "num_classes": saved.outputs,
        "label_names": classes,
        "problem_type": "multi_label_classification" if task == "multilabel" else "single_label_classification",
    }
    if others_load(name, saved.outputs, len(classes)) and "pool" not in options:
        # without num_classes here: transformers passes it a second time
        config |= {
            "architectures": ["TimmWrapperForImageClassification"], "model_type": "timm_wrapper", "dtype": "float32",
            "num_features": int(getattr(backbone, "num_features", 0)),
            "model_args": {"in_chans": saved.channels, **_size_arg(backbone, preprocess), **options},
            "pretrained_cfg": _timm_cfg(backbone, saved, preprocess),
        }  # fmt: skip
    return {**config, "anmok": ours}


def others_load(name: str, outputs: int, classes: int) -> bool:
    """Whether timm and transformers can build the network and read its logits."""
    return name != "object" and kind_of(name) == "timm" and outputs == classes


def _size_arg(backbone: nn.Module, preprocess: Preprocess) -> dict[str, int]:
    cfg: Any = getattr(backbone, "pretrained_cfg", {})
    return {"img_size": preprocess.image_size} if cfg.get("fixed_input_size") else {}


def _timm_cfg(backbone: nn.Module, saved: Portable, preprocess: Preprocess) -> dict[str, Any]:
    """timm's pretrained_cfg: our deterministic resize in timm's words."""
    own: Any = getattr(backbone, "pretrained_cfg", {})
    repeat = saved.channels // preprocess.depth
    return {
        "tag": own.get("tag"),
        "custom_load": False,
        "input_size": [saved.channels, preprocess.image_size, preprocess.image_size],
        "fixed_input_size": bool(own.get("fixed_input_size")),
        "interpolation": preprocess.resample,
        "crop_mode": _CROP_MODE[preprocess.fit],
        "crop_pct": _crop_pct(preprocess),
        "mean": list(preprocess.mean) * repeat,
        "std": list(preprocess.std) * repeat,
        "num_classes": saved.outputs,
        "pool_size": None,
        "first_conv": own.get("first_conv"),
        "classifier": own.get("classifier"),
    }


def _crop_pct(preprocess: Preprocess) -> float:
    """The share for which timm, which rounds down, resizes the short side to as many pixels as we do."""
    if preprocess.fit != "crop":
        return 1.0
    size = preprocess.image_size
    short = round(size / preprocess.crop_pct)
    return preprocess.crop_pct if math.floor(size / preprocess.crop_pct) == short else size / (short + 0.5)


def _options_are_good(options: Any) -> bool:
    return isinstance(options, dict) and all(
        value in CHOICES[key] if key in CHOICES else key in OPTIONS and isinstance(value, int | float)
        for key, value in options.items()
    )


def read_config(config: Any, where: str) -> dict[str, Any]:
    """The content of config.json, checked.  DataError where it is of another version, or not a model folder of ours."""
    ours = config.get("anmok") if isinstance(config, dict) else None
    if not isinstance(ours, dict):
        raise DataError("this model folder was not written by anmok.", where=where, code="version")
    if ours.get("version") != VERSION:
        raise DataError(
            f"model folder version {ours.get('version')!r} is not known here, only {VERSION}.", where=where,
            remedy="Update anmok.", code="version",
        )  # fmt: skip
    args, names, outputs = config.get("model_args") or {}, config.get("label_names"), ours.get("outputs")
    own_args = ours.get("arguments") or {}
    wrong = [
        what
        for what, good in {
            "architecture": isinstance(config.get("architecture"), str),
            "label_names": isinstance(names, list) and len(names) > 1 and all(isinstance(n, str) for n in names),
            "anmok.task": ours.get("task") in ("binary", "multiclass", "multilabel"),
            "anmok.outputs": isinstance(names, list)
            and (outputs == len(names) or (outputs == 1 and len(names) == 2 and ours.get("task") == "binary")),
            "anmok.gray_convs": isinstance(ours.get("gray_convs", []), list),
            "anmok.arguments": isinstance(own_args, dict)
            and all(k in ARGUMENTS and isinstance(v, int) for k, v in own_args.items()),
            "anmok.options": _options_are_good(ours.get("options") or {}),
            "model_args": isinstance(args, dict) and all(isinstance(v, int | float) for v in args.values()),
        }.items()
        if not good
    ]
    unknown = sorted(set(args) - set(MODEL_ARGS)) if isinstance(args, dict) else []
    if wrong or unknown:
        what = f"wrong or missing: {', '.join(wrong)}" if wrong else f"unknown model_args: {', '.join(unknown)}"
        raise DataError(f"the settings are damaged ({what}).", where=where, code="damaged")
    return config
