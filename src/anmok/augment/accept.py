"""Whatever may stand for an augmentation, as the Policy or Guest it means; and its copy in a run's folder.

A run keeps what it was given: a file's content as augment.toml or augment.json, and likewise a Policy, or a transform
of Albumentations that JSON can hold. Any other object is named in the configuration as object:MODULE.NAME and must be
given again to resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anmok.augment.config import FILES, OBJECT, AugmentConfig
from anmok.augment.files import load_policy, policy_text
from anmok.augment.guests import Guest, guest
from anmok.augment.policy import Policy
from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.files import sha256, write_atomic

_MIXING = ("mixup", "cutmix", "mix")


def is_object(augment: Any) -> bool:
    """Whether it is an object, not the name, file or settings of a policy."""
    return augment is not None and not isinstance(augment, str | Path | Mapping | AugmentConfig)


def as_policy(
    augment: Any, relative: bool = True, depth: int = 3, folder: Path | None = None, given: Any = None
) -> Policy | Guest:
    """The Policy or Guest of a name, a file's path, settings, a Policy, or a transform of the user's; None is neutral.

    relative, depth: see `build_policy`. folder: a run's, whose copy of the policy is taken. given: the object that the
    run was given, where there was one.  UsageError for what cannot apply to images of `depth` channels, and where a run
    needs its object or is given another one; DataError where its copy is missing.
    """
    if augment is None:
        return Policy()
    if is_object(augment):
        policy = augment if isinstance(augment, Policy) else guest(augment)
        policy.check(depth)
        return policy
    if isinstance(augment, str | Path):
        augment = {"policy": str(augment)}
    config = augment if isinstance(augment, AugmentConfig) else resolve(AugmentConfig, augment)
    if not (_is_file(config) or config.policy.startswith(OBJECT)):
        from anmok.augment.named import build_policy

        named = build_policy(config, relative, depth)
        _refuse(given, named=config.policy)
        return named
    policy = _mixed(_found(config, folder, given), config)
    policy.check(depth)
    return policy


def name_for(augment: Any) -> str:
    """What the configuration calls an object: the file it is kept as, or object:MODULE.NAME."""
    policy = augment if isinstance(augment, Policy) else guest(augment)
    content = policy_text(policy)
    return f"{OBJECT}{policy.name}" if content is None else f"augment{content[0]}"  # type: ignore[union-attr]


def keep(config: AugmentConfig, folder: Path, given: Any = None) -> Path | None:
    """Write the run's copy of its policy; None where there is nothing to copy: a name, or an object without a file."""
    if not _is_file(config):
        return None
    if given is None:
        load_policy(config.policy)
        content = Path(config.policy).read_bytes()
    else:
        found = policy_text(given if isinstance(given, Policy) else guest(given))
        if found is None:  # of an object that is none of its own name's
            return None
        content = found[1].encode()
    return write_atomic(kept(config, folder), content)


def kept(config: AugmentConfig, folder: Path) -> Path:
    """Where a run keeps its policy's file."""
    return folder / f"augment{Path(config.policy).suffix.lower()}"


def digest(config: AugmentConfig, folder: Path) -> str | None:
    """SHA-256 of the run's copy, hex; None where it has none: for checkpoints, which go on with no other."""
    return sha256(_present(config, folder)) if _is_file(config) else None


def _is_file(config: AugmentConfig) -> bool:
    return config.policy.lower().endswith(FILES) and not config.policy.startswith(OBJECT)


def _found(config: AugmentConfig, folder: Path | None, given: Any) -> Policy | Guest:
    if config.policy.startswith(OBJECT):
        if given is None:
            raise UsageError(
                f"the augmentation was an object, {config.policy.removeprefix(OBJECT)}.", where="augment",
                remedy="Give it again: augment=….", code="resume",
            )  # fmt: skip
        if name_for(given) != config.policy:
            _refuse(given, named=config.policy)
        return given if isinstance(given, Policy) else guest(given)
    if folder is None:
        return load_policy(config.policy)
    path = _present(config, folder)
    policy = load_policy(path)
    if isinstance(given, Policy):
        same = given == policy
    else:
        same = given is None or policy_text(guest(given)) == policy_text(policy)
    if not same:
        _refuse(given, named=str(path))
    return policy


def _present(config: AugmentConfig, folder: Path) -> Path:
    path = kept(config, folder)
    if not path.is_file():
        raise DataError(
            "the run's copy of its augmentation is missing.", where=str(path), code="missing-file",
            remedy=f"Bring it back (it began as {config.policy}), or train anew.",
        )  # fmt: skip
    return path


def _refuse(given: Any, named: str) -> None:
    if given is not None:
        raise UsageError(
            f"the run began with another augmentation, {named}.", where="augment", code="resume",
            remedy="Leave augment out, or train anew with another --out.",
        )  # fmt: skip


def _mixed(policy: Policy | Guest, config: AugmentConfig) -> Policy | Guest:
    """With the mixing that the configuration sets; UsageError for quantities that only a named policy has."""
    own = {key: value for key, value in config.model_dump(exclude={"policy"}).items() if value is not None}
    other = [key for key in own if key not in _MIXING]
    if other:
        raise UsageError(
            f"{', '.join(other)} cannot be set apart: {config.policy} is a whole policy.", where="augment",
            remedy="Write it there, or start from a named policy.", code="setting",
        )  # fmt: skip
    return replace(policy, **own)
