"""anmok crossval: every image judged by a model that has not seen it; it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SMALL

from anmok.core.artifacts import load_predictions
from anmok.core.errors import Interrupted, UsageError
from anmok.data.table import Table
from anmok.stages import crossval as stage
from anmok.stages.crossval import crossval
from anmok.stages.ensemble_run import EnsembleRun
from anmok.stages.evaluate import evaluate
from anmok.stages.run import Run

FEW: dict[str, Any] = {**SMALL, "folds": 3}


@pytest.fixture(scope="module")
def done(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crossval(digits, out=tmp_path_factory.mktemp("cv") / "cv", **FEW).path


def test_every_image_is_judged_once_by_a_model_that_has_not_seen_it(done: Path) -> None:
    table = Table.load(done / "table.parquet")
    p = load_predictions(done / "predictions" / "oof.parquet")
    pool = table.rows.filter(table.rows["split"] != "test")
    assert sorted(p.ids) == sorted(pool["id"].to_list())
    assert set(p.split or ()) == {"oof"}
    for k in range(3):
        run = Run(done / f"fold-{k}")
        assert run.finished
        own = run.table
        trained = set(own.where(split="train").rows["id"])
        judged = run.predictions("val")
        assert not trained & set(judged.ids)
        place = [p.ids.index(i) for i in judged.ids]
        np.testing.assert_array_equal(p.probs[place], judged.probs)
        assert set(own.where(split="test").rows["id"]) == set(table.where(split="test").rows["id"])


def test_its_evaluation_has_the_folds(done: Path) -> None:
    found = evaluate(done / "predictions" / "oof.parquet")
    p = load_predictions(done / "predictions" / "oof.parquet")
    assert found.value("accuracy") == pytest.approx(float((p.probs.argmax(1) == p.targets).mean()))
    again = crossval(resume=done)  # finished: nothing is trained
    assert again.evaluation.value("accuracy") == found.value("accuracy")
    assert len(again.evaluation["folds"]) == 3
    assert "standard deviation" in repr(again)
    assert (done / "report.html").is_file()


def test_one_ensemble_of_all(done: Path) -> None:
    run = EnsembleRun(done / "ensemble")
    assert evaluate(run)["split"] == "test"
    parts = []
    for k in range(3):
        evaluate(done / f"fold-{k}")
        parts.append(Run(done / f"fold-{k}").predictions("test").probs)
    np.testing.assert_allclose(run.predictions("test").probs, np.mean(parts, axis=0), atol=1e-5)
    assert not len(run.table.where(split="val"))  # its members have trained on every fold


def test_it_goes_on_where_it_stopped(digits: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, begun = stage.start, []

    def stopped(path: Path, *rest: Any) -> Run:
        begun.append(path.name)
        if path.name == "fold-1":
            raise Interrupted("stopped as asked.")
        return honest(path, *rest)

    monkeypatch.setattr(stage, "start", stopped)
    with pytest.raises(Interrupted, match=r"fold 2 of 3.*--resume"):
        crossval(digits, out=tmp_path / "cv", **FEW)
    assert begun == ["fold-0", "fold-1"]
    monkeypatch.setattr(stage, "start", honest)
    before = (tmp_path / "cv" / "fold-0" / "events.jsonl").read_bytes()
    crossval(resume=tmp_path / "cv")
    assert (tmp_path / "cv" / "fold-0" / "events.jsonl").read_bytes() == before
    whole, other = (load_predictions(path / "predictions" / "oof.parquet") for path in (done, tmp_path / "cv"))
    assert whole.ids == other.ids
    np.testing.assert_allclose(whole.probs, other.probs, atol=1e-6)


def test_wrong_calls(digits: Path, tmp_path: Path) -> None:
    for options, match in (
        ({"folds": 1}, "folds are 2 or more"),
        ({"model": "lenett"}, "lenet"),
        ({"epohcs": 1}, "Did you mean epochs"),
    ):
        with pytest.raises(UsageError, match=match):
            crossval(digits, out=tmp_path / "cv", **{**FEW, **options})
        assert not (tmp_path / "cv").exists()
    with pytest.raises(UsageError, match="no cross-validation here"):
        crossval(resume=tmp_path)
    with pytest.raises(UsageError, match="takes no data"):
        crossval(digits, resume=tmp_path)
    with pytest.raises(UsageError, match="nothing to train on"):
        crossval()
