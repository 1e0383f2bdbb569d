"""What the commands share: every setting of a configuration tree as an option, and the frequent arguments."""

from __future__ import annotations

import inspect as signatures
import os
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from anmok.core.config import Config, Leaf, leaves
from anmok.core.errors import UsageError


def leaf_parameter(leaf: Leaf) -> signatures.Parameter:
    """One setting of the tree as an option; its value stays text, so that `resolve` explains what is wrong with it."""
    kind = leaf.type
    if kind is bool or bool in typing.get_args(kind):
        annotation: Any = bool
    elif typing.get_origin(kind) is list:
        annotation = list[str]
    else:
        annotation = str
    default = "" if leaf.default is None or leaf.default == [] else f" [default: {shown(leaf.default)}]"
    choices = f" [{' | '.join(options(kind))}]" if options(kind) else ""
    names = [f"--{leaf.path.replace('_', '-')}"]
    if leaf.short:
        names.insert(0, f"--{leaf.short.replace('_', '-')}")
    section = leaf.path.partition(".")[0] if "." in leaf.path and not leaf.short else ""
    group = Group(section.capitalize(), sort_key=10) if section else Group("General", sort_key=5)
    parameter = Parameter(
        name=names, help=f"{leaf.help}{choices}{default}", show_default=False, negative_iterable="", group=group
    )
    name = leaf.path.replace(".", "__")
    return signatures.Parameter(
        name, signatures.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, parameter]
    )


def shown(value: Any) -> str:
    """A default as it would be typed."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def options(kind: Any) -> list[str]:
    """The allowed words of a Literal type."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(a) for a in typing.get_args(kind)]
    return [o for a in typing.get_args(kind) for o in options(a)] if isinstance(kind, types.UnionType) else []


def with_tree(tree: type[Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every setting of a tree as an option; it receives those that were set as `settings`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signatures.signature(command, eval_str=True)
        extra = [leaf_parameter(leaf) for leaf in leaves(tree)]
        paths = {p.name: p.name.replace("__", ".") for p in extra}

        def run(*args: Any, **kwargs: Any) -> None:
            settings = {path: kwargs.pop(name, None) for name, path in paths.items()}
            command(*args, settings={k: v for k, v in settings.items() if v is not None}, **kwargs)

        mine = [p for p in own.parameters.values() if p.name != "settings"]
        run.__signature__ = own.replace(parameters=[*mine, *extra])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*mine, *extra]}
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        return run

    return decorate


Source = Annotated[str | None, Parameter(help="A folder, CSV, Parquet, tar, zip or table of images.")]
Out = Annotated[Path | None, Parameter(name="--out", help="Where to write; must not exist yet.")]
Resume = Annotated[
    Path | None, Parameter(name="--resume", help="Go on with this run, search or folder instead of beginning one.")
]
File = Annotated[Path | None, Parameter(name="--config", help="A TOML file with settings; a flag wins over it.")]
Tta = Annotated[
    str | None,
    Parameter(
        name="--tta", help="Test-time views to average: flips, shifts, five-crop, scales, attention or randaugment:8."
    ),
]
TtaWeights = Annotated[
    str, Parameter(name="--tta-weights", help="uniform, or fit: by the log loss of the run's validation images.")
]
TtaSeed = Annotated[int, Parameter(name="--tta-seed", help="Of what randaugment draws.")]
Images = Annotated[str | None, Parameter(help="Images to compare answers on; by default the run's validation split.")]
Batches = Annotated[str, Parameter(name="--batch", help="Batch sizes to measure at.")]


def check_ranks(ranks: int) -> None:
    """UsageError where this process is none of so many; where there are to be several, the command line starts them."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks not in {1, started}:
        raise UsageError(
            f"expected one process or more, found {ranks}." if ranks < 1 else f"torchrun has started {started}.",
            where="--ranks", code="setting",
        )  # fmt: skip


def numbers(text: str, option: str) -> list[int]:
    """'1,32' as [1, 32].  UsageError for anything else."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"expected numbers, as in 1,32, found {text!r}.", where=option, code="setting")
    return [int(part) for part in parts]
