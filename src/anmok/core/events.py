"""What happens in a run, as one JSON object a line; bars, trackers and pages are readers of it."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_SECRET_NAME = re.compile(r"(token|secret|passw|api_?key|credential|authorization)", re.I)
_SECRET_TEXT = re.compile(
    r"(://[^/\s:@]+:)[^@\s/]+(@)"  # user:password@ in a URL
    r"|((?:token|secret|password|api_?key|authorization|signature)[\"']?\s*[=:]\s*[\"']?(?:bearer\s+)?)[^\s&\"',;]+"
    r"|\b(hf_|sk-|ghp_|github_pat_|AKIA|xox[bap]-)[A-Za-z0-9_\-]{8,}",
    re.I,
)


def redact(value: Any, name: str = "") -> Any:
    """The value with secrets replaced by '***': by the name of the key, or by their shape inside a text."""
    if isinstance(value, dict):
        return {k: redact(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(v, name) for v in value]
    if isinstance(value, str):
        if value and _SECRET_NAME.search(name):
            return "***"
        return _SECRET_TEXT.sub(lambda m: f"{m[1] or m[3] or m[4]}***{m[2] or ''}", value)
    return value


def finite(value: Any) -> Any:
    """NaN and infinities as None, so that what is written is valid JSON."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Events:
    """Append-only log of a run. `log(event, **fields)` writes one line and calls every listener with the object.

    `t` is seconds since the epoch. `position` is the byte length; `truncate` goes back to one (a resumed run forgets
    what was logged after its checkpoint).
    """

    def __init__(self, path: Path | None, listeners: list[Callable[[dict[str, Any]], None]] | None = None):
        self.path, self.listeners = path, listeners or []
        self._file = path.open("ab") if path else None
        if path and self._file and self._file.tell() and path.read_bytes()[-1:] != b"\n":
            self._file.write(b"\n")  # a killed run may have left half a line: it must not swallow the next one

    def log(self, event: str, **fields: Any) -> None:
        """Write one event and tell the listeners."""
        item = {"event": event, "t": round(time.time(), 3), **finite(redact(fields))}
        if self._file:
            self._file.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
        for listener in self.listeners:
            listener(item)

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._file.tell() if self._file else 0

    def sync(self) -> None:
        """Make what was logged durable (before a checkpoint that refers to it)."""
        if self._file:
            os.fsync(self._file.fileno())

    def truncate(self, position: int) -> None:
        """Forget everything after `position` bytes."""
        if self._file:
            self._file.truncate(position)
            self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def read_events(path: Path, event: str | None = None) -> Iterator[dict[str, Any]]:
    """The events of a log, in order; a torn last line is passed over."""
    if not path.exists():
        return
    with path.open("rb") as handle:
        for line in handle:
            try:
                item = json.loads(line)
            except ValueError:
                continue
            if event is None or item.get("event") == event:
                yield item
