"""What a folder holds: every image below it, links and loops guarded, what is skipped counted."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from anmok.core.text import visible
from anmok.core.types import Reject
from anmok.data.sniff import EXTENSIONS, HEAD, REFUSED, REFUSED_EXTENSIONS, sniff
from anmok.data.storage import file_reference, reason_of

IGNORED = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"})
# Files that stand beside images and are never opened to see whether they are some.
_BESIDE = """
    csv tsv txt json jsonl ndjson xml yaml yml toml md rst html htm log parquet arrow feather npy npz h5 hdf5 db sqlite
    tar gz tgz bz2 xz zst zip 7z rar py ipynb sh js css pkl pt pth ckpt bin onnx safetensors lock
    doc docx xls xlsx ppt pptx mp4 avi mov mkv webm mp3 wav
"""
BESIDE = frozenset(_BESIDE.split())


@dataclass
class Scan:
    """Images found: `files` as (path below the root as the system names it, reference), every folder entered, what
    cannot be used, and how many hidden or other files were passed over.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    hidden: int = 0
    other: list[str] = field(default_factory=list)

    def reject(self, name: str, kind: str, reason: str) -> None:
        """List a path that is left out."""
        self.rejects.append(Reject(file_reference(name), kind, reason))


def is_hidden(name: str) -> bool:
    """Whether a file or folder name is one that systems leave behind: dotfiles, Thumbs.db, __MACOSX, …"""
    return name.startswith(".") or name.lower() in IGNORED


def extension(name: str) -> str:
    """The extension in lower case without its dot; '' where there is none."""
    base, dot, end = name.rpartition(".")
    return end.lower() if dot and base else ""


def inside(path: str, root: str) -> bool:
    """Whether a resolved path is `root` or lies below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


class FolderScan:
    """Walks a folder once: a folder met again through a link is passed over, one outside is refused unless allowed."""

    def __init__(self, root: str, allow_links: bool = False):
        self.root, self.real, self.allow_links = root, os.path.realpath(root), allow_links
        self.found = Scan()
        self._seen: set[tuple[int, int]] = set()
        self._links: list[str] = []

    def run(self) -> Scan:
        """All that lies below the root, sorted by path."""
        stack = [""]
        while stack or self._links:
            if stack:
                stack += self._folder(stack.pop())
            else:  # links last, so that a folder keeps its own name rather than a link's
                self._links.sort(reverse=True)
                stack.append(self._links.pop())
        found = self.found
        found.files.sort()
        found.folders.sort()
        found.rejects.sort()
        return found

    def _folder(self, rel: str) -> list[str]:
        """Enter one folder; the folders in it."""
        path = f"{self.root}/{rel}" if rel else self.root
        below = []
        try:
            about = os.stat(path)  # noqa: PTH116
            if (about.st_dev, about.st_ino) in self._seen:
                self.found.reject(rel, "skipped", "a link to a folder that was entered already")
                return []
            with os.scandir(path) as entries:
                self._seen.add((about.st_dev, about.st_ino))
                if rel:
                    self.found.folders.append(rel)
                for entry in entries:
                    name = f"{rel}/{entry.name}" if rel else entry.name
                    if self._entry(entry, name):
                        below.append(name)
        except OSError as error:
            self.found.reject(rel, "io-error", reason_of(error))
        return below

    def _entry(self, entry: os.DirEntry[str], name: str) -> bool:
        """Take one entry in; whether it is a folder to enter now."""
        if is_hidden(entry.name):
            self.found.hidden += 1
            return False
        try:
            if entry.is_symlink():
                return self._link(entry, name)
            if entry.is_dir(follow_symlinks=False):
                return True
            if entry.is_file(follow_symlinks=False):
                self._file(entry, name)
            else:
                self.found.reject(name, "skipped", "not a regular file")
        except OSError as error:
            self.found.reject(name, "io-error", reason_of(error))
        return False

    def _link(self, entry: os.DirEntry[str], name: str) -> bool:
        mode = os.stat(entry.path).st_mode  # noqa: PTH116
        if not self.allow_links and not inside(os.path.realpath(entry.path), self.real):
            self.found.reject(
                name, "outside-link", "a link that leads outside the root (--data.allow-links follows it)"
            )
        elif stat.S_ISDIR(mode):
            self._links.append(name)
        elif stat.S_ISREG(mode):
            self._file(entry, name)
        else:
            self.found.reject(name, "skipped", "not a regular file")
        return False

    def _file(self, entry: os.DirEntry[str], name: str) -> None:
        end = extension(entry.name)
        if end in EXTENSIONS:
            self.found.files.append((name, file_reference(name)))
            return
        if end in BESIDE:
            self.found.other.append(name)
            return
        with open(entry.path, "rb") as handle:  # noqa: PTH123
            kind = sniff(handle.read(HEAD))
        take_unnamed(self.found, name, file_reference(name), kind)


def take_unnamed(found: Scan, name: str, reference: str, kind: str | None) -> None:
    """File something without an image's extension by what its first bytes showed it to be."""
    if kind in REFUSED or (kind is None and extension(name) in REFUSED_EXTENSIONS):
        found.reject(name, "unsupported-format", f"{kind or extension(name)} is not opened")
    elif kind is None:
        found.other.append(name)
    else:
        found.files.append((name, reference))


def scan_notes(found: Scan) -> list[str]:
    """What was passed over, in words: how many of each kind, the first few named."""
    from anmok.data.table import named

    notes = []
    kinds: dict[tuple[str, str], list[str]] = {}
    for reject in found.rejects:
        kinds.setdefault((reject.kind, reject.reason), []).append(visible(reject.id))
    for (kind, reason), names in kinds.items():
        notes.append(f"warning: {kind}: {named(len(names), 'path', names)}: {reason}")
    if found.hidden:
        notes.append(f"{found.hidden:,} hidden or system files passed over")
    if found.other:
        notes.append(f"{named(len(found.other), 'file', [file_reference(n) for n in found.other], 3)}: no images")
    return notes
