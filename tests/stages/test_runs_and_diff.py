"""anmok evaluate A B, anmok runs, anmok diff: what there is, what differs, what is better."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from judged_runs import one_table, trained
from scipy.stats import binomtest

from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError, UsageError
from anmok.core.types import Predictions
from anmok.stages.diff import diff
from anmok.stages.ensemble import ensemble
from anmok.stages.evaluate import evaluate
from anmok.stages.paired import paired
from anmok.stages.run import Run
from anmok.stages.runs import runs


@pytest.fixture(scope="module")
def home(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paired")
    table = one_table(digits, folder)
    trained(table, folder / "runs" / "a", epochs=1)
    trained(table, folder / "runs" / "b", epochs=8)
    ensemble([folder / "runs" / "a", folder / "runs" / "b"], out=folder / "runs" / "ens")
    return folder / "runs"


def test_two_runs_on_the_split_that_both_have(home: Path) -> None:
    found = paired([home / "a", home / "b"])
    assert found.split == "val"  # nobody has looked at the test split
    (row,) = found.rows
    a, b = (Run(home / name).predictions("val") for name in "ab")
    right = [p.probs.argmax(1) == p.targets for p in (a, b)]
    only = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    assert row["mcnemar"]["p_value"] == pytest.approx(binomtest(only[0], sum(only), 0.5).pvalue)
    assert row["metrics"]["accuracy"]["value"] == pytest.approx(right[1].mean() - right[0].mean())
    text = repr(found)
    assert "b is better than a" in text
    assert "exact McNemar" in text
    turned = paired([home / "b", home / "a"])
    assert "b is better than a" in repr(turned)


def test_three_are_corrected_for(home: Path) -> None:
    found = paired([home / "a", home / "b", home / "ens"], split="val")
    assert len(found.rows) == 3
    assert all(row["mcnemar"]["p_holm"] >= row["mcnemar"]["p_value"] for row in found.rows)
    assert "corrected for 3 comparisons" in repr(found)


def test_a_run_beside_a_file(home: Path, tmp_path: Path) -> None:
    p = Run(home / "b").predictions("val")
    file = save_predictions(p.select(np.arange(len(p))[::-1]), tmp_path / "mine.parquet")  # in another order
    found = paired([home / "b", file])
    assert found.rows[0]["metrics"]["accuracy"]["value"] == 0
    assert found.rows[0]["mcnemar"]["p_value"] == 1
    assert "nobody can say" in repr(found)


def test_what_cannot_be_compared(home: Path, tmp_path: Path) -> None:
    p = Run(home / "b").predictions("val")
    with pytest.raises(UsageError, match="two models"):
        paired([home / "a"])
    with pytest.raises(UsageError, match="named twice"):
        paired([home / "a", home / "a"])
    with pytest.raises(UsageError, match="no test predictions"):
        paired([home / "a", home / "b"], split="test")
    short = save_predictions(p.select(np.arange(len(p)) > 3), tmp_path / "short.parquet")
    with pytest.raises(DataError, match="ids do not match"):
        paired([home / "b", short])
    other = Predictions(p.ids, ["x", *p.classes[1:]], p.probs, p.targets, p.task, p.split)
    with pytest.raises(DataError, match="lacks digit-0"):
        paired([p, other])


def test_the_list_of_runs(home: Path) -> None:
    found = runs(home)
    assert {row.path for row in found.rows} == {"a", "b", "ens"}
    by = {row.path: row for row in found.rows}
    assert (by["a"].kind, by["a"].model, by["a"].state) == ("run", "lenet", "finished")
    assert (by["ens"].kind, by["ens"].model) == ("ensemble", "soft of 2")
    run = Run(home / "a")
    assert run.table.fingerprint.startswith(by["a"].data)
    assert by["a"].val is not None
    assert by["a"].val["value"] == run.evaluation("val").value("accuracy")
    assert by["a"].test is None
    assert by["a"].size == sum(p.stat().st_size for p in (home / "a").rglob("*") if p.is_file())
    text = repr(found)
    assert "3 runs below" in text
    assert found.rows[-1].path == "ens"  # the newest
    assert "<table>" in found._repr_html_()
    assert [row.path for row in runs(home / "a").rows] == ["."]


def test_a_damaged_run_is_a_row(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "a", tmp_path / "runs" / "cut")
    (tmp_path / "runs" / "cut" / "evaluation-val.json").write_text("{")
    shutil.copytree(home / "a", tmp_path / "runs" / "toml")
    (tmp_path / "runs" / "toml" / "config.toml").write_text("[")
    states = {row.path: row.state for row in runs(tmp_path / "runs").rows}
    assert "not valid JSON" in states["cut"]
    assert "not valid TOML" in states["toml"]


def test_no_runs(tmp_path: Path) -> None:
    assert "no runs below" in repr(runs(tmp_path))
    with pytest.raises(UsageError, match="no such folder"):
        runs(tmp_path / "runs")


def test_what_differs(home: Path) -> None:
    found = diff(home / "a", home / "b")
    assert found.settings == {"epochs": (1, 8)}
    assert found.fingerprints[0] == found.fingerprints[1]
    assert found.data == ()
    first, second = found.scores["val"]["accuracy"]
    assert (first["value"], second["value"]) == tuple(Run(home / n).evaluation("val").value("accuracy") for n in "ab")
    assert "b is better than a" in found.verdict
    text = repr(found)
    assert "epochs  1 → 8" in text
    assert "Scores, val" in text


def test_other_data_are_named(home: Path, digits: Path, tmp_path: Path) -> None:
    trained(one_table(digits, tmp_path, **{"split.seed": 3}), tmp_path / "c", epochs=1, seed=4)
    found = diff(home / "a", tmp_path / "c")
    assert set(found.settings) == {"seed"}
    assert any(line.startswith("moved to another split: ") for line in found.data)
    assert "no paired test" in found.verdict
    assert "→" in repr(found)
    with pytest.raises(UsageError, match="no run here"):
        diff(home / "a", tmp_path / "absent")


def test_the_same_run_has_no_difference(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "a", tmp_path / "copy")
    text = repr(diff(home / "a", tmp_path / "copy"))
    assert text.count("  the same") == 2
    assert "nobody can say" in text


def test_groups_widen_the_intervals(home: Path, digits: Path, tmp_path: Path) -> None:
    lines = ["image,label,group"]
    files = sorted(digits.rglob("*.png"))
    lines += [f"{f.relative_to(digits)},{f.parent.name},g{i // 8}" for i, f in enumerate(files)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    table = one_table(tmp_path / "list.csv", tmp_path, image_root=str(digits))
    a, b = (trained(table, tmp_path / name, epochs=n) for name, n in (("a", 1), ("b", 4)))
    found = paired([a, b])
    assert found.rows[0]["mcnemar"]["value"] is None
    assert "paired bootstrap over groups" in repr(found)
    alone = evaluate(b.predictions("val"), split="val")
    grouped = b.evaluation("val")
    width = [e["metrics"]["accuracy"]["high"] - e["metrics"]["accuracy"]["low"] for e in (alone, grouped)]
    assert width[1] >= width[0]
