"""Packages that only some parts need: imported inside the function that uses them, missed by name."""

from __future__ import annotations

import importlib
from types import ModuleType

from anmok.core.errors import MachineError


def need(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise a MachineError that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        package = module.split(".")[0]
        raise MachineError(
            f"this needs the package {package}, which is not installed.",
            remedy=f"Install it with: pip install 'anmok[{extra}]'",
            code="missing-package",
        ) from error
