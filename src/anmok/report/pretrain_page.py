"""The page of a pretraining: how it learned, what it did with some images, what the encoder's vectors hold.

As for a run's page: every text is escaped, figures travel as JSON that no text can break out of, and a content security
policy allows the page's own scripts by their hash and nothing from anywhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.files import write_atomic
from anmok.report import words
from anmok.report.curves import curve
from anmok.report.page import fluid, vega_bundle
from anmok.report.pretrain_content import PretrainContent
from anmok.report.shell import asset, block, picture_address, script_hash, style, template
from anmok.report.theme import vega_config
from anmok.report.thumbnails import thumbnail

SIDE = 224  # pixels of a picture at most
ENLARGED = 128  # and at least: smaller ones are enlarged as squares, nothing is invented between their pixels


def write_pretrain_report(path: Path | str, content: PretrainContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render_pretrain(content))


def render_pretrain(content: PretrainContent) -> str:
    """The page as text."""
    figures = {name: fluid(figure) for name, figure in curves_of(content).items()}
    bundle, script = vega_bundle(), asset("report.js")
    return template("pretrain.html.j2", {"count": words.count, "picture": picture_of}).render(
        content=content,
        figures={name: block(figure) for name, figure in figures.items()},
        themes=block({"light": vega_config(), "dark": vega_config(dark=True)}),
        style=style("report.css", "pretrain.css"),
        bundle=bundle,
        script=script,
        hashes=[script_hash(bundle), script_hash(script)],
    )


def curves_of(content: PretrainContent) -> dict[str, Any]:
    """{title: figure} of loss, probes, retrieval, learning rate and speed; only those the history has."""
    history, best = content.history, content.best_epoch
    figures = {
        "Loss": curve(history, {"training": "loss", "validation": "val.loss"}, "loss", zero=False, best_epoch=best),
        "Probes": curve(
            history, {"linear": "val.linear", "nearest neighbours": "val.knn"}, "accuracy", number=".2f", zero=False,
            best_epoch=best,
        ),
        "Retrieval": curve(
            history,
            {"caption of an image": "val.image_to_text_r1", "image of a caption": "val.text_to_image_r1"},
            "recall@1", number=".2f", zero=False, best_epoch=best,
        ),
        "Learning rate": curve(history, {"learning rate": "lr"}, "learning rate", number="~g"),
        "Speed": curve(history, {"speed": "images_per_s"}, "images per second", number="~s"),
    }  # fmt: skip
    return {name: figure for name, figure in figures.items() if figure is not None}


def picture_of(image: np.ndarray) -> str:
    """The data address of a picture uint8[H, W, 1 | 3]; a small one by whole squares for each pixel."""
    times = max(1, -(-ENLARGED // max(image.shape[:2])))
    large = image.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else image
    return picture_address(thumbnail(large, max(SIDE, *large.shape[:2]) if times > 1 else SIDE, 82))
