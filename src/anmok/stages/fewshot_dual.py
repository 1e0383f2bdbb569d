"""Few-shot answers over a dual encoder: its image vectors, and the classes' names as the classifier under the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.core.progress import warn
from anmok.data.table import Table
from anmok.nshot.prompts import PROMPTS, ClassText, class_vectors, known_wordings
from anmok.nshot.zeroshot import logits
from anmok.stages.baseline_names import TORCHVISION
from anmok.stages.fewshot_settings import FewShotTree
from anmok.stages.fewshot_vectors import Source


def is_dual(model: Any) -> bool:
    """Whether a model is a dual encoder: an object, one of our folders, a folder in the hub's layout, or a hub's name.

    A hub's name is owner/name, and no folder stands where it would point to.
    """
    if hasattr(model, "encode_texts"):
        return True
    if not isinstance(model, str | Path):
        return False
    from anmok.deploy.dual import dual_folder
    from anmok.stages.search_reader import is_own

    name, path = os.fspath(model), Path(model)
    if dual_folder(name) is not None:
        return True
    if (path / "config.json").is_file():
        return not is_own(name)
    owner, slash, rest = name.partition("/")
    plain = slash and owner and rest and "/" not in rest and ":" not in name and owner not in (".", "..", "~")
    return bool(plain) and not name.startswith(TORCHVISION) and not path.parent.is_dir()


def dual_source(model: Any, tree: FewShotTree) -> Source:
    """Its vectors and what it says of names.  UsageError, MachineError, DataError: see `search_reader.dual_reader`."""
    from anmok.stages.search_reader import dual_reader, foreign
    from anmok.stages.search_vectors import Reading, image_vectors

    if tree.model.weights != "none":
        raise UsageError("a dual encoder has weights already.", where="--weights", code="weights")
    reader = dual_reader(model, tree.runtime.device)
    how = Reading(threads=tree.runtime.threads, allow_truncated=tree.data.allow_truncated)

    def see(table: Table) -> tuple[np.ndarray, Table]:
        values = image_vectors(reader, table, how).values
        good = np.isfinite(values).all(axis=1)
        if not good.any():
            raise DataError("no image can be read.", where=str(table.root), code="no-images")
        return values[good], table.take(good)

    def texts(vectors: np.ndarray, names: Sequence[str]) -> np.ndarray:
        known, said = known_wordings([ClassText(n, (n,)) for n in names], lambda text: foreign(reader, text))
        for line in said:
            warn(line)
        words = class_vectors(reader.dual.encode_texts, known, PROMPTS)
        return logits(vectors, words, reader.dual.scale, reader.dual.bias).astype(np.float32)

    return Source(reader.name, see, None, texts=texts)
