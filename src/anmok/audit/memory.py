"""The memory account: what the images take in each form, what this machine has, and what would fit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from anmok.core.machine import free_memory_bytes, memory_bytes
from anmok.core.text import size_text

if TYPE_CHECKING:
    import polars as pl

SHORT_SIDE = 256  # of the pixels that a cache would hold for training at 224
_CHANNELS, _FLOAT = 3, 4
_SHARE = 0.5  # of the free memory; the rest is the model's and the system's
_FORMS = {
    "float32_bytes": "all pixels as float32",
    "uint8_bytes": "all pixels as uint8",
    "decoded_256_bytes": f"the pixels at {SHORT_SIDE} of the short side as uint8",
    "files_bytes": "the files",
}


def account(images: pl.DataFrame, *, image_size: int = 224, batch_size: int = 64) -> dict[str, Any]:
    """What `images` (a row each: bytes, width, height, fault) take as RGB, what there is, and `fits`, a sentence.

    files_bytes; uint8_bytes and float32_bytes: every pixel of the readable ones; decoded_256_bytes: the same as uint8,
    scaled down to a short side of at most 256 pixels (one epoch, as a cache holds it); batch_uint8_bytes and
    batch_bytes (float32): of batch_size squares of image_size; ram_bytes, ram_free_bytes; gpu_bytes, gpu_free_bytes: of
    the current GPU, None where nobody has loaded PyTorch yet, or it sees none.
    """
    readable = images.filter(images["fault"].is_null())
    pixels = int((readable["width"] * readable["height"]).sum())
    batch = batch_size * image_size**2 * _CHANNELS
    gpu_free, gpu = gpu_memory()
    sizes: dict[str, Any] = {
        "files_bytes": int(images["bytes"].sum()),
        "uint8_bytes": pixels * _CHANNELS,
        "float32_bytes": pixels * _CHANNELS * _FLOAT,
        "decoded_256_bytes": decoded_pixels(readable) * _CHANNELS,
        "batch_uint8_bytes": batch,
        "batch_bytes": batch * _FLOAT,
        "ram_bytes": memory_bytes(),
        "ram_free_bytes": free_memory_bytes(),
        "gpu_bytes": gpu,
        "gpu_free_bytes": gpu_free,
    }
    return sizes | {"fits": fit(sizes)}


def decoded_pixels(images: pl.DataFrame, short_side: int = SHORT_SIDE) -> int:
    """Pixels of all images, each scaled down to a short side of at most `short_side`."""
    import polars as pl

    short = pl.min_horizontal("width", "height")
    scale = short_side / pl.max_horizontal(short, pl.lit(short_side))
    width, height = ((pl.col(side) * scale).round() for side in ("width", "height"))
    return int(images.select((width * height).sum()).item())


def gpu_memory() -> tuple[int, int] | tuple[None, None]:
    """(free, total) bytes of the current GPU where the process has PyTorch loaded already, else (None, None)."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None, None
    free, total = torch.cuda.mem_get_info()
    return int(free), int(total)


def fit(sizes: dict[str, Any]) -> str:
    """One sentence: which forms of the set fit into half of the memory that is free, in RAM and on the GPU."""
    forms = [(text, sizes[name]) for name, text in _FORMS.items()]
    places = [("RAM", sizes["ram_free_bytes"]), ("GPU memory", sizes["gpu_free_bytes"])]
    return "; ".join(_fits(name, free, forms) for name, free in places if free is not None) + "."


def _fits(place: str, free: int, forms: list[tuple[str, int]]) -> str:
    """The largest form that fits there, and the first that does not."""
    room = free * _SHARE
    fitting = max((form for form in forms if form[1] <= room), key=lambda form: form[1], default=None)
    beyond = min((form for form in forms if form[1] > room), key=lambda form: form[1], default=None)
    held = f"holds {fitting[0]} ({size_text(fitting[1])})" if fitting else "holds none of it"
    more = f", not {beyond[0]} ({size_text(beyond[1])})" if beyond else ""
    return f"half of the {size_text(free)} of free {place} {held}{more}"
