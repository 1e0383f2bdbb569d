"""bench model: the table of a run, a folder, or a network by its name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anmok.core.errors import UsageError
from anmok.deploy.bakeoff import Bounds, Row
from anmok.deploy.runtimes import FORMS
from anmok.stages.bench_model import bench_model
from anmok.stages.bench_model_result import ModelSpeed, table_lines


def test_a_network_by_its_name_is_compared_but_not_judged(cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = cli(
        "bench", "model", "lenet", "--image-size", 32, "--batch", "2", "--threads", 1, "--seconds", 0.01, "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["weights"] == "random"
    assert found["shape"] == [32, 32, 3]
    rows = found["rows"]
    assert len(rows) == len(FORMS)
    for batch in (2,):
        mine = [r for r in rows if r["batch"] == batch]
        eager = next(r for r in mine if r["runtime"] == "torch" and r["dtype"] == "fp32" and not r["layout"])
        assert eager["agreement"] == 1
        assert eager["difference"] < 1e-6
        for row in mine:
            if row["why"]:
                continue
            assert row["images_per_s"] == pytest.approx(1000 * batch / row["ms"])
            assert row["ratio"] == pytest.approx(eager["ms"] / row["ms"])
            assert 0 <= row["agreement"] <= 1
        good = [r for r in mine if not r["why"]]
        assert [r["ms"] for r in good if r["chosen"]] == [min(r["ms"] for r in good)]
    fp32 = [r for r in rows if r["dtype"] == "fp32" and not r["why"]]
    assert max(r["difference"] for r in fp32) < 1e-4


def test_the_table_reads_as_a_table() -> None:
    rows = (
        Row("torch", "fp32", "", 1, 26.8, 37.3, 1.0, 1.0, 0.0),
        Row("openvino", "bf16", "", 1, 8.8, 113.6, 3.05, 0.998, 0.004, chosen=True),
        Row("openvino", "int8", "", 1, 5.0, 200.0, 5.4, 0.41, 0.9, why="it agrees on 41.00% of the images"),
    )
    speed = ModelSpeed("resnet18", (224, 224, 3), 2, "a processor", 400, "val", rows, Bounds())
    lines = repr(speed).splitlines()
    assert lines[0] == "resnet18, 224×224×3, 2 threads, a processor"
    assert lines[3].split() == ["openvino", "bf16", "1", "8.80", "114", "3.05", "99.80%", "0.004", "taken"]
    assert lines[4].endswith("it agrees on 41.00% of the images")
    assert "batch 1: openvino bf16, 3.0 × torch fp32" in speed.advice
    assert "at least 99.5% must agree (int8 97.0%)" in speed.advice
    assert "<td>openvino</td>" in speed._repr_html_()
    starts = {line.index(cell) for line, cell in zip(lines[2:5], ("1.00", "3.05", "5.40"), strict=True)}
    assert len(starts) == 1
    assert table_lines([("a", "b", "c"), ("aa", "bb", "cc")]) == ["  a   b   c", "  aa  bb  cc"]


@pytest.mark.parametrize(("model", "text"), [("resnet1888", "neither a folder"), ("no/such/run", "neither a folder")])
def test_what_is_neither_a_folder_nor_a_network(model: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        bench_model(model)
    assert caught.value.code == "model"


def test_numbers_are_checked(cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = cli("bench", "model", "lenet", "--batch", "1,many")
    assert done.returncode == 2
    assert "expected numbers, as in 1,32" in done.stderr
    with pytest.raises(UsageError, match="--limit"):
        bench_model("lenet", limit=0)
    assert np.isfinite(Bounds().agreement("int8"))
