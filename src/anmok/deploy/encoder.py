"""The encoder folder: a network without its head, to start other trainings from; timm loads its tensors too.

config.json, model.safetensors, preprocess.json, README.md and MANIFEST.sha256 over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anmok.augment.preprocess import Preprocess
from anmok.core.files import new_folder, write_atomic, write_json, write_manifest
from anmok.deploy.portable import plain, plain_tensors
from anmok.models.encoder import Encoder
from anmok.models.networks import kind_of

VERSION = 1


@dataclass(frozen=True)
class EncoderCard:
    """What the folder's README says besides: where it comes from, on how many images, how, and how far it got."""

    name: str = "encoder"
    images: Mapping[str, int] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, float] = field(default_factory=dict)


def save_encoder(
    folder: Path | str, encoder: Encoder, preprocess: Preprocess, *, architecture: str, objective: Mapping[str, Any],
    model_args: Mapping[str, Any] | None = None, card: EncoderCard | None = None,
) -> Path:  # fmt: skip
    """Write the network of an encoder, float32, without its head; an existing folder is replaced at the end.

    architecture: the name it was built by, or 'object'. objective: what it has learned from, kept in config.json.
    model_args: what it was given besides channels and size. `anmok train --weights FOLDER` starts from it, and for
    timm's names `timm.create_model(architecture, num_classes=0)` takes its tensors as they are.
    """
    from safetensors.torch import save_file

    tensors = plain_tensors(plain(encoder.backbone))
    config = encoder_config(encoder, preprocess, architecture, objective, dict(model_args or {}))
    with new_folder(folder) as temporary:
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "config.json", config)
        write_json(temporary / "preprocess.json", preprocess.to_dict())
        write_atomic(temporary / "README.md", write_encoder_card(card or EncoderCard(), config, preprocess))
        write_manifest(temporary)
    return Path(folder)


def encoder_config(
    encoder: Encoder, preprocess: Preprocess, architecture: str, objective: Mapping[str, Any],
    model_args: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The content of config.json; for timm's networks with what timm reads."""
    timm = architecture != "object" and kind_of(architecture) == "timm"
    config: dict[str, Any] = {
        "architecture": architecture.split(".")[0] if timm else architecture,
        "num_classes": 0,
        "num_features": encoder.width,
    }
    if timm:
        own: Any = getattr(plain(encoder.backbone), "pretrained_cfg", {})
        size = [preprocess.depth, preprocess.image_size, preprocess.image_size]
        args = {"in_chans": preprocess.depth, **model_args}
        if own.get("fixed_input_size"):
            args["img_size"] = preprocess.image_size
        config |= {
            "model_args": args,
            "pretrained_cfg": {
                "custom_load": False, "input_size": size, "fixed_input_size": bool(own.get("fixed_input_size")),
                "interpolation": "bilinear", "crop_pct": 1.0, "mean": list(preprocess.mean),
                "std": list(preprocess.std), "num_classes": 0, "pool_size": None, "first_conv": own.get("first_conv"),
                "classifier": own.get("classifier"),
            },
        }  # fmt: skip
    return {**config, "anmok": {"version": VERSION, "objective": dict(objective), "heads": list(encoder.heads)}}


def write_encoder_card(card: EncoderCard, config: Mapping[str, Any], preprocess: Preprocess) -> str:
    """The text of README.md."""
    name, objective = config["architecture"], config["anmok"]["objective"]
    timm = "pretrained_cfg" in config
    images = ", ".join(f"{n:,} ({split})" for split, n in card.images.items()) or "unknown"
    rows = [("images", images), ("objective", ", ".join(f"{k} {v}" for k, v in objective.items()))]
    rows += list(card.training.items())
    probes = "\n".join(f"- {name}: {value:.4f}" for name, value in card.probes.items())
    size, channels = preprocess.image_size, preprocess.channels
    use = f"```\nanmok train DATA --model {name} --image-size {size} --channels {channels} --weights THIS_FOLDER\n```"
    if timm:
        args = "".join(f", {k}={v}" for k, v in config["model_args"].items())
        use += (
            "\n\nor, with timm alone:\n\n```python\nimport timm\nfrom safetensors.torch import load_file\n\n"
            f"encoder = timm.create_model({name!r}, num_classes=0{args})\n"
            'encoder.load_state_dict(load_file("model.safetensors"))\n```'
        )
    sections = [
        "---\nlibrary_name: " + ("timm" if timm else "anmok") + "\ntags:\n- feature-extraction\n- anmok\n---",
        f"# {_text(card.name)}\n\nA network without a head (`{name}`, {config['num_features']} numbers an image), "
        "trained with anmok by a task made of the images themselves. It names no classes: it is a start for a training "
        "that does.",
        "## Training\n\n" + "\n".join(f"- {k}: {_text(v)}" for k, v in rows),
        "## Monitors\n\n" + (probes or "none: there were no labels to measure with.") + "\n\nknn and linear are the "
        "accuracy of nearest neighbours and of a linear classifier on validation images, from some of the labelled "
        "training images; they say how a training went, and nothing about a finished classifier.",
        f"## Preprocessing\n\n{size}×{size}, {channels}, {preprocess.fit}; mean {_numbers(preprocess.mean)}, standard "
        f"deviation {_numbers(preprocess.std)} of pixels in [0, 1]; preprocess.json is complete.",
        f"## Use\n\n{use}",
        "## Limits\n\n- It knows images like those it was trained on.\n- It may hold what the images are biased in; "
        "nobody chose what it learned.",
    ]
    return "\n\n".join(sections) + "\n"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:.4g}" for v in values)


def _text(value: str) -> str:
    """Text of the user's that ends up in Markdown: no markup, no line of its own."""
    import html

    return html.escape(" ".join(str(value).split()), quote=False).replace("`", "'")
