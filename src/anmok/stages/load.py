"""`anmok.load`: a model by the path of a run or of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.errors import UsageError, near_path
from anmok.core.optional import need
from anmok.stages.run import Run


def load(path: Any, *, module: Any = None, device: str = "cpu") -> Any:
    """The Model of a run or model folder, or of a Run; the EnsembleModel of an ensemble.

    module: the torch module, where the model was given as an object that cannot be built by name. device: 'auto',
    'cpu', 'cuda', 'cuda:N' or 'mps'.  UsageError where there is no model, or no such device by name; MachineError for a
    device that is not here.
    """
    need("torch", "train")
    from anmok.deploy.bundle import load_model
    from anmok.engine.runtime import pick_device
    from anmok.stages.ensemble_model import FILE, load_ensemble
    from anmok.stages.ensemble_run import CONFIG, EnsembleRun

    place = str(pick_device(device))
    if isinstance(path, Run):
        if module is None:
            return path.load_model(place)  # with the module that the run was given
        path = path.path
    folder = Path(path)
    if (folder / "config.toml").is_file():
        return Run(folder, module).load_model(place)
    if (folder / CONFIG).is_file():
        return EnsembleRun(folder).load_model(place)
    if (folder / FILE).is_file():
        return load_ensemble(folder, place)
    if not folder.exists():
        raise UsageError(
            "no such run or model.", where=str(path), code="model",
            remedy=f"{near_path(folder)}Expected a folder that `anmok train` wrote.",
        )  # fmt: skip
    return load_model(folder, module=module, device=place)
