"""Slices of a run and of a file: each the score of its rows alone, named in evaluation.json, terminal and report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_runs import SMALL

from anmok.core.errors import UsageError
from anmok.core.events import read_events
from anmok.evaluate.metrics import evaluate as scored
from anmok.stages.cells import shares
from anmok.stages.decide import decide
from anmok.stages.evaluate import evaluate
from anmok.stages.open import open_
from anmok.stages.run import Run
from anmok.stages.slices import MOST, divisions, file_divisions, names_of, own_columns
from anmok.stages.train import train


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two classes in three splits; every third image from an old camera, one test image twice, some larger."""
    folder = tmp_path_factory.mktemp("sliced")
    rows = []
    for digit in (0, 1):
        for n, path in enumerate(sorted((digits / f"digit-{digit}").iterdir())):
            name = f"{digit}-{n:02d}.png"
            target = folder / ("rack 1" if n % 2 else "rack 2") / name
            target.parent.mkdir(exist_ok=True)
            with Image.open(path) as picture:
                picture.resize((16, 16) if n % 4 == 0 else picture.size).save(target)
            split = ("train", "val", "test")[n % 3]
            rows.append((f"{target.parent.name}/{name}", f"d{digit}", split, "old" if n % 5 == 0 else "new", n + 0.5))
    image, label, split, *_ = next(row for row in rows if row[2] == "test")
    (folder / "rack 1" / "again.png").write_bytes((folder / image).read_bytes())
    rows.append(("rack 1/again.png", label, split, "new", 99.5))
    pl.DataFrame(rows, ["image", "label", "split", "camera", "grams"], orient="row").write_csv(folder / "set.csv")
    return train(folder / "set.csv", out=folder / "run", **SMALL)


def test_every_slice_is_its_rows_alone(run: Run) -> None:
    found = evaluate(run, slices="camera,folder,size,duplicates,grams")
    slices, p = found["slices"], run.predictions("test")
    assert list(slices) == ["camera", "folder", "size", "duplicates", "grams"]
    camera = dict(run.table.rows.select("id", "camera").iter_rows())
    for row in slices["camera"]:
        keep = np.array([camera[i] == row["value"] for i in p.ids])
        alone = scored(p.select(keep), "test", ranking=False)["metrics"]
        assert row["n"] == keep.sum()
        for name in ("accuracy", "macro_f1", "macro_recall"):
            assert row["metrics"][name].get("value") == alone[name].get("value")
    assert {row["value"] for row in slices["folder"]} == {"rack 1", "rack 2"}
    sizes = {row["value"]: row for row in slices["size"]}
    assert sizes["small"]["pixels"] == [64, 64]
    assert sizes["large"]["pixels"] == [256, 256]
    kinds = {row["value"]: row["n"] for row in slices["duplicates"]}
    assert kinds == {"first": len(p) - 1, "again": 1}
    assert sum(row["n"] for row in slices["grams"]) == len(p)
    for rows in slices.values():
        known = [r["metrics"]["accuracy"]["value"] for r in rows if r["metrics"]["accuracy"]["value"] is not None]
        assert known == sorted(known)
    assert json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))["slices"] == slices
    page = (run.path / "report-test.html").read_text(encoding="utf-8")
    assert "one of each image (duplicates left out)" in page
    assert "rack 2" in page


def test_one_evaluation_is_one_look(run: Run) -> None:
    def looks() -> int:
        return sum(e["split"] == "test" for e in read_events(run.path / "events.jsonl", "look"))

    before = looks()
    evaluate(run, slices="camera,folder")
    assert looks() == before + 1
    with pytest.raises(UsageError, match=r"no such column as cammera; .*Did you mean camera"):
        evaluate(run, slices="cammera")
    with pytest.raises(UsageError, match="no such language as de"):
        evaluate(run, language="de")
    assert looks() == before + 1


def test_unasked_it_takes_what_divides(run: Run) -> None:
    rows = run.table.labelled().where(split="test")
    assert own_columns(rows) == ["camera", "folder", "size"]
    assert list(evaluate(run)["slices"]) == ["camera", "folder", "size"]


def test_a_folder_that_is_the_label_divides_nothing(digits: Path) -> None:
    assert own_columns(open_(digits)) == ["size"]
    table = open_(digits)
    same = table.take(np.arange(8))._with(rows=table.rows.with_columns(split=pl.lit("test")))
    assert [d.column for d in divisions(same, "test")] == []  # all sizes are alike
    assert [d.column for d in divisions(same, "test", "size,folder")] == ["folder"]


def test_a_decision_scores_the_slices_anew(run: Run) -> None:
    evaluate(run, slices="camera")
    decide(run, cost="fp=1,fn=5", positive="d1", calibrate="none")
    again = run.evaluation("test")["slices"]
    assert list(again) == ["camera"]
    assert again == evaluate(run, slices="camera")["slices"]


def test_a_file_is_sliced_by_its_columns(run: Run, tmp_path: Path) -> None:
    evaluate(run)
    p = run.predictions("test")
    probs = [json.dumps([float(x) for x in row]) for row in p.probs]
    frame = pl.DataFrame({"id": p.ids, "target": [p.classes[t] for t in p.targets], "probs": probs})  # type: ignore[union-attr]
    frame.with_columns(shift=pl.Series(["day" if n % 2 else "night" for n in range(len(p))])).write_csv(
        tmp_path / "p.csv"
    )
    found = evaluate(tmp_path / "p.csv", slices="shift,folder")["slices"]
    assert {row["value"] for row in found["shift"]} == {"day", "night"}
    assert {row["value"] for row in found["folder"]} == {"rack 1", "rack 2"}
    assert "slices" not in evaluate(tmp_path / "p.csv").data
    with pytest.raises(UsageError, match=r"no such column as size; there are id, target, probs, shift, folder"):
        evaluate(tmp_path / "p.csv", slices="size")
    with pytest.raises(UsageError, match="name no columns"):
        evaluate(p, slices="shift")


def test_many_values_become_few() -> None:
    frame = pl.DataFrame(
        {"id": [f"i{n}" for n in range(400)], "who": [f"w{n % 80}" if n else None for n in range(400)]}
    )
    (division,) = file_divisions(frame.with_columns(n=pl.arange(400).reverse() / 7), "who")
    assert len(set(division.parts.values())) == MOST + 1
    (numbers,) = file_divisions(frame.with_columns(n=pl.Series(range(400)) / 7), ["n"])
    assert len(set(numbers.parts.values())) == 4
    assert names_of(" a, b ,a") == ["a", "b"]
    with pytest.raises(UsageError, match="name the columns"):
        names_of("a,,b")


@given(st.lists(st.integers(1, 500), max_size=400), st.integers(1, 12), st.integers(1, 300))
def test_cells_share_the_room(sizes: list[int], each: int, most: int) -> None:
    out = shares(sizes, each, most)
    assert len(out) == len(sizes)
    assert sum(out) <= most
    assert all(0 <= n <= min(each, size) for n, size in zip(out, sizes, strict=True))
    if len(sizes) <= most:
        assert all(out)


def test_the_command_in_korean(run: Run, cli: Callable[..., CompletedProcess[str]]) -> None:
    found = cli("evaluate", run.path, "--slices", "camera", "--language", "ko")
    assert found.returncode == 0, found.stderr
    assert "정확도" in found.stdout
    assert "카메라별 점수" in found.stdout
    page = (run.path / "report-test.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page
    assert "데이터 부분별 성능" in page
    wrong = cli("evaluate", run.path, run.path, "--slices", "camera")
    assert wrong.returncode == 2
    assert "one run at a time" in wrong.stderr
