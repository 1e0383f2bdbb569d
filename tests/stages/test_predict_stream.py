"""Predictions in parts: the same file as in one piece, a kill that loses little, and what is never mixed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import anmok
from anmok.augment.preprocess import Preprocess
from anmok.core.artifacts import load_predictions, save_predictions
from anmok.core.errors import Interrupted, MachineError, UsageError
from anmok.core.types import Predictions
from anmok.data.table import Table
from anmok.evaluate.answers import answered
from anmok.stages import predict_stream
from anmok.stages.predict import as_frame, predict, predict_table, with_rejects
from anmok.stages.predict_stream import parts_of, stream


class Stub:
    """A model whose answers are a plain function of the pixels, and that counts the images it has seen."""

    task, hash = "multiclass", "ab" * 32

    def __init__(self, classes: list[str]) -> None:
        self.classes, self.preprocess, self.seen = classes, Preprocess(8), 0
        self.decision = {"version": 1, "temperature": 1.0, "thresholds": None, "costs": None}

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        z = images.reshape(len(images), -1)[:, : len(self.classes)].astype(np.float64) + np.arange(len(self.classes))
        return (z / z.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def table(digits: Path, tmp_path: Path) -> Table:
    """150 digits, one of which is no image."""
    found = anmok.open(digits)
    rows = found.rows[:150]
    (tmp_path / "bad.png").write_bytes(b"no image")
    images = [str(digits / i) for i in rows["image"]]
    images[70] = str(tmp_path / "bad.png")
    return replace(found, rows=rows.with_columns(pl.Series("image", images)), links=True)


@pytest.fixture
def model(table: Table) -> Stub:
    return Stub(list(table.classes))


def whole(model: Any, table: Table) -> Predictions:
    return answered(with_rejects(predict_table(model, table, threads=1), table.rejects), model.decision)


@pytest.mark.parametrize("part", [1, 37, 150, None])
def test_parts_make_the_same_files_as_one_piece(model: Stub, table: Table, tmp_path: Path, part: int | None) -> None:
    if part == 1:
        table = table.take(range(60, 80))
    wanted = whole(model, table)
    found = stream(model, table, tmp_path / "p.parquet", part=part, batch_size=8, threads=1)
    assert found.ids == wanted.ids
    np.testing.assert_array_equal(found.probs, wanted.probs)
    np.testing.assert_array_equal(found.targets, wanted.targets)
    assert found.errors == wanted.errors
    assert len(found.errors) == 1
    save_predictions(wanted, tmp_path / "one.parquet")
    one, many = load_predictions(tmp_path / "one.parquet"), load_predictions(tmp_path / "p.parquet")
    assert (one.ids, one.errors, one.model_hash, one.labels) == (many.ids, many.errors, many.model_hash, many.labels)
    np.testing.assert_array_equal(one.probs, many.probs)
    assert pq.read_schema(tmp_path / "one.parquet").equals(pq.read_schema(tmp_path / "p.parquet"))
    for top_k in (None, 2):
        out = tmp_path / f"{top_k}.csv"
        none = stream(model, table, out, top_k=top_k, keep=False, part=part, batch_size=8, threads=1)
        assert len(none) == 0
        assert out.read_text() == as_frame(wanted, top_k).write_csv()
    assert sorted(f.name for f in tmp_path.iterdir() if "partial" in f.name) == []


def test_what_was_finished_is_not_done_again(
    model: Stub, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = whole(model, table)
    real, calls = predict_stream.save_predictions, []

    def dies(p: Predictions, path: Path) -> Path:
        calls.append(path)
        if len(calls) == 4:
            raise MachineError("no room.", code="disk")
        return real(p, path)

    monkeypatch.setattr(predict_stream, "save_predictions", dies)
    with pytest.raises(MachineError, match="no room"):
        stream(model, table, tmp_path / "p.csv", part=20, batch_size=8, threads=1)
    assert not (tmp_path / "p.csv").exists()
    assert len(parts_of(tmp_path / "p.csv.partial")) == 3
    monkeypatch.setattr(predict_stream, "save_predictions", real)
    monkeypatch.setenv("ANMOK_QUIET", "")
    model.seen = 0
    found = stream(model, table, tmp_path / "p.csv", part=50, batch_size=16, threads=1)  # another part and batch size
    assert "going on after 60 of 150 images" in capsys.readouterr().err
    assert model.seen == 89  # 90 rows, one of which is no image
    np.testing.assert_array_equal(found.probs, wanted.probs)
    assert (tmp_path / "p.csv").read_text() == as_frame(wanted).write_csv()


@pytest.mark.parametrize("change", ["model", "source", "settings"])
def test_another_model_source_or_setting_starts_anew(
    model: Stub, table: Table, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "p.csv"
    with monkeypatch.context() as patch:
        patch.setattr(predict_stream, "rest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stream(model, table, out, part=50, threads=1)
    assert len(parts_of(tmp_path / "p.csv.partial")) == 3
    options: dict[str, Any] = {"threads": 1}
    if change == "model":
        model.hash = "cd" * 32
    elif change == "source":
        table = table.take(range(149))
    else:
        options["allow_truncated"] = True
    model.seen = 0
    monkeypatch.setenv("ANMOK_QUIET", "")
    found = stream(model, table, out, **options)
    assert f"of another {change}, so all images are predicted anew" in capsys.readouterr().err.replace("\n", " ")
    assert model.seen == len(table) - 1
    assert found.model_hash == model.hash


def test_a_damaged_part_is_done_again(
    model: Stub, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p.csv"
    with monkeypatch.context() as patch:
        patch.setattr(predict_stream, "rest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stream(model, table, out, part=50, threads=1)
    parts_of(tmp_path / "p.csv.partial")[1].write_bytes(b"cut off")
    model.seen = 0
    found = stream(model, table, out, threads=1)
    assert model.seen == 99  # the second part and what follows it
    np.testing.assert_array_equal(found.probs, whole(model, table).probs)


def test_a_signal_keeps_what_is_finished(model: Stub, table: Table, tmp_path: Path) -> None:
    real = model.probabilities

    def interrupts(images: np.ndarray) -> np.ndarray:
        if model.seen == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(images)

    model.probabilities = interrupts  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="stopped after 40 of 150 images") as caught:
        stream(model, table, tmp_path / "p.csv", part=40, threads=1)
    assert caught.value.exit_code == 5
    found = stream(model, table, tmp_path / "p.csv", threads=1)
    assert len(found) == 150
    assert not (tmp_path / "p.csv.partial").exists()


def test_something_else_in_the_way_is_left_alone(model: Stub, table: Table, tmp_path: Path) -> None:
    (tmp_path / "p.csv.partial").mkdir()
    (tmp_path / "p.csv.partial" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else") as caught:
        stream(model, table, tmp_path / "p.csv", threads=1)
    assert caught.value.code == "exists"
    assert (tmp_path / "p.csv.partial" / "mine.txt").read_text() == "mine"


def test_what_the_source_left_out_is_a_row_with_its_reason(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    names = sorted((digits / "digit-0").iterdir())[:5]
    for file in names:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "broken.png").write_bytes(b"")
    found = predict(Stub(["a", "b"]), folder, out=tmp_path / "p.csv", threads=1)
    rows = pl.read_csv(tmp_path / "p.csv")
    assert rows.height == len(found) == 6
    assert rows.filter(pl.col("error").is_not_null())["id"].to_list() == ["broken.png"]
    assert found.targets is None


KILLED = """
import sys, time, numpy as np
import anmok
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_predict_stream import Stub
from anmok.stages.predict_stream import stream
table = anmok.open(sys.argv[1])
model = Stub(list(table.classes))
if sys.argv[4] == "slow":
    real = model.probabilities
    model.probabilities = lambda images: (time.sleep(0.1), real(images))[1]
stream(model, table, Path(sys.argv[2]), part=16, batch_size=16, threads=1, keep=False)
print(model.seen)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on(digits: Path, tmp_path: Path) -> None:
    out, here = tmp_path / "p.csv", str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, str(digits), str(out), here]
    process = subprocess.Popen([*command, "slow"])
    partial = tmp_path / "p.csv.partial"
    until = time.monotonic() + 120
    while len(list(partial.glob("part-*"))) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(partial.glob("part-*")))
    assert 3 <= kept < 10
    done = subprocess.run([*command, "fast"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 160 - 16 * kept
    table = anmok.open(digits)
    assert out.read_text() == as_frame(whole(Stub(list(table.classes)), table)).write_csv()
