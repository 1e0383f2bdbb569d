"""The configuration tree: frozen typed models, filled from a TOML file, from flags and from Python by one function.

Each room defines the slice that configures it; a stage assembles slices into one tree. A path such as `optim.lr` names
a leaf the same way in TOML, on the command line (`--optim.lr`) and in Python (`optim={"lr": 0.1}`).
"""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from anmok.core.errors import UsageError, did_you_mean, nearest

# Frequent leaves have a short name, the same in every verb.
SHORT = {
    "model": "model.name",
    "weights": "model.weights",
    "adapt": "model.adapt",
    "image_size": "preprocess.image_size",
    "channels": "preprocess.channels",
    "equalize": "preprocess.equalize",
    "colorspace": "preprocess.colorspace",
    "augment": "augment.policy",
    "loss": "loss.name",
    "objective": "objective.name",
    "unlabeled": "semi.unlabeled",
    "split": "split.given",
    "task": "data.task",
    "hierarchy": "data.hierarchy",
    "image_root": "data.image_root",
    "drop_empty": "data.drop_empty",
    "allow_truncated": "data.allow_truncated",
    "checkpoint_every": "training.checkpoint_every",
    "cache": "data.cache",
    "threads": "runtime.threads",
    "device": "runtime.device",
    "plan": "runtime.plan",
}


class Config(BaseModel):
    """Base of every slice: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


C = TypeVar("C", bound=Config)


class Leaf(typing.NamedTuple):
    """One setting: its path in the tree, its type, default, description and short name ('' where it has none)."""

    path: str
    type: Any
    default: Any
    help: str
    short: str


def is_section(annotation: Any) -> bool:
    """Whether a field's type is a nested slice."""
    return isinstance(annotation, type) and issubclass(annotation, Config)


def leaves(tree: type[Config], prefix: str = "") -> Iterator[Leaf]:
    """Every setting of a tree, in order of definition."""
    short = {path: name for name, path in SHORT.items()}
    for name, info in tree.model_fields.items():
        path = f"{prefix}{name}"
        if is_section(info.annotation):
            yield from leaves(typing.cast("type[Config]", info.annotation), f"{path}.")
        else:
            default = info.get_default(call_default_factory=True)
            yield Leaf(path, info.annotation, default, info.description or "", short.get(path, ""))


def resolve(tree: type[C], *layers: Mapping[str, Any], file: Path | str | None = None) -> C:
    """Build the tree from a TOML file and layers of values; a later layer wins, every layer wins over the file.

    A layer maps paths ('optim.lr'), short names ('model') or sections ('optim': {...}) to values; text is
    converted to the leaf's type, 'none' unsets an optional leaf.  UsageError: unknown name (with the nearest),
    a value of the wrong type or out of bounds (with the allowed ones).
    """
    values: dict[str, Any] = {}
    if file is not None:
        values.update(flatten(tree, read_toml(file), where=str(file)))
    for layer in layers:
        values.update(flatten(tree, layer))
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *sections, leaf = path.split(".")
        node = nested
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    try:
        return tree.model_validate(nested)
    except ValidationError as error:
        raise _explain(tree, error) from None


def flatten(tree: type[Config], values: Mapping[str, Any], where: str | None = None) -> dict[str, Any]:
    """Bring a layer to {path of a leaf: value}, short names expanded, texts prepared for their type."""
    known = {leaf.path: leaf for leaf in leaves(tree)}
    sections = {path.rsplit(".", i)[0] for path in known for i in range(1, path.count(".") + 1)}
    out: dict[str, Any] = {}

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            path = f"{prefix}{key}".replace("-", "_")
            if isinstance(value, Mapping) and path in sections:
                walk(value, f"{path}.")
                continue
            if not prefix and SHORT.get(path) in known:
                path = SHORT[path]
            if path not in known:
                names = [*known, *(s for s, p in SHORT.items() if p in known)]
                raise UsageError(
                    f"{path}: no such setting.", where=where, remedy=did_you_mean(path, names), code="setting"
                )
            out[path] = _prepare(value, known[path].type)

    walk(values, "")
    return out


def _prepare(value: Any, annotation: Any) -> Any:
    """Text from a flag, closer to its type: 'none' for optional leaves, comma lists for tuples."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        return value
    args = typing.get_args(annotation)
    if value.lower() == "none" and type(None) in args and not _has_literal_none(annotation):
        return None
    options = (
        args
        if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
        else (annotation,)
    )
    lists = any(typing.get_origin(o) in (tuple, list) for o in options)
    if lists and str not in options and value not in _choices(annotation):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _has_literal_none(annotation: Any) -> bool:
    stack = [annotation]
    while stack:
        item = stack.pop()
        if typing.get_origin(item) is typing.Literal and "none" in typing.get_args(item):
            return True
        stack.extend(a for a in typing.get_args(item) if not isinstance(a, str))
    return False


def _explain(tree: type[Config], error: ValidationError) -> UsageError:
    """A validation error in our words: path, reason, value found."""
    known = {leaf.path: leaf for leaf in leaves(tree)}
    parts = []
    for item in error.errors(include_url=False):
        path = ".".join(str(p) for p in item["loc"])
        while path and path not in known and "." in path:
            path = path.rsplit(".", 1)[0]
        reason = item["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        hint = ""
        if item["type"] == "literal_error" and isinstance(item["input"], str) and path in known:
            near = nearest(item["input"], _choices(known[path].type))  # the reason lists them all
            hint = f" Did you mean {', '.join(near)}?" if near else ""
        found = (
            "" if isinstance(item["input"], Mapping) else f", found {item['input']!r}"
        )  # of several settings: no one value
        parts.append(f"{path or 'configuration'}: {reason}{found}.{hint}".rstrip())
    return UsageError("; ".join(dict.fromkeys(parts)), code="setting")


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(a) for a in typing.get_args(annotation)]
    return [c for a in typing.get_args(annotation) for c in _choices(a)]


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file; UsageError where it is missing or not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read the configuration ({error.strerror}).", where=str(path), code="config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not valid TOML ({error}).", where=str(path), code="config") from error


def dump_toml(config: Config) -> str:
    """The complete tree as TOML; leaves that are None are left out (TOML has no null; their default is None)."""
    import tomli_w

    def clean(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: clean(v) for k, v in node.items() if v is not None}
        return [clean(v) for v in node] if isinstance(node, list | tuple) else node

    return tomli_w.dumps(clean(config.model_dump(mode="json")))
