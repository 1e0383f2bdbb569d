"""The page of a run marks the epoch whose weights were kept."""

from __future__ import annotations

import re
from pathlib import Path

from small_runs import SMALL

import anmok
from anmok.stages.run import kept_epoch


def test_the_page_marks_the_epoch_that_was_kept(digits: Path, tmp_path: Path) -> None:
    run = anmok.train(digits, out=tmp_path / "run", **{**SMALL, "epochs": 3, "optim.lr": 0.01})
    scores = [h["val"]["accuracy"] for h in run.history]
    kept = kept_epoch(run.path)
    assert kept is not None
    assert scores[kept - 1] == max(scores)
    marked = re.findall(r'"epoch": ?(\d+), ?"text": ?"kept"', (run.path / "report.html").read_text())
    assert marked
    assert set(marked) == {str(kept)}
    assert kept_epoch(tmp_path) is None
