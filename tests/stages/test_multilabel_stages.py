"""Multi-label through every stage: two digits side by side, a column a digit, some of it unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sklearn.metrics as sk
from small_runs import SMALL

from anmok.core.files import read_json
from anmok.data.config import DataConfig
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.audit import audit
from anmok.stages.crossval import crossval
from anmok.stages.decide import decide
from anmok.stages.ensemble import ensemble
from anmok.stages.evaluate import evaluate
from anmok.stages.load import load
from anmok.stages.predict import predict
from anmok.stages.run import Run
from anmok.stages.split import split
from anmok.stages.train import train

DIGITS = ("digit-0", "digit-1", "digit-2", "digit-3")
N = 90


def pictures(digits: Path, folder: Path) -> np.ndarray:
    """N pairs of digits as PNG, and float32[N, 4]: which are in each, NaN for one label in eight."""
    from PIL import Image

    rng = np.random.default_rng(0)
    files = {d: sorted((digits / d).iterdir()) for d in DIGITS}
    truth = np.zeros((N, 4), np.float32)
    for i in range(N):
        pair = rng.integers(0, 4, 2)
        canvas = Image.new("L", (16, 8))
        for place, d in enumerate(pair):
            canvas.paste(Image.open(files[DIGITS[d]][int(rng.integers(40))]), (8 * place, 0))
        canvas.resize((32, 16)).save(folder / f"{i:03d}.png")
        truth[i, pair] = 1
    gaps = rng.random(truth.shape) < 1 / 8
    gaps[gaps.all(axis=1)] = False
    return np.where(gaps, np.nan, truth).astype(np.float32)


@pytest.fixture(scope="module")
def place(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures and three lists of them that say the same."""
    folder = tmp_path_factory.mktemp("multilabel")
    truth = pictures(digits, folder)
    names = [f"{i:03d}.png" for i in range(N)]
    columns = {d: [None if np.isnan(v) else int(v) for v in truth[:, k]] for k, d in enumerate(DIGITS)}
    pl.DataFrame({"image": names, **columns}).write_csv(folder / "columns.csv")
    lists = [[DIGITS[k] for k in np.flatnonzero(row == 1)] for row in truth]
    marks = [[f"?{DIGITS[k]}" for k in np.flatnonzero(np.isnan(row))] for row in truth]
    cells = [";".join(a + b) or ";" for a, b in zip(lists, marks, strict=True)]
    pl.DataFrame({"image": names, "label": cells}).write_csv(folder / "cells.csv")
    pl.DataFrame({"image": names, "label": [a + b for a, b in zip(lists, marks, strict=True)]}).write_parquet(
        folder / "lists.parquet"
    )
    np.save(folder / "truth.npy", truth)
    split(folder / "columns.csv", out=folder / "table.parquet", **{"split.val": 0.3, "split.test": 0.3})
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    return train(place / "table.parquet", out=place / "run", **{**SMALL, "epochs": 8, "loss": "asymmetric"})


def test_the_sources_say_the_same(place: Path) -> None:
    truth = np.load(place / "truth.npy")
    for name in ("columns.csv", "cells.csv", "lists.parquet"):
        table = open_table(place / name)
        assert (table.task, table.classes) == ("multilabel", DIGITS)
        np.testing.assert_array_equal(table.targets(), truth)


def test_stratified_by_every_label(place: Path) -> None:
    table = Table.load(place / "table.parquet")
    everything = np.nansum(table.targets(), axis=0)
    for name, share in (("train", 0.4), ("val", 0.3), ("test", 0.3)):
        got = np.nansum(table.where(split=name).targets(), axis=0)
        assert np.abs(got - share * everything).max() <= 2.5


def test_audited(place: Path, tmp_path: Path) -> None:
    found = audit(place / "columns.csv", out=tmp_path / "audit")
    content = read_json(tmp_path / "audit" / "audit.json")
    truth = np.load(place / "truth.npy")
    assert content["classes"] == {d: int(np.nansum(truth[:, k])) for k, d in enumerate(DIGITS)}
    assert content["images"] == N
    assert found is not None


def test_trained_judged_and_decided(run: Run) -> None:
    p = run.predictions("val")
    assert p.targets is not None
    assert np.isnan(p.targets).any()
    evaluation = run.evaluation("val")
    f1 = []
    for k in range(4):
        own = ~np.isnan(p.targets[:, k])
        f1.append(sk.f1_score(p.targets[own, k], p.probs[own, k] >= 0.5, zero_division=0))
    assert evaluation.value("macro_f1") == pytest.approx(np.mean(f1))
    assert {"hamming_loss", "average_precision"} <= evaluation["metrics"].keys()
    assert run.history[-1]["loss"] < run.history[0]["loss"]  # the asymmetric loss, over what is known
    decided = decide(run, cost={"fp": 1, "fn": 4})
    thresholds = decided.decision.thresholds
    assert thresholds is not None
    assert set(thresholds) == set(DIGITS)
    test = evaluate(run)
    assert set(test["decision"]["thresholds"]) == set(DIGITS)
    assert (run.path / "report-test.html").stat().st_size > 10_000


def test_no_crop_by_default(place: Path, tmp_path: Path) -> None:
    settings = {name: value for name, value in SMALL.items() if name != "augment"}
    config = train(place / "table.parquet", out=tmp_path / "run", **{**settings, "epochs": 1}).config
    assert (config.augment.policy, config.augment.scale, config.augment.translate) == ("light", (1.0, 1.0), 0.0625)


def test_predicted_to_a_csv_with_the_thresholds(run: Run, place: Path, tmp_path: Path) -> None:
    predict(run, place / "cells.csv", out=tmp_path / "p.csv")
    rows = pl.read_csv(tmp_path / "p.csv")
    limits = load(run.path).decision["thresholds"]
    for row in rows.iter_rows(named=True):
        want = [d for d in DIGITS if row[f"p_{d}"] >= limits[d]]
        assert (row["label"] or "").split(";") == (want or [""])


def test_the_model_folder_loads_again(run: Run, place: Path) -> None:
    again = load(run.path / "model")
    assert (again.task, again.classes) == ("multilabel", list(DIGITS))
    files = [str(place / f"{i:03d}.png") for i in range(5)]
    np.testing.assert_array_equal(again.predict(files).probs, run.model.predict(files).probs)
    assert read_json(run.path / "model" / "config.json")["problem_type"] == "multi_label_classification"


def test_cross_validated_and_together(run: Run, place: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**SMALL, "epochs": 1}
    found = crossval(place / "cells.csv", folds=2, out=tmp_path / "cv", **{**settings, "split.test": 0.3})
    assert found.evaluation["task"] == "multilabel"
    assert found.evaluation.value("average_precision") is not None
    other = train(place / "table.parquet", out=tmp_path / "other", **{**settings, "seed": 1})
    for how in ("soft", "stack"):
        both = ensemble([run.path, other.path], how=how, out=tmp_path / how)
        assert both.evaluation("val")["task"] == "multilabel"
        assert both.evaluation("val").value("macro_f1") is not None


def test_a_column_that_is_no_label_is_refused(place: Path) -> None:
    table = open_table(place / "columns.csv", DataConfig(label_columns=["digit-0", "digit-2"]))
    assert table.classes == ("digit-0", "digit-2")
    assert "digit-1" in table.rows.columns
