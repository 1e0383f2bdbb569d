"""What a model folder must be before anything in it is loaded: whole, unchanged, without code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anmok.core.errors import DataError
from anmok.core.files import MANIFEST, read_json, verify_manifest
from anmok.models.pickled import refuse_pickle

NEEDED = ("config.json", "model.safetensors", "preprocess.json", "decision.json")

# Keys by which other libraries are told to import code from beside the weights, or to build any object by name.
CODE_KEYS = frozenset(
    {"auto_map", "trust_remote_code", "custom_pipeline", "custom_pipelines", "code_revision", "_target_", "py/object"}
)


def check_folder(folder: Path, needed: Sequence[str] = NEEDED) -> None:
    """Raise a DataError unless the folder may be loaded. needed: files that the manifest has to vouch for.

    Codes: `pickle` (a pickled file lies in it), `tampered` (a file is not what the manifest says, or not in it),
    `remote-code` (a JSON file, nested parts included, asks for code).
    """
    for file in sorted(folder.rglob("*")):
        refuse_pickle(file)
    whole = (folder / MANIFEST).is_file()
    if whole:
        verify_manifest(folder)
    for file in sorted(folder.rglob("*.json")):
        key = next(_code_keys(read_json(file)), None)
        if key is not None:
            raise DataError(
                f"it asks for code of its own ({key}), which anmok never runs.", where=str(file), code="remote-code",
                remedy="Use a model of a built-in architecture.",
            )  # fmt: skip
    if not whole:
        verify_manifest(folder)  # says what is missing
    listed = {line.partition("  ")[2] for line in (folder / MANIFEST).read_text(encoding="utf-8").splitlines()}
    missing = [name for name in needed if name not in listed]
    if missing:
        raise DataError(
            f"the manifest does not vouch for {', '.join(missing)}.", where=str(folder / MANIFEST), code="tampered",
            remedy="Fetch or write the folder anew; it is not loaded as it is.",
        )  # fmt: skip


def _code_keys(value: Any) -> Iterator[str]:
    """Every key in CODE_KEYS, however deep."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield from CODE_KEYS & item.keys()
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
