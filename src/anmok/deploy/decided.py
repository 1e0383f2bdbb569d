"""decision.json of a model folder, read and checked; without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.errors import DataError
from anmok.core.files import read_json
from anmok.core.types import Task
from anmok.evaluate.decision import Decision


def read_decision(path: Path, classes: list[str], task: Task) -> dict[str, Any]:
    """The content of decision.json, checked.  DataError that names the file: see `Decision.from_dict`."""
    content = read_json(path)
    try:
        decision = Decision.from_dict(content, classes, task)
    except DataError as error:
        raise DataError(
            f"decision.json cannot be used: {error.message}", where=str(path), code=error.code,
            remedy="Bring the folder back as it was written, or decide anew with `anmok decide`.",
        ) from error  # fmt: skip
    return {**content, "temperature": decision.temperature}
