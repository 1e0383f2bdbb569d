"""Files in a format that can run code when they are read: refused by their name, without torch."""

from __future__ import annotations

from pathlib import Path

from anmok.core.errors import DataError

PICKLED = {".pt", ".pth", ".ckpt", ".bin", ".pt2", ".pkl", ".pickle", ".joblib"}


def refuse_pickle(path: Path) -> None:
    """Raise a DataError for a file in a format that can run code when it is read."""
    if path.suffix.lower() in PICKLED and not path.is_dir():
        raise DataError(
            f"{path.suffix} files are pickled and can run code when they are read; anmok reads .safetensors only.",
            where=str(path),
            remedy=f"If you trust where it comes from: anmok convert --trust {path.name} writes its tensors anew.",
            code="pickle",
        )
