"""`anmok.load`: a model by the path of a run or of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import UsageError
from anmok.stages.run import Run

if TYPE_CHECKING:
    from anmok.deploy.model import Model


def load(path: Any, *, module: Any = None, device: str = "cpu") -> Model:
    """The Model of a run or model folder, or of a Run.

    module: the torch module, where the model was given as an object that cannot be built by name.
    """
    from anmok.deploy.bundle import load_model

    if isinstance(path, Run):
        path = path.path
    folder = Path(path)
    if (folder / "config.toml").is_file():
        return Run(folder, module).load_model(device)
    if not folder.exists():
        raise UsageError(
            "no such run or model.", where=str(path), remedy="Expected a folder that `anmok train` wrote.", code="model"
        )
    return load_model(folder, module=module, device=device)
