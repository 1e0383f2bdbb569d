"""The commands that judge, as a process: decide, ensemble, crossval, evaluate of several, runs, diff; and predict."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from judged_runs import one_table, trained

import anmok
from anmok.stages.ensemble_model import EnsembleModel
from anmok.stages.predict import predict
from anmok.stages.run import Run

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    table = one_table(digits, folder)
    for name, epochs in (("a", 2), ("b", 5)):
        trained(table, folder / "runs" / name, epochs=epochs)
    return folder


def test_commands_say_what_they_did(home: Path, cli: Cli) -> None:
    calls: list[tuple[tuple[Any, ...], str]] = [
        (("evaluate", "runs/a", "runs/b"), "exact McNemar"),
        (("ensemble", "runs/a", "runs/b", "--how", "weighted", "--out", "runs/ens"), "the best member"),
        (("evaluate", "runs/ens"), "report-test.html"),
        (("decide", "runs/ens", "--cost", "fp=1,fn=9", "--positive", "digit-1"), "alarms for digit-1"),
        (("decide", "runs/b", "--abstain", "0.2"), "left to a person"),
        (("runs",), "weighted of 2"),
        (("diff", "runs/a", "runs/b"), "epochs"),
        (("evaluate", "runs/b/predictions/val.parquet", "--split", "val"), "accuracy"),
    ]
    for arguments, said in calls:
        found = cli(*arguments, cwd=home)
        assert found.returncode == 0, found.stderr
        assert said in found.stdout.replace("Accuracy", "accuracy"), (arguments, found.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("decide", "runs/a", "--cost", "fp=1"), 2, "cost of fn is missing"),
        (("decide", "runs/x"), 2, "no run here"),
        (("evaluate", "runs/a", "runs/b", "--out", "x.html"), 2, "printed"),
        (("ensemble", "runs/a"), 2, "two members"),
        (("crossval", "nowhere"), 2, "nowhere"),
        (("runs", "nowhere"), 2, "no such folder"),
    ],
)
def test_wrong_calls_are_one_line(home: Path, cli: Cli, arguments: tuple[str, ...], code: int, said: str) -> None:
    found = cli(*arguments, cwd=home)
    assert found.returncode == code
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_predict_answers_by_the_decision(home: Path, digits: Path, tmp_path: Path) -> None:
    from anmok.stages.decide import decide

    run = Run(home / "runs" / "a")
    decide(run, cost="fp=1,fn=1000", positive="digit-2", abstain=0.3, calibrate="none")
    found = predict(run.path, digits, out=tmp_path / "p.csv", sort_into=tmp_path / "sorted")
    model = anmok.load(run.path)
    from_python = model.predict([digits / i for i in found.ids])
    np.testing.assert_allclose(found.probs, from_python.probs, atol=1e-5)
    with (tmp_path / "p.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    labels = [row["label"] for row in rows]
    assert labels == found.labels
    assert "ask" in labels
    assert labels == from_python.labels
    assert labels != model.undecided([digits / i for i in found.ids]).labels
    asked = sum(label == "ask" for label in labels)
    assert len(list((tmp_path / "sorted" / "_ask").iterdir())) == asked
    for row in rows:
        if row["label"] != "ask":
            assert float(row["probability"]) == pytest.approx(float(row[f"p_{row['label']}"]), abs=1e-6)


def test_an_ensemble_is_loaded_and_predicts(home: Path, digits: Path, tmp_path: Path) -> None:
    made = anmok.ensemble([home / "runs" / "a", home / "runs" / "b"], out=tmp_path / "ens")
    for path in (made.path, made.path / "model"):
        model = anmok.load(path)
        assert isinstance(model, EnsembleModel)
    found = predict(made.path, digits, out=tmp_path / "p.parquet")
    images = [digits / i for i in found.ids]
    parts = [anmok.load(home / "runs" / name).predict(images).probs for name in "ab"]
    np.testing.assert_allclose(found.probs, np.mean(parts, axis=0), atol=1e-5)
    again = predict(model, digits)
    np.testing.assert_array_equal(again.probs, found.probs)
    assert "Ensemble of 2 models (soft)" in repr(model)
    assert found.model_hash == model.hash
