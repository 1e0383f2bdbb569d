"""What a user's transform is made of: whose it is, and what is inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["albumentations", "torchvision", "module", "callable"]

# Transforms that leave a one-channel image as it is, or fail on it now and then.
_COLORED = frozenset({
    "ChannelDropout", "ChannelShuffle", "ChromaticAberration", "HEStain", "HueSaturationValue", "ISONoise",
    "PlanckianJitter", "RandomChannelPermutation", "RandomFog", "RandomGrayscale", "RandomGravel", "RandomRain",
    "RandomSnow", "RandomSunFlare", "Spatter", "ToGray", "ToSepia",
})  # fmt: skip
_JITTERS = frozenset({"ColorJitter", "RandomPhotometricDistort"})
_MODULE = "torch.nn.modules.module"
_RESIZED_CROPS = frozenset({"RandomResizedCrop", "RandomSizedCrop"})


def kind_of(transform: Any) -> Kind:
    """Whose transform it is, by the modules of its class and their bases: no library is imported for it."""
    modules = _modules(transform)
    if any(name.split(".")[0] == "albumentations" for name in modules):
        return "albumentations"
    if any(name.startswith("torchvision.transforms") for name in modules):
        return "torchvision"
    return "module" if _MODULE in modules else "callable"


def parts(transform: Any) -> Iterator[Any]:
    """The transform and all that are inside it."""
    yield transform
    inner = getattr(transform, "transforms", None)
    if kind_of(transform) == "albumentations" and not any(b.__name__ == "BaseCompose" for b in type(transform).__mro__):
        inner = None  # its ColorJitter keeps functions under that name
    elif inner is None and _MODULE in _modules(transform):
        inner = transform.children()
    for part in inner or ():
        yield from parts(part)


def name_of(transform: Any) -> str:
    """'albumentations.Compose', 'augment.my_function': the package or module, and the name of the class or function."""
    named = transform if hasattr(transform, "__qualname__") else type(transform)
    module = named.__module__ if kind_of(transform) == "callable" else named.__module__.split(".")[0]
    return f"{module}.{named.__qualname__}"


def resizes_crops(transform: Any) -> bool:
    """Whether a random-resized-crop is inside."""
    return any(type(part).__name__ in _RESIZED_CROPS for part in parts(transform))


def colored_part(transform: Any) -> str:
    """The name of a part that makes no sense without colour, '' if there is none."""
    return next((type(part).__name__ for part in parts(transform) if _colored(part)), "")


def _modules(transform: Any) -> set[str]:
    """The modules of its class and their bases."""
    return {base.__module__ for base in type(transform).__mro__}


def _colored(part: Any) -> bool:
    name = type(part).__name__
    return name in _COLORED or (
        name in _JITTERS and (_moves(getattr(part, "saturation", None), 1) or _moves(getattr(part, "hue", None), 0))
    )


def _moves(span: Any, neutral: float) -> bool:
    return span is not None and any(value != neutral for value in span)
