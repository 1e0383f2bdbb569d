"""A policy as a file: TOML of ours, written and read back equal, or the JSON that Albumentations writes.

border = "fill"
mixup = 0.2

[[steps]]
op = "crop"
scale = [0.35, 1.0]

[[steps]]
op = "rotate"
degrees = 15
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from anmok.augment.guest_files import guest_text, load_guest
from anmok.augment.guests import Guest
from anmok.augment.policy import Policy, compose
from anmok.augment.steps import Step
from anmok.core.config import Config, read_toml, resolve
from anmok.core.errors import UsageError, did_you_mean, near_path
from anmok.core.files import write_atomic

# The steps a file may name, and where their constructors are.
CATALOGUE = {
    "crop": "anmok.augment.steps:crop",
    "flip": "anmok.augment.steps:flip",
    "rotate": "anmok.augment.steps:rotate",
    "shear": "anmok.augment.steps:shear",
    "translate": "anmok.augment.steps:translate",
    "pad_crop": "anmok.augment.steps:pad_crop",
    "scale": "anmok.augment.steps:scale",
    "perspective": "anmok.augment.steps:perspective",
    "color_jitter": "anmok.augment.steps:color_jitter",
    "grayscale": "anmok.augment.steps:grayscale",
    "operation": "anmok.augment.steps:operation",
    "blur": "anmok.augment.steps:blur",
    "noise": "anmok.augment.steps:noise",
    "elastic": "anmok.augment.steps:elastic",
    "erase": "anmok.augment.steps:erase",
    "autoaugment": "anmok.augment.papers:autoaugment",
    "randaugment": "anmok.augment.papers:randaugment",
    "trivialaugment": "anmok.augment.papers:trivialaugment",
    "augmix": "anmok.augment.papers:augmix",
}


class PolicyFile(Config):
    """What the top level of a policy's TOML may hold; see Policy."""

    border: Literal["reflect", "fill"] = "reflect"
    fill: tuple[int, int, int] = (0, 0, 0)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    mix: float = Field(1.0, ge=0, le=1)
    size: int | None = Field(None, ge=1)
    steps: list[dict[str, Any]] = Field(default_factory=list)


def load_policy(path: Path | str) -> Policy | Guest:
    """The policy that a .toml or .json file holds.

    UsageError that names the file (and the step) for what is missing, unknown (with the nearest known name), of another
    type or out of bounds; MachineError where Albumentations is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(
            "no such policy file.", where=str(path), code="missing-file",
            remedy=f"{near_path(path)}Name a policy, or a .toml or .json file that is there.",
        )  # fmt: skip
    if path.suffix.lower() == ".json":
        return load_guest(path)
    if path.suffix.lower() != ".toml":
        raise UsageError("a policy's file ends with .toml, or .json (Albumentations).", where=str(path), code="setting")
    values = read_toml(path)
    with _located(str(path)):
        top = resolve(PolicyFile, values)
        if not all(0 <= value <= 255 for value in top.fill):
            raise UsageError(f"fill must be three numbers in [0, 255], found {list(top.fill)}.", code="setting")
    steps = [_step(values, f"{path}, step {number}") for number, values in enumerate(top.steps, 1)]
    with _located(str(path)):
        policy = compose(*steps, **top.model_dump(exclude={"steps", "size"}))
    return policy if top.size is None else replace(policy, size=top.size)


def to_toml(policy: Policy) -> str:
    """The policy as TOML, every argument written out. UsageError where a step is none of the catalogue's."""
    import tomli_w

    names = ("border", "fill", "mixup", "cutmix", "mix", "size")
    top = {name: value for name in names if (value := getattr(policy, name)) is not None}
    return tomli_w.dumps(top | {"steps": [_table(step) for step in policy.steps]})


def save_policy(policy: Policy | Guest, path: Path | str) -> Path:
    """Write a policy as .toml, an Albumentations transform as .json; `load_policy` reads an equal one back.

    UsageError where it cannot be written, or under this name.
    """
    content = policy_text(policy)
    if content is None:
        raise UsageError(
            f"{policy.name if isinstance(policy, Guest) else 'it'} has no form as a file.", where=str(path),
            remedy="Policies have one, and what is made of Albumentations' own transforms.", code="setting",
        )  # fmt: skip
    suffix, text = content
    if Path(path).suffix.lower() != suffix:
        raise UsageError(f"this policy is written as {suffix}.", where=str(path), code="setting")
    return write_atomic(path, text)


def policy_text(policy: Policy | Guest) -> tuple[str, str] | None:
    """(suffix, content) of its file; None for a guest that only its own program can make."""
    if isinstance(policy, Policy):
        return ".toml", to_toml(policy)
    text = guest_text(policy)
    return None if text is None else (".json", text)


def constructor(name: str) -> Callable[..., Step]:
    """The function of the catalogue under this name.  UsageError with the nearest where there is none."""
    import importlib

    if name not in CATALOGUE:
        raise UsageError(f"no such step: {name!r}.", remedy=_hint(name, list(CATALOGUE)), code="setting")
    module, _, attribute = CATALOGUE[name].partition(":")
    found: Callable[..., Step] = getattr(importlib.import_module(module), attribute)
    return found


def _step(values: Mapping[str, Any], where: str) -> Step:
    """The step of one table."""
    with _located(where):
        if not isinstance(values.get("op"), str):
            raise UsageError("a step needs its op.", remedy=f"Known: {', '.join(CATALOGUE)}.", code="setting")
        build = constructor(values["op"])
    where = f"{where} ({values['op']})"
    with _located(where):
        hints = typing.get_type_hints(build)
        known = inspect.signature(build).parameters
        arguments = {key: value for key, value in values.items() if key != "op"}
        for key in arguments:
            if key not in known:
                raise UsageError(f"{key}: no such argument.", remedy=_hint(key, list(known)), code="setting")
        for key, parameter in known.items():
            if parameter.default is parameter.empty and key not in arguments:
                raise UsageError(f"{key} is missing.", remedy=f"Give {key}.", code="setting")
        return build(**{key: _typed(key, value, hints[key]) for key, value in arguments.items()})


def _typed(key: str, value: Any, hint: Any) -> Any:
    """The value as its argument's type has it; 'none' is None where that is allowed.  UsageError for another type."""
    if value == "none" and type(None) in typing.get_args(hint):
        return None
    try:  # as JSON: a list is a tuple there, a whole number a float, and nothing else is another thing
        return TypeAdapter(hint).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("None", "'none'")
        raise UsageError(f"{key}: expected {wanted}, found {value!r}.", code="setting") from error


def _table(step: Step) -> dict[str, Any]:
    """A step as the table it is read from."""
    name = step.built_by or step.name
    names = list(inspect.signature(constructor(name)).parameters)
    return {"op": name} | {key: _plain(value) for key, value in zip(names, step.settings, strict=True)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if value is None:
        return "none"
    return value.item() if hasattr(value, "item") else value


def _hint(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or f"Known: {', '.join(known)}."


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Errors inside are of this place."""
    try:
        yield
    except UsageError as error:
        place = f"{where}: {error.where}" if error.where else where
        raise UsageError(error.message, where=place, remedy=error.remedy, code=error.code) from error
