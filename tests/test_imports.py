"""The walls between the rooms: who may import whom, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "anmok"
FRONT = {"cli", "commands", "__main__", "__init__"}

# A room, or a module of it whose walls differ, and what it may import besides itself.
MAY: dict[str, set[str]] = {
    "core": set(),
    "data": {"core"},
    # the loader's threads prepare and augment
    **{f"data.{name}": {"core", "augment"} for name in ("batches", "device_batch", "loading", "pixels")},
    "audit": {"core", "data"},
    "augment": {"core"},
    "models": {"core"},
    "objectives": {"core", "models"},
    "engine": {"core"},
    "evaluate": {"core"},
    "nshot": {"core", "models", "evaluate"},
    "expand": {"core", "data"},
    "deploy": {
        "core", "models", "data.decode", "augment.preprocess", "augment.tta", "engine.predict", "evaluate.answers",
        "evaluate.calibrate", "evaluate.decision",
    },
    "report": {"core"},
    "scale": {"core"},
    "stages": {
        "core", "data", "audit", "augment", "models", "objectives", "engine", "evaluate", "nshot", "expand", "deploy",
        "report",
    },
    "studio": {"stages"},
}  # fmt: skip
NEVER = {
    "evaluate": {"torch", "torchvision", "timm"},
    "core": {"torch", "pandas"},
    "data": {"torch"},
    "audit": {"torch"},
}


def files() -> list[Path]:
    return sorted(p for p in SOURCE.rglob("*.py") if p.relative_to(SOURCE).parts[0].removesuffix(".py") not in FRONT)


def imports(path: Path) -> set[str]:
    """Modules a file imports when it runs, those inside functions included; imports for types alone are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    room, module = parts[0], ".".join(parts)
    allowed = MAY[module] if module in MAY else MAY[room]
    for name in imports(path):
        if not name.startswith("anmok."):
            assert name.split(".")[0] not in NEVER.get(room, set()), f"{module} imports {name}"
            continue
        other = name.removeprefix("anmok.")
        inside = other.split(".")[0] == room or any(other == a or other.startswith(f"{a}.") for a in allowed)
        assert inside, f"{module} imports {name}; {room} may import {', '.join(sorted(allowed)) or 'nothing of ours'}"


def test_rooms_have_no_circle() -> None:
    graph = {room: {a.split(".")[0] for a in allowed} for room, allowed in MAY.items() if "." not in room}
    done: set[str] = set()
    while len(done) < len(graph):
        free = {room for room, needs in graph.items() if room not in done and needs <= done}
        assert free, f"a circle among {sorted(set(graph) - done)}"
        done |= free


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_file_is_one_idea(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 500
    assert path.name not in ("utils.py", "helpers.py")
