"""Images that a diffusion model makes (Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022, arXiv:2112.10752).

What is to be made is a list of orders, a pure function of the seed; each order is one image whatever else is made.
Image to image follows Meng et al. 2022 (SDEdit, arXiv:2108.01073).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from anmok.core.errors import DataError, UsageError

TEXT, IMAGE = "text", "image"  # modes
NOT_FINITE, FLAGGED = "not-finite", "flagged"  # what can be wrong with an image when it is made
SIDE = 512  # pixels, where a model does not say what it was trained on


class Start(NamedTuple):
    """An image to begin with and what is said of it: its id, its reference, and a prompt or ''."""

    id: str
    image: str
    prompt: str = ""


class Order(NamedTuple):
    """One image to be made: of which class (its place in the table's classes), its number there from 0 on, the seed of
    its noise, its prompt, and the image it begins with (mode image) or None.
    """

    label: int
    number: int
    seed: int
    prompt: str
    start: Start | None = None


class Painting(NamedTuple):
    """image: uint8[H, W, 3]; fault: '' or why it cannot be used: `not-finite` or `flagged` (by the model's own safety
    checker).
    """

    image: np.ndarray
    fault: str = ""


class Painter(Protocol):
    """What makes an image. name, hash: of the model, as they are written down."""

    name: str
    hash: str

    def paint(self, prompt: str, seed: int, start: np.ndarray | None) -> Painting:
        """The image of a prompt and a seed; start: uint8[H, W, 3] to begin with, None for text to image."""
        ...


class Strokes(NamedTuple):
    """How it is painted; None leaves it to the model. steps: of denoising; guidance: how much the prompt weighs (Ho &
    Salimans 2022, arXiv:2207.12598); size: pixels of the (short) side; negative: what must not be seen; strength: of
    the noise over the start, in (0, 1].
    """

    steps: int | None = None
    guidance: float | None = None
    size: int | None = None
    negative: str | None = None
    strength: float = 0.6

    def check(self) -> None:
        """UsageError for a value out of its bounds."""
        wrong = None
        if self.steps is not None and self.steps < 1:
            wrong = "--steps", f"at least 1, found {self.steps}"
        elif self.size is not None and self.size < 8:
            wrong = "--size", f"at least 8 pixels, found {self.size}"
        elif not 0 < self.strength <= 1:
            wrong = "--strength", f"above 0 and up to 1, found {self.strength:g}"
        elif self.steps is not None and int(self.steps * self.strength) < 1:
            wrong = "--strength", f"such that a step is left of {self.steps}, found {self.strength:g}"
        if wrong is not None:
            raise UsageError(f"expected {wrong[1]}.", where=wrong[0], code="setting")


def seed_of(seed: int, label: str, number: int) -> int:
    """The seed of an image's noise, below 2^63: of its class and number, so that it does not depend on the others."""
    text = f"{seed}\0{label}\0{number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def orders(
    label: int, name: str, count: int, prompts: Sequence[str], *, seed: int = 0, starts: Sequence[Start] = (),
    mode: str = TEXT,
) -> list[Order]:  # fmt: skip
    """`count` images of a class: prompts (and in mode image the starts) take turns, in an order drawn by the seed.

    starts that bring a prompt of their own (a caption) are painted with it. The first n of more orders are the same n.
    DataError (code no-images) where mode image has nothing to begin with.
    """
    if mode == IMAGE and not starts:
        raise DataError(f"no training image of {name} to begin with.", where="--mode image", code="no-images")
    rng = np.random.default_rng(seed_of(seed, name, -1))
    turns = rng.permutation(len(starts)).tolist()
    out = []
    for number in range(count):
        start = starts[turns[number % len(turns)]] if turns else None
        prompt = start.prompt if start is not None and start.prompt else prompts[number % len(prompts)]
        out.append(Order(label, number, seed_of(seed, name, number), prompt, start if mode == IMAGE else None))
    return out


class PipelinePainter:
    """A pipeline of diffusers as a Painter: one image a call, its noise from a generator of its own on the host."""

    def __init__(self, pipe: Any, name: str, mark: str, strokes: Strokes):
        self.pipe, self.name, self.hash, self.strokes = pipe, name, mark, strokes
        self._known = set(inspect.signature(pipe.__call__).parameters)

    def paint(self, prompt: str, seed: int, start: np.ndarray | None) -> Painting:
        """See `Painter`; equal for equal prompt, seed and start on one kind of machine."""
        import torch

        s = self.strokes
        noise = torch.Generator("cpu").manual_seed(seed)
        asked: dict[str, Any] = {
            "num_inference_steps": s.steps, "guidance_scale": s.guidance, "negative_prompt": s.negative
        }  # fmt: skip
        if start is None:
            asked |= {"height": s.size, "width": s.size}
        else:
            asked |= {"image": fitted_start(start, s.size or self.side), "strength": s.strength}
        asked = {k: v for k, v in asked.items() if v is not None and k in self._known}
        made = self.pipe(prompt=prompt, generator=noise, output_type="np", **asked)
        flags = getattr(made, "nsfw_content_detected", None)
        return finished(np.asarray(made.images[0]), bool(flags and flags[0]))

    @property
    def side(self) -> int:
        """Pixels of the side that the model was trained on, as far as it says."""
        net = getattr(self.pipe, "unet", None) or getattr(self.pipe, "transformer", None)
        side = getattr(getattr(net, "config", None), "sample_size", None)
        return int(side) * int(getattr(self.pipe, "vae_scale_factor", 8)) if isinstance(side, int) else SIDE


def finished(pixels: np.ndarray, flagged: bool = False) -> Painting:
    """The painting of pixels float[H, W, 3] in [0, 1], rounded to uint8; NaN and infinity become 0 and are a fault."""
    finite = bool(np.isfinite(pixels).all())
    image = np.clip(np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0), 0, 1)
    fault = "" if finite and not flagged else FLAGGED if finite else NOT_FINITE
    return Painting((image * 255).round().astype(np.uint8), fault)


def fitted_start(image: np.ndarray, side: int, multiple: int = 8) -> Any:
    """The start uint8[H, W, 3] as a Pillow image whose short side is `side`, both sides whole multiples of 8 pixels."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = [max(multiple, round(length * scale / multiple) * multiple) for length in (width, height)]
    return Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.LANCZOS)
