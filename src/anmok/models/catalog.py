"""What is known of a network before it is built: family, size, cost, weights and their licence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from anmok.core.errors import UsageError, did_you_mean
from anmok.models.families import family_of
from anmok.models.own import OWN, kind_of

COSTLESS = (UsageError, RuntimeError, NotImplementedError, ValueError, AssertionError, TypeError, AttributeError)


@dataclass(frozen=True)
class Entry:
    """A network of the catalogue.

    parameters, macs: with 1,000 classes, of one image of image_size (pixels), None where they cannot be counted without
    building it. weights: the hub's repository, None where there is none; cached: whether they are on this machine;
    licence: of the weights, as they who publish the network state it, None where they do not.
    """

    name: str
    family: str
    image_size: int
    parameters: int | None
    macs: int | None
    weights: str | None
    licence: str | None
    cached: bool


def all_names(tags: bool = False) -> list[str]:
    """Every name that a network can be built by, ours first; with `tags`, timm's as they name one set of weights."""
    import timm
    from torchvision import models

    theirs = timm.list_models(pretrained=True) if tags else timm.list_models()
    return [*OWN, *theirs, *(f"torchvision/{name}" for name in models.list_models(module=models))]


def names_like(pattern: str) -> list[str]:
    """The names that a pattern with * and ? means, in any case; one with a dot looks among sets of weights.

    UsageError naming the nearest ones where there is none.
    """
    names = all_names(tags="." in pattern)
    found = [name for name in names if fnmatchcase(name.lower(), pattern.lower())]
    if not found:
        bare = pattern.strip("*?").lower()
        raise UsageError(
            f"no model is called {pattern!r}.", where="anmok models", code="model",
            remedy=did_you_mean(bare, names) or "'*' is any text: \"resnet*\", \"*vit*\", \"torchvision/*\".",
        )  # fmt: skip
    return found


def entry(name: str) -> Entry:
    """What is known of one network; nothing is read from the network, and its weights take no memory.

    UsageError for an unknown name.
    """
    from anmok.models.macs import cost_by_name
    from anmok.models.networks import own_size

    size = own_size(name)
    try:
        cost = cost_by_name(name, size)
        parameters, macs = cost.parameters, cost.macs
    except COSTLESS:
        parameters, macs = None, None
    weights, licence = weights_of(name)
    return Entry(name, family_of(name), size, parameters, macs, weights, licence, bool(weights and is_cached(weights)))


def weights_of(name: str) -> tuple[str | None, str | None]:
    """(the hub's repository, its licence) of the weights that --weights pretrained takes."""
    from anmok.models.timm_networks import timm_cfg

    kind = kind_of(name)
    if kind == "own":
        return OWN[name].hub or None, OWN[name].licence or None
    if kind != "timm":
        return None, None
    cfg = timm_cfg(name)
    return (cfg.hf_hub_id, cfg.license) if cfg.hf_hub_id else (None, None)


def is_cached(repo: str, file: str = "model.safetensors") -> bool:
    """Whether the hub's local cache holds a file of a repository; looks nowhere else."""
    import huggingface_hub

    return isinstance(huggingface_hub.try_to_load_from_cache(repo, file), str)


def entries(names: Iterable[str]) -> list[Entry]:
    """The entries of these names, with a bar while they are counted."""
    from anmok.core.progress import bar

    names = list(names)
    with bar("looking at models", len(names)) as progress:
        found = []
        for name in names:
            found.append(entry(name))
            progress.advance(1, name)
    return found
