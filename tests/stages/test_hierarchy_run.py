"""A run whose classes lie in a tree: read from a CSV or a column, judged, and answering with parents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from judged_runs import one_table, trained

from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.decide import decide
from anmok.stages.ensemble import ensemble
from anmok.stages.evaluate import evaluate
from anmok.stages.hierarchy import read_parents, with_hierarchy
from anmok.stages.load import load
from anmok.stages.run import Run

PARENTS = {"digit-0": "round", "digit-1": "straight", "digit-2": "straight", "digit-3": "round"}


def csv_of(folder: Path, text: str | None = None) -> Path:
    file = folder / "coarse.csv"
    file.write_text(text or "".join(f"{c},{p}\n" for c, p in PARENTS.items()))
    return file


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hierarchy")
    return trained(one_table(digits, folder), folder / "run", hierarchy=str(csv_of(folder)))


def test_a_run_is_judged_by_it(run: Run) -> None:
    assert dict(run.table.hierarchy) == PARENTS
    p, evaluation = run.predictions("val"), run.evaluation("val")
    round_ = np.array([PARENTS[c] == "round" for c in p.classes])
    called = p.probs[:, round_].sum(axis=1) > 0.5
    right = called == round_[p.targets]
    assert evaluation.value("coarse_accuracy") == pytest.approx(right.mean())
    fine = p.probs.argmax(axis=1)
    cost = np.where(fine == p.targets, 0, np.where(round_[fine] == round_[p.targets], 2, 4))
    assert evaluation.value("hierarchical_cost") == pytest.approx(cost.mean())
    found = evaluation["hierarchy"]
    assert sum(map(sum, found["confusion"]["counts"])) == len(p)
    assert found["fall_back"]["below"] == run.model.decision["fall_back"]["below"]
    assert found["text"]
    test = evaluate(run)
    assert test["hierarchy"]["fall_back"]["below"] == found["fall_back"]["below"]
    assert test.value("coarse_accuracy") is not None


def test_the_model_answers_with_parents(run: Run) -> None:
    below = run.model.decision["fall_back"]["below"]
    model = load(run.path)
    rows = run.table.where(split="test")
    found = model.predict([str(rows.root / name) for name in rows.rows["image"]])
    sure = found.probs.max(axis=1)
    assert all((label in PARENTS) == (s >= below) for label, s in zip(found.labels, sure, strict=True))
    model.decision["fall_back"]["below"] = 1.0
    assert set(model.predict([str(rows.root / rows.rows["image"][0])]).labels) <= set(PARENTS.values())


def test_deciding_and_ensembles_keep_it(run: Run, tmp_path: Path) -> None:
    other = trained(run.path / "table.parquet", tmp_path / "other", seed=1)  # the table remembers its hierarchy
    assert dict(other.table.hierarchy) == PARENTS
    decide(other)
    assert read_json(other.path / "model" / "decision.json")["fall_back"]["parents"] == PARENTS
    assert other.evaluation("val").value("coarse_accuracy") is not None
    both = ensemble([run.path, other.path], out=tmp_path / "both")
    assert read_json(tmp_path / "both" / "model" / "decision.json")["fall_back"]["parents"] == PARENTS
    assert both.evaluation("val").value("hierarchical_cost") is not None


def test_read_from_a_column(digits: Path) -> None:
    table = open_table(digits)
    family = pl.col("label").replace_strict(PARENTS).alias("family")
    table = table.with_rows(table.rows.with_columns(family), "families")
    assert dict(with_hierarchy(table, "column:family").hierarchy) == PARENTS
    one = pl.when(pl.col("id") == table.rows["id"][0]).then(pl.lit("odd")).otherwise(family).alias("family")
    with pytest.raises(DataError, match=r"'digit-0' has two parents, 'odd' and 'round'"):
        with_hierarchy(table.with_rows(table.rows.with_columns(one), "one odd"), "column:family")
    with pytest.raises(UsageError, match=r"no column 'famly'.*Did you mean family"):
        with_hierarchy(table, "column:famly")


def test_saved_with_the_table_and_dropped_with_its_classes(digits: Path, tmp_path: Path) -> None:
    table = with_hierarchy(open_table(digits), str(csv_of(tmp_path, "class,parent\n" + csv_of(tmp_path).read_text())))
    saved = Table.load(table.save(tmp_path / "t.parquet"))
    assert dict(saved.hierarchy) == PARENTS
    fewer = saved.with_rows(saved.rows.with_columns(pl.col("label").replace({"digit-0": "new"})), "renamed")
    fewer = fewer._with(classes=("digit-1", "digit-2", "digit-3", "new"))
    assert with_hierarchy(fewer, None).hierarchy == ()
    assert with_hierarchy(saved, None) is saved


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digit-0,round\n", r"3 classes have no parent: 'digit-1'"),
        ("digit-0,round\ndigit-0,straight\n", r"'digit-0' has two parents, 'round' and 'straight'"),
        ("digit-0,a,b\n", r"expected two columns"),
        ("class,parent\n", r"found no rows"),
    ],
)
def test_a_wrong_csv_is_named(digits: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_hierarchy(open_table(digits), str(csv_of(tmp_path, text)))


def test_no_csv_and_no_question_for_it(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_parents(tmp_path / "none.csv")
    table = open_table(digits)._with(task="multilabel")
    with pytest.raises(UsageError, match="one label per image"):
        with_hierarchy(table, str(csv_of(tmp_path)))
