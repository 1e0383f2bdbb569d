"""Transforms of Albumentations as the JSON that `A.save` writes."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from anmok.augment.guest_parts import kind_of, parts
from anmok.augment.guests import Guest, guest
from anmok.core.errors import UsageError, did_you_mean
from anmok.core.optional import need


def load_guest(path: Path) -> Guest:
    """The Guest of a JSON file.  UsageError where it is no transform, or one with an argument that is not known."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"not valid JSON ({error}).", where=str(path), code="setting") from error
    if not isinstance(values, dict) or not isinstance(values.get("transform"), dict):
        raise UsageError(
            "no transform of Albumentations in it.", where=str(path), remedy="Write it with A.save(transform, path).",
            code="setting",
        )  # fmt: skip
    return guest(_built(values, str(path)))


def guest_text(policy: Guest) -> str | None:
    """The transform as JSON; None where that does not say all of it: a class of one's own, a function, arrays."""
    if policy.kind != "albumentations" or policy.mixes or not all(_own(part) for part in parts(policy.transform)):
        return None
    library = albumentations()
    from albumentations.core.serialization import serialize_enum

    try:
        values = serialize_enum(library.to_dict(policy.transform))
        text = json.dumps(values, indent=2, allow_nan=False)
        again = serialize_enum(library.to_dict(_built(json.loads(text), "augment")))
    except (NotImplementedError, TypeError, UsageError, ValueError):
        return None
    return text + "\n" if json.dumps(again) == json.dumps(values) else None


def albumentations() -> Any:
    """The package, without its look at the network for a newer release."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    return need("albumentations", "albumentations")


def _own(part: Any) -> bool:
    return type(part).__module__.startswith("albumentations.") and kind_of(part) == "albumentations"


def _built(values: dict[str, Any], where: str) -> Any:
    """The transform; what Albumentations would pass over with a warning is an error."""
    library = albumentations()
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return library.from_dict(values)
        except KeyError as error:
            name = str(error.args[0])
            raise UsageError(
                f"Albumentations {library.__version__} has no transform {name!r}.", where=where, code="setting",
                remedy=did_you_mean(name, SERIALIZABLE_REGISTRY) or f"The file is of {values.get('__version__')}.",
            ) from error  # fmt: skip
        except (AttributeError, TypeError, ValueError, UserWarning) as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"Albumentations {library.__version__} does not take it ({reason}).", where=where, code="setting",
                remedy=f"The file is of {values.get('__version__', 'an unknown version')}: write it anew with A.save.",
            ) from error  # fmt: skip
