"""The account of the cache: what decoded pixels take, what there is, so where they are kept, and why."""

from __future__ import annotations

from typing import NamedTuple, get_args

from anmok.core.errors import MachineError, UsageError, did_you_mean
from anmok.core.text import size_text
from anmok.data.cache import Kind
from anmok.data.cache_estimate import Estimate
from anmok.data.cache_folder import LIMIT

PART = 0.2  # of the images, the least that is kept without being asked
WANTED = ("auto", *get_args(Kind))
_ORDER: dict[str, tuple[Kind, ...]] = {
    "auto": ("ram", "disk"), "ram": ("ram",), "disk": ("disk", "ram"), "device": ("device", "ram", "disk"),
}  # fmt: skip
_KEPT = {"ram": "kept in RAM", "disk": "kept in files there", "device": "kept on the GPU"}


class Choice(NamedTuple):
    """Where pixels are kept, in at most limit_bytes, and why: one sentence for the user; need_bytes: what all take."""

    kind: Kind
    limit_bytes: int
    why: str
    need_bytes: int = 0


def choose_cache(
    wanted: str, estimate: Estimate, *, free_ram: int, free_disk: int, free_device: int | None = None,
    share: float = 0.5, epochs: int = 2, processes: int = 1,
) -> Choice:  # fmt: skip
    """Where the pixels are kept.

    auto: in RAM if all fit into this process's part of `share` of what is free; else on disk if they fit into half of
    what is free there and 50 GiB; else in RAM in part, if that is 20 % or more; else nowhere. What is asked for by name
    and does not fit gives way to the next best, and `why` says so; RAM asked for by name holds what it can.

    free_device: bytes, None without a GPU; epochs: how often each image is read (of one, auto keeps nothing);
    processes: that share this machine's RAM.  UsageError for an unknown name or a share outside (0, 1]; MachineError
    (code device) for `device` without a GPU.
    """
    if wanted not in WANTED:
        raise UsageError(f"no such cache: {wanted}.", remedy=did_you_mean(wanted, WANTED), code="setting")
    if not 0 < share <= 1:
        raise UsageError(f"a share is above 0 and at most 1, found {share}.", where="cache", code="setting")
    if wanted == "device" and free_device is None:
        raise MachineError(
            "there is no GPU whose memory could hold pixels.", where="--cache", code="device",
            remedy="Use --cache auto, ram or disk.",
        )  # fmt: skip
    about = "" if estimate.exact else "about "
    text = f"{estimate.images:,} images at {estimate.side} px are {about}{size_text(estimate.bytes)}"
    if wanted == "none":
        return Choice("none", 0, f"{text}: none of them kept, as was asked; every epoch decodes them again.")
    if wanted == "auto" and epochs <= 1:
        return Choice("none", 0, f"{text}: none of them kept, as each is read once.")
    rooms = _rooms(free_ram, free_disk, free_device or 0, share, processes)
    need = estimate.upper_bytes
    small: list[str] = []
    for kind in _ORDER[wanted]:
        room, name = rooms[kind]
        if need <= room:
            limit = need if kind == "device" else room
            return Choice(kind, limit, f"{text}{_more_than(small)}; {name} holds them: {_KEPT[kind]}.", need)
        small.append(name)
    ram = rooms["ram"][0]
    part = min(0.99, ram / max(1, estimate.bytes))
    if part >= PART or (wanted == "ram" and ram > 0):
        rest = f"{part:.0%} of them kept in RAM, the others decoded every epoch"
        return Choice("ram", ram, f"{text}{_more_than(small)}; {rest}.", need)
    return Choice("none", 0, f"{text}{_more_than(small)}; none of them kept, every epoch decodes them again.")


def _rooms(
    free_ram: int, free_disk: int, free_device: int, share: float, processes: int
) -> dict[Kind, tuple[int, str]]:
    """Of each place the bytes that pixels may take, and what to call them."""
    part = "half" if share == 0.5 else f"{share:.0%}"
    each = f", shared by {processes} processes," if processes > 1 else ""
    bounded = f"the {size_text(LIMIT)} that caches may take on disk"
    return {
        "ram": (int(free_ram * share / processes), f"{part} of the {size_text(free_ram)} of free RAM{each}"),
        "disk": (
            min(LIMIT, free_disk // 2),
            bounded if free_disk // 2 > LIMIT else f"half of the {size_text(free_disk)} of free disk",
        ),
        "device": (int(free_device * share), f"{part} of the {size_text(free_device)} of free GPU memory"),
    }


def _more_than(small: list[str]) -> str:
    """', more than half of the 4.0 GB of free RAM' and so on."""
    return f", more than {' and '.join(small)}".rstrip(",") if small else ""
