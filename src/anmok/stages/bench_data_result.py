"""What `anmok bench data` found: its JSON, its text, and the advice that follows from the numbers."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from typing import Any

from anmok.core.text import size_text

CLOSE = 1.1  # times faster than the first epoch, from which later ones are said to be
MUCH = 0.3  # share of decoding from which a cache is worth naming


@dataclass(frozen=True)
class DataSpeed:
    """How fast training's loader delivers batches on this machine, without a model.

    images_per_s: of the later epochs, first_epoch_images_per_s: of the one that decodes and fills the cache, libraries
    loaded before. Rejected images count in none. decode_share: the share of the threads' time in the first epoch, in
    [0, 1], that reading, decoding and making smaller took, by a timer around each image in its thread, in which waiting
    for other threads counts. decode_limit_images_per_s: the same work alone on as many threads, files warm;
    share_of_decode_limit: of it that the first epoch reached, at most 1. images: that the first epoch read, of `rows`;
    split: `train` where the source says what is trained on, else `all`. later_epochs: whole ones; 0 where the time
    ended in the midst of the first of them, or the first epoch was not whole itself: later_images and later_s are then
    of what there was time for. cache, cache_bytes: where kept pixels lie, and what they take; cache_side: their short
    side, pixels, None where nothing is kept. peak_memory_bytes: growth of this process's own memory from before the
    first epoch, None where the system does not say.
    """

    images_per_s: float
    first_epoch_images_per_s: float
    decode_share: float
    decode_limit_images_per_s: float
    share_of_decode_limit: float
    images: int
    rows: int
    split: str
    rejected: int
    first_epoch_s: float
    first_epoch_whole: bool
    later_images: int
    later_s: float
    later_epochs: int
    image_size: int
    batch_size: int
    threads: int
    device: str
    policy: str
    cache: str
    cache_why: str
    cache_bytes: int
    cache_side: int | None
    peak_memory_bytes: int | None
    seed: int

    @property
    def advice(self) -> str:
        """What the numbers mean for a model."""
        steady, first = about(self.images_per_s), about(self.first_epoch_images_per_s)
        text = f"A model that trains on fewer than {steady:,} images/s never waits for data"
        if self.images_per_s > CLOSE * self.first_epoch_images_per_s:
            text += f", but in the first epoch, which brings {first:,}"
        text += "."
        if self.cache == "none" and self.decode_share >= MUCH:
            text += (
                f" {self.decode_share:.0%} of the threads' time is decoding, in every epoch: --cache ram or disk "
                "keeps decoded pixels."
            )
        elif self.cache != "none" and self.images_per_s <= CLOSE * self.first_epoch_images_per_s:
            text += " Keeping pixels gains little here: what takes the time is the augmentation."
        return text

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self) | {"advice": self.advice}

    def lines(self) -> list[tuple[str, str]]:
        """(what, finding) of every quantity, as text."""
        whole = "" if self.first_epoch_whole else f", of {self.rows:,} when its time was over"
        first = f"{self.first_epoch_images_per_s:,.0f} images/s ({self.images:,} images{whole})"
        epochs = f"{self.later_epochs} whole" if self.later_epochs else "a part of one"
        if not self.first_epoch_whole:
            epochs = "of the same images"
        kept = f", {size_text(self.cache_bytes)} at {self.cache_side} px" if self.cache != "none" else ""
        limit = f"{self.decode_limit_images_per_s:,.0f} images/s, of which the first epoch reached "
        memory = "not known here" if self.peak_memory_bytes is None else size_text(self.peak_memory_bytes)
        rejects = [("left out", f"{self.rejected:,} images that cannot be read")] if self.rejected else []
        return [
            ("first epoch", first),
            ("later epochs", f"{self.images_per_s:,.0f} images/s ({epochs}, {self.later_s:.1f} s)"),
            ("decoding", f"{self.decode_share:.0%} of the threads' time in the first epoch"),
            ("decoding alone", f"{limit}{self.share_of_decode_limit:.0%}"),
            ("cache", f"{self.cache}{kept}"),
            ("memory", f"{memory} at most, beyond what the program itself takes"),
            *rejects,
        ]

    @property
    def title(self) -> str:
        """What was measured."""
        which = "images" if self.split == "all" else f"{self.split} images"
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return (
            f"{self.rows:,} {which}, {self.policy}, {self.image_size} px, batches of {self.batch_size}, {threads}, "
            f"for {self.device}"
        )

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"  {name:<15} {text}" for name, text in self.lines()), self.advice])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(n)}</td><td>{html.escape(t)}</td></tr>" for n, t in self.lines())
        title, advice = html.escape(self.title), html.escape(self.advice)
        return f"<p>{title}</p><table>{rows}</table><p>{advice}</p>"


def about(rate: float) -> int:
    """A rate rounded down to two digits: 3,187 is 3,100, for what is promised."""
    if rate < 10:
        return math.floor(rate)
    step = 10 ** (math.floor(math.log10(rate)) - 1)
    return math.floor(rate / step) * step
