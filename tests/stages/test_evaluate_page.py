"""The page of anybody's predictions: beside the file or where it is asked for, with what its columns allow."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import anmok
from anmok.core.artifacts import save_predictions
from anmok.core.errors import UsageError
from anmok.core.types import Predictions
from anmok.stages import evaluate_page
from anmok.stages.evaluate import evaluate
from anmok.stages.evaluate_page import file_table, page_beside

NAMES = ["bottle", "can", "유리"]


def drawn(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + 1.2 * np.eye(3)[targets]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32), targets


def frame(**more: Any) -> pl.DataFrame:
    probs, targets = drawn()
    ids, names = [f"i{i}" for i in range(60)], [NAMES[t] for t in targets]
    return pl.DataFrame({"id": ids, "target": names, **{f"p_{n}": probs[:, i] for i, n in enumerate(NAMES)}, **more})


def answers(**more: Any) -> pl.DataFrame:
    probs, targets = drawn()
    said = [NAMES[k] for k in probs.argmax(1)]
    return pl.DataFrame(
        {"id": [f"i{i}" for i in range(60)], "target": [NAMES[t] for t in targets], "prediction": said, **more}
    )


def embedded(page: Path, name: str) -> Any:
    text = page.read_text(encoding="utf-8")
    start = text.index(">", text.index(f'<script type="application/json" id="{name}"')) + 1
    return json.loads(text[start : text.index("</script>", start)])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_it_lies_beside_the_file(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"theirs{suffix}"
    frame().write_parquet(file) if suffix == ".parquet" else frame().write_csv(file)
    found = evaluate(file, language="en")
    page = page_beside(file)
    assert page == tmp_path / "theirs-report.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([file.name, page.name])
    text = page.read_text(encoding="utf-8")
    assert f"<h1>theirs{suffix}</h1>" in text
    cells = embedded(page, "cells")
    assert sum(cell[2] for cell in cells) == found["n"] == 60
    assert all(address == "" for cell in cells for _, _, address in cell[3])  # the file names no image
    sliders = embedded(page, "sliders")["labels"]
    assert [one["label"] for one in sliders] == NAMES
    for name in ("pr", "roc", "reliability", "risk", "confusion", "classes"):
        assert f'data-spec="{name}"' in text, name
    evaluate(file, language="ko")  # written anew
    assert '<html lang="ko">' in page.read_text(encoding="utf-8")


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    file, out = tmp_path / "p.csv", tmp_path / "page.html"
    frame().write_csv(file)
    evaluate(file, out=out)
    assert out.is_file()
    assert not page_beside(file).exists()
    with pytest.raises(UsageError, match="exists"):
        evaluate(file, out=out)
    probs, targets = drawn()
    p = Predictions([str(i) for i in range(60)], NAMES, probs, targets)
    evaluate(p, out=tmp_path / "python.html")
    assert [one["label"] for one in embedded(tmp_path / "python.html", "sliders")["labels"]] == NAMES
    before = set(tmp_path.iterdir())
    evaluate(p)
    assert set(tmp_path.iterdir()) == before


def test_answers_alone_have_cells_and_no_order(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    answers().write_csv(file)
    found = evaluate(file, language="en")
    page = page_beside(file)
    text = page.read_text(encoding="utf-8")
    assert 'id="threshold"' not in text
    assert 'id="curves"' not in text
    assert 'id="mistakes"' not in text
    cells = embedded(page, "cells")
    assert sum(cell[2] for cell in cells) == 60
    assert {prob for cell in cells for _, prob, _ in cell[3]} == {None}
    assert "As the file answers:" in text
    assert "anmok decide" not in text
    assert found["answers_only"] is True
    assert "n/a" in text
    assert "파일에 확률이 없음" in (evaluate(file, language="ko"), page.read_text(encoding="utf-8"))[1]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(evaluate_page, "warn", texts.append)
    return texts


def test_named_images_are_shown(tmp_path: Path, heard: list[str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(58):  # the last two are not there
        Image.new("L", (20, 20), 4 * i).save(folder / f"사진 {i}.png")
    file = tmp_path / "p.parquet"
    frame(path=[f"photos/사진 {i}.png" for i in range(60)]).write_parquet(file)
    evaluate(file)
    shown = {i: address for cell in embedded(page_beside(file), "cells") for i, _, address in cell[3]}
    assert len(shown) > 20
    assert {i for i, address in shown.items() if not address} == {"i58", "i59"} & set(shown)
    for i, address in shown.items():
        if address:
            with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
                assert abs(int(np.asarray(picture.convert("L"))[9, 9]) - 4 * int(i[1:])) <= 6
    assert heard == [f"2 images of the column path not found below {tmp_path}"]
    assert 'src="data:image/webp' in page_beside(file).read_text(encoding="utf-8")  # the mistakes' pictures


def test_images_elsewhere_are_not_opened(tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "p.csv"
    frame(image=["../secret.png", str(tmp_path / "secret.png")] * 30).write_csv(file)
    evaluate(file)
    assert {address for cell in embedded(page_beside(file), "cells") for _, _, address in cell[3]} == {""}


def test_groups_splits_and_slices_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    probs, targets = drawn()
    right = (probs.argmax(1) == targets).tolist()
    more = {"split": ["val"] * 30 + ["test"] * 30, "group": [f"g{i // 20} {r}" for i, r in enumerate(right)]}
    frame(camera=["a", "b"] * 30, **more).write_csv(file)
    grouped = evaluate(file, slices="camera", language="en")
    text = page_beside(file).read_text(encoding="utf-8")
    assert "<h1>p.csv: test</h1>" in text
    assert "By camera" in text
    assert ">val</th>" in text
    assert grouped["n"] == 30
    frame(**{**more, "group": [f"g{i}" for i in range(60)]}).write_csv(file)
    alone = evaluate(file)
    width = [m["metrics"]["accuracy"]["high"] - m["metrics"]["accuracy"]["low"] for m in (grouped, alone)]
    assert width[0] > 1.2 * width[1]  # images of a group, which are right or wrong together, are worth fewer


def test_several_labels_with_unknown_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 3)) < 0.5).astype(np.float32)
    targets[:4, 1], targets[4] = np.nan, np.nan
    probs = np.clip(0.25 + 0.5 * np.nan_to_num(targets) + rng.normal(0, 0.2, targets.shape), 0, 1).astype(np.float32)
    file = save_predictions(
        Predictions([str(i) for i in range(40)], NAMES, probs, targets, "multilabel"), tmp_path / "p.parquet"
    )
    found = evaluate(file)
    assert found["n"] == 39
    assert [one["label"] for one in embedded(page_beside(file), "sliders")["labels"]] == NAMES
    table = file_table(Predictions([str(i) for i in range(40)], NAMES, probs, targets, "multilabel"))
    assert table.rows["label"].null_count() == 1


def test_a_folder_that_cannot_be_written_still_has_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[str]
) -> None:
    frame().write_csv(tmp_path / "p.csv")
    monkeypatch.setattr(evaluate_page.os, "access", lambda *_: False)
    assert evaluate(tmp_path / "p.csv")["n"] == 60
    assert not page_beside(tmp_path / "p.csv").exists()
    assert "name another place with --out" in heard[0]


def test_the_command_says_where_it_is(tmp_path: Path, cli: Callable[..., CompletedProcess[str]]) -> None:
    frame().write_csv(tmp_path / "p.csv")
    found = cli("evaluate", "p.csv", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.rstrip().endswith("p-report.html")
    found = cli("evaluate", "p.csv", "--out", "x.html", "--language", "ko", cwd=tmp_path)
    assert found.stdout.rstrip().endswith("x.html")
    assert '<html lang="ko">' in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert anmok.evaluate(tmp_path / "p.csv")["n"] == 60
