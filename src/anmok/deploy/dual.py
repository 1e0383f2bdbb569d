"""The folder of a dual encoder of one's own: image tower, text tower, tokenizer; nothing in it runs code.

config.json, image.safetensors, text.safetensors, tokenizer.json, preprocess.json, README.md and MANIFEST.sha256.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.core.files import new_folder, read_json, write_atomic, write_json, write_manifest
from anmok.deploy.portable import plain, plain_tensors
from anmok.deploy.safety import check_folder
from anmok.models.encoder import Encoder
from anmok.models.networks import build_network
from anmok.models.text_tokens import Tokenizer
from anmok.models.text_tower import TextTower
from anmok.models.two_towers import TwoTowers
from anmok.models.weights import differences, read_weights

VERSION = 1
KIND = "anmok-dual-encoder"
NEEDED = ("config.json", "image.safetensors", "text.safetensors", "tokenizer.json", "preprocess.json")
OUTPUTS = 10  # of the head that the image network is built with, which goes at once
_PARTS = ("image_projection.weight", "text_projection.weight", "log_scale", "offset")


@dataclass(frozen=True)
class DualCard:
    """What the folder's README says besides: on how many images, how it was trained, and how well it finds."""

    name: str = "dual encoder"
    images: Mapping[str, int] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    recall: Mapping[str, str] = field(default_factory=dict)


def save_dual(
    folder: Path | str, towers: TwoTowers, preprocess: Preprocess, *, architecture: str, text: Mapping[str, int],
    model_args: Mapping[str, Any] | None = None, card: DualCard | None = None,
) -> Path:  # fmt: skip
    """Write a dual encoder in float32; an existing folder is replaced at the end.

    architecture: the name the image network was built by, or 'object' (then `load_dual` needs the module again). text:
    width, depth and heads of the text tower. model_args: what the image network was given besides channels and size.
    """
    from safetensors.torch import save_file

    own = {k: v.detach().float().cpu().contiguous().clone() for k, v in towers.state_dict().items() if k in _PARTS}
    words = {f"tower.{k}": v.detach().float().cpu().contiguous() for k, v in towers.text.state_dict().items()}
    config = {
        "architecture": KIND,
        "image": {"architecture": architecture, "model_args": dict(model_args or {}), "width": towers.encoder.width},
        "text": {**text, "vocabulary": towers.tokenizer.size, "length": towers.tokenizer.length},
        "dim": towers.dim, "kind": towers.kind, "scale": towers.scale, "bias": towers.bias,
        "anmok": {"version": VERSION, "heads": list(towers.encoder.heads)},
    }  # fmt: skip
    with new_folder(folder) as temporary:
        save_file(plain_tensors(plain(towers.encoder.backbone)), temporary / "image.safetensors", {"format": "pt"})
        save_file(words | own, temporary / "text.safetensors", {"format": "pt"})
        write_json(temporary / "tokenizer.json", towers.tokenizer.to_dict())
        write_json(temporary / "config.json", config)
        write_json(temporary / "preprocess.json", preprocess.to_dict())
        write_atomic(temporary / "README.md", write_dual_card(card or DualCard(), config, preprocess))
        write_manifest(temporary)
    return Path(folder)


def dual_folder(path: Path | str) -> Path | None:
    """The folder of a dual encoder that a path means, it or a run that has one; None where there is none."""
    for folder in (Path(path), Path(path) / "model"):
        file = folder / "config.json"
        if file.is_file():
            config = read_json(file)
            if isinstance(config, dict) and config.get("architecture") == KIND:
                return folder
    return None


def refuse_dual(folder: Path) -> None:
    """UsageError where a folder holds a dual encoder, and a classifier is wanted.  What is damaged is passed over."""
    found = None
    with contextlib.suppress(DataError):
        found = dual_folder(folder)
    if found is not None:
        raise UsageError(
            "a dual encoder, which knows no classes of its own.", where=str(folder), code="model",
            remedy='Name them: anmok zeroshot IMAGES --classes "a,b" --model RUN; or start a training of a classifier '
            "from its image tower: anmok train DATA --weights RUN.",
        )  # fmt: skip


def load_dual(path: Path | str, *, module: Any = None, device: str | torch.device = "cpu") -> TwoTowers:
    """The dual encoder of a folder or of a run, in evaluation mode; its `preprocess` says what it wants of images.

    module: the image network, where it was given as an object.  DataError: codes `pickle`, `tampered`, `remote-code`,
    `version`, `damaged`, `weights-mismatch`, `module`; UsageError where there is none.
    """
    folder = dual_folder(path)
    if folder is None:
        raise UsageError(
            "no dual encoder here.", where=str(path), code="model",
            remedy="Expected a run of `anmok train PAIRS --objective image-text`, or its model/ folder.",
        )  # fmt: skip
    check_folder(folder, NEEDED)
    config, saved = read_json(folder / "config.json"), read_json(folder / "preprocess.json")
    preprocess = Preprocess.from_dict(saved)
    tokenizer = Tokenizer.from_dict(read_json(folder / "tokenizer.json"), str(folder / "tokenizer.json"))
    try:
        version, image, text = config["anmok"]["version"], config["image"], config["text"]
        sizes = {name: int(text[name]) for name in ("width", "depth", "heads")}
        dim, kind = int(config["dim"]), str(config["kind"])
        name, args = str(image["architecture"]), dict(image["model_args"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"its settings are damaged ({error}).", where=str(folder), code="damaged") from error
    if version != VERSION:
        raise DataError(f"version {version!r} is not known here.", where=str(folder), code="version")
    if name == "object" and module is None:
        raise DataError(
            "its image network was given as an object.", where=str(folder), code="module",
            remedy="Load it from Python and pass the network: load_dual(path, module=network).",
        )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        network = module if name == "object" else build_network(
            name, OUTPUTS, preprocess.depth, preprocess.image_size, args, forbidden=folder
        )  # fmt: skip
        encoder = Encoder(network, OUTPUTS, preprocess.image_size, preprocess.depth)
        tower = TextTower(tokenizer.size, tokenizer.length, **sizes)
        towers = TwoTowers(encoder, tower, tokenizer, preprocess.mean, preprocess.std, dim, kind)
    tensors = {f"encoder.backbone.{k}": v for k, v in read_weights(folder / "image.safetensors").items()}
    for key, value in read_weights(folder / "text.safetensors").items():
        tensors[f"text.{key.removeprefix('tower.')}" if key.startswith("tower.") else key] = value
    own = towers.state_dict()
    if problems := differences(own, tensors, set(own)):
        raise DataError(
            f"the weights do not fit the networks: {problems}.", where=str(folder), code="weights-mismatch",
            remedy="Load it with the versions that wrote it.",
        )  # fmt: skip
    towers.load_state_dict(tensors)
    towers.image_size, towers.preprocess = preprocess.image_size, dict(saved)
    return towers.eval().requires_grad_(False).to(device)


def write_dual_card(card: DualCard, config: Mapping[str, Any], preprocess: Preprocess) -> str:
    """The text of README.md."""
    from anmok.deploy.encoder import _text

    images = ", ".join(f"{n:,} ({split})" for split, n in card.images.items()) or "unknown"
    size, text = preprocess.image_size, config["text"]
    rows = "\n".join(f"- {k}: {_text(v)}" for k, v in (("pairs", images), *card.training.items()))
    found = "\n".join(f"- {k}: {_text(v)}" for k, v in card.recall.items()) or "not measured: no validation pairs."
    loss = "a softmax over texts" if config["kind"] == "softmax" else "a sigmoid of each pair"
    return "\n\n".join([
        "---\nlibrary_name: anmok\ntags:\n- zero-shot-image-classification\n- image-text-retrieval\n- anmok\n---",
        f"# {_text(card.name)}\n\nImages and texts as vectors of {config['dim']} numbers: "
        f"`{config['image']['architecture']}` for images, a transformer of {text['depth']} blocks and width "
        f"{text['width']} for texts.",
        f"## Training\n\n{rows}", f"## Retrieval on validation pairs\n\n{found}",
        f"## Scores\n\n{config['scale']:.4g} · cosine + {config['bias']:.4g}, then {loss}.",
        f"## Preprocessing\n\n{size}×{size}, {preprocess.channels}, {preprocess.fit}; preprocess.json is complete.",
        '## Use\n\n```\nanmok search IMAGES --query "a text" --model THIS_FOLDER\n'
        'anmok zeroshot IMAGES --classes "a,b" --model THIS_FOLDER\n```',
        "## Limits\n\n- It knows the words of the captions it was trained on; another word is a guess from its letters."
        "\n- It may hold what its captions are biased in.",
    ]) + "\n"  # fmt: skip
