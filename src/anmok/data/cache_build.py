"""From a choice to the cache itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anmok.core.errors import MachineError
from anmok.core.progress import warn
from anmok.data.cache import NoCache, PixelCache, RamCache
from anmok.data.cache_account import Choice
from anmok.data.cache_file import FileCache
from anmok.data.cache_folder import cache_key, cache_root, evict
from anmok.data.cache_keys import image_keys
from anmok.data.device_cache import DeviceCache
from anmok.data.table import Table


def build_cache(
    choice: Choice, table: Table, settings: Mapping[str, Any], *, device: str = "cuda", root: Path | None = None,
    warn: Callable[[str], None] = warn,
) -> PixelCache:  # fmt: skip
    """The chosen cache for the rows of a table.

    settings: all that the pixels depend on besides the image's file, as plain values (see `cache_key`); root: of the
    caches on disk, by default `cache_root()`; older caches there make room for this one. Where that folder cannot be
    used nothing is kept, with a warning.
    """
    if choice.kind == "ram":
        return RamCache(choice.limit_bytes)
    if choice.kind == "device":
        return DeviceCache(choice.limit_bytes, device)
    if choice.kind == "none":
        return NoCache()
    root = root or cache_root()
    key = cache_key(settings, table.root)
    try:
        cache = FileCache(root, key, image_keys(table), limit_bytes=choice.limit_bytes, warn=warn)
    except (OSError, MachineError) as error:
        warn(f"decoded pixels are not kept on disk: {error}")
        return NoCache()
    evict(root, choice.limit_bytes, keep=key, need_bytes=choice.need_bytes)
    return cache
