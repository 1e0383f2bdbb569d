"""One tree of errors: each carries a stable code, what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from anmok.core.text import printable


class AnmokError(Exception):
    """Base of every error a user can meet; `exit_code` is what the command line exits with.

    message: what is wrong, one sentence; where: the file, option or row; remedy: the next step; code: for scripts.
    """

    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None, code: str | None = None):
        self.message, self.where, self.remedy = message, where, remedy
        if code is not None:
            self.code = code
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return printable(f"{head} {self.remedy}" if self.remedy else head)


class UsageError(AnmokError):
    """The call is wrong: an unknown option, a value out of bounds, names that do not fit together."""

    exit_code = 2
    code = "usage"


class DataError(AnmokError):
    """The data are wrong: unreadable, inconsistent, changed, or unsafe to learn from."""

    exit_code = 3
    code = "data"


class MachineError(AnmokError):
    """The surroundings are wrong: a missing package, no network, no room, a folder in use."""

    exit_code = 4
    code = "environment"


class Interrupted(AnmokError):
    """Stopped before the end, with everything saved that is needed to go on."""

    exit_code = 5
    code = "interrupted"


class ImageError(DataError):
    """One image cannot be used. `code` is the kind a rejects table or a finding names:

    unreadable, truncated, empty, too-large, unsupported-format, io-error.
    """

    code = "unreadable"


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The up to n known names nearest to `name`, best first.

    Near is also what has the name as its last part ('lr': 'optim.lr'), or holds it.
    """
    known = list(known)
    found = [k for k in known if re.split(r"[./]", k)[-1] == name]
    found += [k for k in difflib.get_close_matches(name, known, n=n, cutoff=0.6) if k not in found]
    found += [k for k in known if k not in found and len(name) > 2 and (k.startswith(name) or name in k)]
    return found[:n]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known names, or all of a few, or nothing."""
    known = list(known)
    near = nearest(name, known)
    if near:
        return f"Did you mean {', '.join(near)}?"
    return f"Known: {', '.join(known)}." if 0 < len(known) <= 12 else ""


def near_path(path: Path, most: int = 10_000) -> str:
    """'Did you mean trashnet? ' for a missing path, by the names in its folder (the first `most`); '' if none is near.

    The space at its end lets another sentence follow.
    """
    try:
        near = nearest(path.name, sorted(os.listdir(path.parent))[:most])  # noqa: PTH208
    except OSError:
        return ""
    return f"Did you mean {', '.join(near)}? " if near else ""
