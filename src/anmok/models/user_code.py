"""Networks that the user's own code makes: found by module:name, called with what they take."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from anmok.core.errors import DataError, UsageError, did_you_mean


def find_object(path: str, forbidden: Path | None = None) -> Any:
    """The object `module:name` means; the current folder counts as a place to import from.

    UsageError if it cannot be imported.  DataError if the module belongs to Python itself or lies inside `forbidden`:
    a path that was read from a file must not choose what runs.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        if forbidden is not None:
            _refuse_inside(module_name.split(".")[0], path, forbidden)
        found: Any = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise UsageError(
            f"cannot import {module_name} ({error}).", where=f"--model {path}", code="model",
            remedy="Expected module:callable, importable from here or from PYTHONPATH.",
        ) from error  # fmt: skip
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [n for n in dir(found) if not n.startswith("_")])
            raise UsageError(f"{module_name} has no {part}.", where=f"--model {path}", remedy=near, code="model")
        found = getattr(found, part)
    return found


def _refuse_inside(package: str, path: str, forbidden: Path) -> None:
    """Look where a top-level package would come from, without running any of it."""
    reason = "it belongs to Python itself" if package in {*sys.stdlib_module_names, "__main__"} else ""
    spec = None if reason else importlib.util.find_spec(package)
    if spec is not None:
        places = [
            *(spec.submodule_search_locations or []),
            *([spec.origin] if spec.has_location and spec.origin else []),
        ]
        if any(Path(place).resolve().is_relative_to(forbidden.resolve()) for place in places):
            reason = "it lies inside the model folder"
    if reason:
        raise DataError(
            f"the model asks for {path}, which is not imported: {reason}.", where=str(forbidden), code="remote-code",
            remedy="Put the code where your own Python finds it, after reading it.",
        )  # fmt: skip


def offers(function: Callable[..., Any], outputs: int, channels: int, image_size: int) -> dict[str, int]:
    """Of what a network may want to know, what this function takes by name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    offer = {
        "num_classes": outputs, "in_chans": channels, "in_channels": channels, "img_size": image_size,
        "image_size": image_size,
    }  # fmt: skip
    named = {k: v for k, v in offer.items() if k in parameters}
    if takes_any:
        named.setdefault("num_classes", outputs)
        if "in_channels" not in named:
            named.setdefault("in_chans", channels)
    return named


def call(function: Callable[..., Any], path: str, arguments: Mapping[str, int]) -> nn.Module:
    """Call the user's function; UsageError if it needs more than `arguments`, or returns no module."""
    where = f"--model {path}"
    if not callable(function):
        raise UsageError(f"it is {type(function).__name__}, which cannot be called.", where=where, code="model")
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise UsageError(
            f"it cannot be called so ({error}).", where=where, code="model",
            remedy="It is given num_classes, in_chans (or in_channels) and image_size, those it takes by name.",
        ) from error  # fmt: skip
    except ValueError:  # a callable without a signature
        pass
    made = function(**arguments)
    if not isinstance(made, nn.Module):
        raise UsageError(f"it returned {type(made).__name__}, not a torch module.", where=where, code="model")
    return made


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
