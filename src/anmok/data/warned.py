"""Pillow warns about odd files through Python's `warnings`, whose filters are shared by all threads.

Changing those filters around a decode would race with every other thread that does the same. Instead Pillow's readers
get a stand-in for the module: while a thread is inside `pillow_warnings_kept` its warnings are collected for it, and
those of anybody else go where they always went.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_here = threading.local()
_lock = threading.Lock()
_READERS = ("PIL.Image", "PIL.TiffImagePlugin", "PIL.PngImagePlugin")


class _Warnings:
    """What Pillow sees as the module `warnings`."""

    def warn(self, message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **more: Any) -> None:
        kept = getattr(_here, "kept", None)
        if kept is None:
            warnings.warn(message, category, stacklevel + 1, source, **more)
        else:
            kept.append(str(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


_stand_in = _Warnings()


@contextlib.contextmanager
def pillow_warnings_kept() -> Iterator[list[str]]:
    """Collect what Pillow's readers warn of in this thread, instead of letting it out."""
    for name in _READERS:
        module: Any = importlib.import_module(name)
        if module.warnings is not _stand_in:
            with _lock:
                module.warnings = _stand_in
    before = getattr(_here, "kept", None)
    kept: list[str] = []
    _here.kept = kept
    try:
        yield kept
    finally:
        _here.kept = before
