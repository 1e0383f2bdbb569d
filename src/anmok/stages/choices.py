"""What a run names, looked for before any image is read: the device, the network, its weights."""

from __future__ import annotations

from typing import Any

from anmok.stages.config import LearnConfig, TrainConfig


def check_choices(config: LearnConfig, module: Any = None) -> None:
    """Refuse a device, model or weights file that is not there, with the nearest names; nothing is built.

    module: a torch module that stands for the model's name.  UsageError, DataError (a pickled or tampered file) and
    MachineError (no such device here) as building would raise them.
    """
    from anmok.engine.runtime import pick_device
    from anmok.models.families import check_size
    from anmok.models.networks import find_object, kind_of, own_size
    from anmok.models.weights import find_weights
    from anmok.stages.faster import check_faster

    if config.runtime.device != "auto":
        pick_device(config.runtime.device)
    name, weights = config.model.name, config.model.weights
    if module is None:
        check_size(name, config.preprocess.image_size or own_size(name))
        if kind_of(name) == "callable":
            find_object(name)
    if isinstance(config, TrainConfig):
        own = 224 if module is not None else own_size(name)
        check_faster(config, config.preprocess.image_size or own, named=module is None)
    if weights not in ("none", "pretrained"):
        find_weights(weights)
