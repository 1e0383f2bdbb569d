"""Images beside the class folders: left out, or taken without a label where that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anmok.data.config import DataConfig
from anmok.data.sources import open_table
from anmok.data.split import split_table

Folder = Callable[..., Path]
ALLOW = DataConfig(allow_unlabelled=True)


def labels(folder: Path, config: DataConfig) -> dict[str, tuple[str | None, str | None]]:
    return {
        i: (label, split) for i, label, split in open_table(folder, config).rows.select("id", "label", "split").rows()
    }


@pytest.mark.parametrize(
    ("names", "beside"),
    [
        (("cat/1.png", "dog/2.png", "3.png"), "3.png"),
        (("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "4.png"), "4.png"),
        (("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "more/4.png"), "more/4.png"),
    ],
)
def test_what_lies_beside_is_left_out_or_taken_without_a_label(
    folder: Folder, names: tuple[str, ...], beside: str
) -> None:
    root = folder(*names)
    strict = open_table(root)
    assert [(r.id, r.kind) for r in strict.rejects] == [(beside, "unlabelled")]
    assert "--data.allow-unlabelled" in strict.rejects[0].reason
    assert set(labels(root, DataConfig())) == set(names) - {beside}
    taken = labels(root, ALLOW)
    assert set(taken) == set(names)
    assert taken[beside] == (None, None)
    assert {i: v for i, v in taken.items() if i != beside} == labels(root, DataConfig())
    assert open_table(root, ALLOW).rejects == ()


def test_the_labels_and_the_split_do_not_change(folder: Folder) -> None:
    root = folder(*(f"{label}/{n}.png" for label in ("cat", "dog") for n in range(20)), "loose.png")
    strict, loose = (split_table(open_table(root, config)) for config in (DataConfig(), ALLOW))
    assert loose.classes == strict.classes
    both = loose.rows.join(strict.rows, on="id", suffix="_strict")
    assert both["split"].to_list() == both["split_strict"].to_list()


def test_notes_name_the_paths_of_one_reason_together(folder: Folder) -> None:
    table = open_table(folder("cat/1.png", "dog/2.png", *(f"x{n}.png" for n in range(7))))
    told = [note for note in table.notes if note.startswith("warning: unlabelled")]
    assert len(told) == 1
    assert told[0].startswith(
        "warning: unlabelled: 7 paths (x0.png, x1.png, x2.png, x3.png, x4.png, …): beside the class"
    )
