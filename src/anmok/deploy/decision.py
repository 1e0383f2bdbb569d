"""A decision written into a model folder: decision.json, head, card and manifest together, or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anmok.core.errors import DataError
from anmok.core.files import MANIFEST, new_folder, sha256, verify_manifest, write_atomic, write_json, write_manifest
from anmok.deploy import card
from anmok.deploy.safety import check_folder
from anmok.models.weights import read_weights

HEADING = "## Decision"
BEFORE = "## Use\n"  # the section of the card that follows


def write_decision(
    folder: Path, decision: Mapping[str, Any], *, head: Mapping[str, torch.Tensor] | None = None,
    said: Sequence[str] = (),
) -> str:  # fmt: skip
    """Put another decision.json into a model folder and return the hash of its new manifest.

    head: tensors that replace those of the same name (see `fold_head`).  said: sentences for the card.  The folder is
    built anew beside the old one and takes its place at the end, so a reader sees either.  DataError: the folder is not
    what its manifest says, or a tensor is not among its own.
    """
    if (folder / "config.json").is_file():
        check_folder(folder)
    else:
        verify_manifest(folder)
    with new_folder(folder) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        if head:
            _replace_tensors(folder / "model.safetensors", temporary / "model.safetensors", head)
        write_json(temporary / "decision.json", dict(decision))
        readme = temporary / "README.md"
        if readme.is_file():
            write_atomic(readme, with_section(readme.read_text(encoding="utf-8"), said))
        write_manifest(temporary)
    return sha256(folder / MANIFEST)


def with_section(text: str, said: Sequence[str]) -> str:
    """A card with the section on the decision, instead of the one it had; without one where nothing is said."""
    text = re.sub(rf"^{HEADING}\n.*?(?=^## |\Z)", "", text, flags=re.S | re.M)
    if not said:
        return text
    section = "\n".join([HEADING, "", *(f"- {card.as_text(line)}" for line in said), "", ""])
    place = text.find(BEFORE)
    if place < 0:
        return f"{text.rstrip()}\n\n{section.rstrip()}\n"
    return text[:place] + section + text[place:]


def _replace_tensors(file: Path, target: Path, head: Mapping[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    tensors = read_weights(file)
    for name, value in head.items():
        if name not in tensors or tensors[name].shape != value.shape:
            raise DataError(f"it has no tensor {name} of this shape.", where=str(file), code="weights-mismatch")
        tensors[name] = value.contiguous()
    save_file(tensors, target, metadata={"format": "pt"})
