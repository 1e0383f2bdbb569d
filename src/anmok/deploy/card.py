"""README.md of a model folder: what the model is, how good, how to use it, and what it is not for."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anmok.augment.preprocess import MARGIN, SIGMAS, Preprocess


class Score(NamedTuple):
    """A metric on a split with its 95 % interval; None where there is none."""

    split: str
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Card:
    """Facts that the folder itself does not hold.

    name: of the run or data; images: split to number of images; scores: on validation and test, as far as known;
    training: what to say of the training, name to text; license: an identifier such as 'apache-2.0', None if the owner
    has named none; limits: further sentences.
    """

    name: str = "image classifier"
    images: Mapping[str, int] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    training: Mapping[str, str] = field(default_factory=dict)
    license: str | None = None
    limits: tuple[str, ...] = ()


def write_card(card: Card, config: Mapping[str, Any], preprocess: Preprocess) -> str:
    """The text of README.md.  Names from the data are escaped: a class called <b> is shown as <b>."""
    loads_elsewhere = "pretrained_cfg" in config and preprocess.plain  # their transforms know the resize alone
    task, classes = config["anmok"]["task"], config["label_names"]
    sections = [
        _front_matter(card, loads_elsewhere),
        f"# {as_text(card.name)}\n\nA {_TASK[task]} of images into {len(classes)} classes, trained with anmok. "
        f"Network: `{_code(config['architecture'])}`.",
        "## Classes\n\n" + "\n".join(f"{i}. {as_text(c)}" for i, c in enumerate(classes)) + f"\n\n{_ANSWER[task]}",
        f"## Preprocessing\n\n{_preprocessing(preprocess, 'pretrained_cfg' in config)}",
        f"## Data and training\n\n{_training(card)}",
        f"## Results\n\n{_results(card)}",
        f"## Use\n\n{_usage(config, loads_elsewhere)}",
        "## Intended use and limits\n\n" + "\n".join(f"- {line}" for line in (*_LIMITS, *map(as_text, card.limits))),
    ]
    return "\n\n".join(sections) + "\n"


_TASK = {"binary": "yes/no classifier", "multiclass": "classifier", "multilabel": "multi-label classifier"}
_ANSWER = {
    "binary": "The two probabilities sum to 1.",
    "multiclass": "Each image belongs to one class; the probabilities sum to 1.",
    "multilabel": "An image may belong to any number of classes; each probability stands for itself.",
}
_LIMITS = (
    "Made for images like those it was trained on: same kind of camera, light, place and classes. Elsewhere its "
    "probabilities are not to be trusted before they are measured.",
    "It always answers with these classes, also for an image that shows none of them.",
    "Intervals cover the chance of which images were drawn, not a change of where images come from.",
    "Not for decisions about people, or where a mistake harms, without a person who decides.",
)


def _front_matter(card: Card, loads_elsewhere: bool) -> str:
    """YAML, of which JSON strings are a part."""
    tags = ["image-classification", "anmok", *(["timm", "transformers"] if loads_elsewhere else [])]
    lines = ["pipeline_tag: image-classification", f"library_name: {'timm' if loads_elsewhere else 'anmok'}", "tags:"]
    lines += [f"- {tag}" for tag in tags]
    if card.license:
        lines.insert(0, f"license: {json.dumps(card.license, ensure_ascii=False)}")
    return "\n".join(["---", *lines, "---"])


def _preprocessing(p: Preprocess, loads_elsewhere: bool) -> str:
    size = f"{p.image_size}×{p.image_size}"
    fit = {
        "squash": f"resized to {size} pixels, the aspect ignored",
        "crop": f"its short side resized to {round(p.image_size / p.crop_pct)} pixels, the central {size} kept",
        "letterbox": f"its long side resized to {p.image_size} pixels, padded to {size} with colour {p.background}",
    }[p.fit]
    text = (
        f"An image is turned as its EXIF tag says, converted to sRGB {'grey' if p.depth == 1 else 'RGB'}, laid on "
        f"colour {p.background} where it is transparent, {_equalized(p)}{fit} (Pillow's antialiased {p.resample} "
        f"filter), {_finished(p)}scaled to [0, 1], and normalised with mean {_numbers(p.mean)} and standard deviation "
        f"{_numbers(p.std)}."
    )
    if loads_elsewhere and p.plain and p.fit == "letterbox":
        text += " timm and transformers pad with the mean colour instead: their answers for a file may differ."
    if loads_elsewhere and not p.plain:
        text += (
            "\n\n**Only anmok prepares images so.** timm and transformers load the network, but their transforms do "
            f"not know these steps ({', '.join(p.steps())}): what they answer for an image file is wrong. Give them "
            'pixels that `anmok.load("FOLDER").preprocess.apply` has prepared.'
        )
    return text


def _equalized(p: Preprocess) -> str:
    """What is done to the histogram, as a part of a sentence."""
    light = "its luminance (Y of YCrCb)" if p.depth == 3 else "its grey"
    clahe = f"by CLAHE (clip limit {p.clip_limit:g}, {p.tiles}×{p.tiles} tiles)"
    how = {
        "none": "", "global": "the histogram of each channel equalised",
        "luminance": f"the histogram of {light} equalised", "clahe": f"the histogram of {light} equalised {clahe}",
    }[p.equalize]  # fmt: skip
    size = round(p.image_size * MARGIN)
    return f"its short side resized to {size} pixels where it is longer, {how}, " if how else ""


def _finished(p: Preprocess) -> str:
    """Colour space and range, as a part of a sentence."""
    space = "" if p.colorspace == "rgb" else f"converted to {p.colorspace} in OpenCV's 8-bit code, "
    if p.colorspace == "xyz":
        space = "converted to CIE XYZ in 8 bits as shares of white, "
    whole = "its channels together" if p.colorspace in ("rgb", "bgr") and p.depth == 3 else "each channel"
    spread = {
        "minmax": f"{whole} stretched from its own minimum and maximum to 0 and 255, ",
        "zscore": f"{whole} brought by its own mean and standard deviation to mean 127.5 and standard deviation "
        f"{127.5 / SIGMAS:g}, cut at 0 and 255, ",
    }  # fmt: skip
    return space + spread.get(p.normalize, "")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:.4g}" for v in values)


def _training(card: Card) -> str:
    lines = [f"- images, {as_text(split)}: {n:,}" for split, n in card.images.items()]
    lines += [f"- {as_text(name)}: {as_text(text)}" for name, text in card.training.items()]
    lines.append(
        f"- license: {as_text(card.license) if card.license else 'not stated; ask the owner of weights and data'}"
    )
    return "\n".join(lines)


def _results(card: Card) -> str:
    if not card.scores:
        return "Not measured."
    rows = ["| split | metric | value | 95 % interval |", "|---|---|---|---|"]
    for s in card.scores:
        value = "n/a" if s.value is None else f"{s.value:.4f}"
        interval = "" if s.low is None or s.high is None else f"{s.low:.4f} to {s.high:.4f}"
        rows.append(f"| {as_text(s.split)} | {as_text(s.name)} | {value} | {interval} |")
    return "\n".join(rows)


def _usage(config: Mapping[str, Any], loads_elsewhere: bool) -> str:
    ours, name = config["anmok"], config["architecture"]
    if name == "object" and not ours["module"]:
        lines = ['model = anmok.load("FOLDER", module=network)  # the network it was saved from']
    else:
        lines = ['model = anmok.load("FOLDER")']
    parts = ["```python\nimport anmok\n\n" + "\n".join([*lines, 'print(model.predict(["IMAGE"]))']) + "\n```"]
    code = ours["module"] if name == "object" else name if ":" in name else None
    if code:
        parts.append(
            f"The network is made by `{_code(code)}`, which anmok imports from where your own Python finds it, never "
            "from this folder."
        )
    if not loads_elsewhere:
        return "\n\n".join(parts)
    gray = config["model_args"]["in_chans"] == 1
    activation = "sigmoid()" if ours["task"] == "multilabel" else "softmax(dim=1)"
    parts += [
        "```python\nimport timm, torch\nfrom PIL import Image\n\n"
        'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n'
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n"
        "with torch.no_grad():\n"
        f'    probs = model(transform(Image.open("IMAGE").convert("{"L" if gray else "RGB"}"))[None]).{activation}\n'
        'print(dict(zip(model.pretrained_cfg["label_names"], probs[0].tolist())))\n```'
    ]
    if not gray:  # the pipeline reads every file as RGB
        parts.append(
            "```python\nfrom transformers import pipeline\n\n"
            f'classify = pipeline("image-classification", model="FOLDER", top_k={config["num_classes"]})\n'
            'print(classify("IMAGE"))\n```'
        )
    return "\n\n".join(parts)


def as_text(value: str) -> str:
    """A name as Markdown shows it: one line, nothing in it has a meaning."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", html.escape(line, quote=False))


def _code(value: str) -> str:
    return value.replace("`", "'")
