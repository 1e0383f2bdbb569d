"""Tiny dual encoders, built once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import BUILDERS


@pytest.fixture(scope="session")
def tiny_dual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_dual(kind) gives the folder of a tiny model of that kind."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = BUILDERS[kind](tmp_path_factory.mktemp(kind))
        return made[kind]

    return of
