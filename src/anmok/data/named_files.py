"""Files that a list names: found below the root as they are, or by NFC, and never outside it unless allowed."""

from __future__ import annotations

import os
import unicodedata
from typing import Literal

from anmok.core.errors import DataError
from anmok.data.scan import inside
from anmok.data.storage import file_name

Fault = Literal["missing", "outside"]


class Finder:
    """Finds files by the names that a list gives them."""

    def __init__(self, root: str, allow_links: bool = False):
        self.root, self.real, self.allow_links = os.path.abspath(root), os.path.realpath(root), allow_links  # noqa: PTH100
        self._listings: dict[str, dict[str, list[str]]] = {}
        self._parents: dict[str, bool] = {}

    def find(self, name: str) -> tuple[str, None] | tuple[None, Fault]:
        """(path below the root as the system names it, None), or (None, why not).

        An absolute path comes back where it leads outside and that is allowed.  DataError for two files of one name.
        """
        asked = file_name(name) or name
        for candidate in dict.fromkeys((asked, asked.replace("\\", "/"))):
            path = os.path.normpath(os.path.join(self.root, candidate))  # noqa: PTH118
            if not inside(path, self.root):
                if not self.allow_links:
                    return None, "outside"
                return (path, None) if os.path.isfile(path) else (None, "missing")  # noqa: PTH113
            rel = path[len(self.root.rstrip("/")) + 1 :]
            if not os.path.isfile(path):  # noqa: PTH113
                rel = self._by_nfc(rel) or ""
            if rel:
                return (rel, None) if self.allow_links or self._stays(rel) else (None, "outside")
        return None, "missing"

    def _stays(self, rel: str) -> bool:
        """Whether the file, links followed, lies below the root; asked once for each folder."""
        path = f"{self.root}/{rel}"
        if os.path.islink(path):  # noqa: PTH114
            return inside(os.path.realpath(path), self.real)
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent not in self._parents:
            self._parents[parent] = inside(os.path.realpath(parent), self.real)
        return self._parents[parent]

    def _by_nfc(self, rel: str) -> str | None:
        """The file whose path is the same once both are normalised."""
        if rel.isascii():
            return None
        found = ""
        for part in rel.split("/"):
            names = self._listing(found).get(unicodedata.normalize("NFC", part), [])
            if len(names) > 1:
                raise DataError(
                    f"{part!r} could be any of {', '.join(ascii(n) for n in names)}.", where=rel,
                    remedy="Rename one; names are compared in Unicode NFC.", code="name-collision",
                )  # fmt: skip
            if not names:
                return None
            found = f"{found}/{names[0]}" if found else names[0]
        return found if os.path.isfile(f"{self.root}/{found}") else None  # noqa: PTH113

    def _listing(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(f"{self.root}/{folder}"):  # noqa: PTH208
                    names.setdefault(unicodedata.normalize("NFC", name), []).append(name)
            except OSError:
                pass  # the file is then reported as missing
            self._listings[folder] = names
        return self._listings[folder]
