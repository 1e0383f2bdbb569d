"""`anmok train --minutes`: the run takes its time, part of an epoch if need be, and says where it went."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import anmok
from anmok.core.events import read_events
from anmok.core.files import read_json

SMALL = {"model": "lenet", "image_size": 32, "batch_size": 16, "plan": "none", "augment": "none", "threads": 1}


def test_a_run_keeps_to_its_minutes(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))
    began = time.monotonic()
    run = anmok.train(digits, out=tmp_path / "run", minutes=0.1, **SMALL)
    took = time.monotonic() - began
    plan = read_json(run.path / "plan.json")
    assert plan["budget"]["seconds"] == pytest.approx(6)
    assert plan["steps"] >= 1
    last = run.history[-1]
    settled = list(read_events(run.path / "events.jsonl", "pace"))
    assert last["step"] == (settled[-1]["total"] if settled else plan["steps"])
    # what a busy machine adds to opening the data and writing the report is not the loop's to keep
    training = sum(h["seconds"] + h["account"].get("evaluation", 0.0) for h in run.history)
    assert training < 6 * 1.1
    assert took > training
    account = next(read_events(run.path / "events.jsonl", "account"))["seconds"]
    assert {"forward", "backward", "optimizer", "data", "evaluation", "other"} <= account.keys()
    assert "time went to" in (run.path / "report.html").read_text()
