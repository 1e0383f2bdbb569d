from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from anmok.core.events import Events, finite, read_events, redact


def test_one_object_a_line_and_every_listener_is_told(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    events = Events(tmp_path / "e.jsonl", [heard.append])
    events.log("start", name="가", loss=math.nan, steps=(1, 2))
    events.log("epoch", epoch=1)
    events.close()
    lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == heard
    assert {k: v for k, v in lines[0].items() if k != "t"} == {
        "event": "start",
        "name": "가",
        "loss": None,
        "steps": [1, 2],
    }
    assert list(read_events(tmp_path / "e.jsonl", "epoch")) == [lines[1]]


def test_truncate_forgets_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    events = Events(path)
    events.log("a")
    position = events.position
    assert position == path.stat().st_size
    events.log("b")
    events.sync()
    events.truncate(position)
    assert events.position == position
    events.log("c")
    events.close()
    assert [e["event"] for e in read_events(path)] == ["a", "c"]
    again = Events(path)
    assert again.position == path.stat().st_size
    again.log("d")
    again.close()
    assert [e["event"] for e in read_events(path)] == ["a", "c", "d"]


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"event": "a", "t": 1}\n{"event": "b", "t"')
    assert [e["event"] for e in read_events(path)] == ["a"]
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_a_log_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"event": "a", "t": 1}\n{"event": "b", "t"')
    events = Events(path)
    events.log("c")
    events.close()
    assert [e["event"] for e in read_events(path)] == ["a", "c"]


def test_no_file_only_listeners() -> None:
    heard: list[dict[str, Any]] = []
    events = Events(None, [heard.append])
    events.log("a")
    events.truncate(0)
    events.sync()
    events.close()
    assert heard[0]["event"] == "a"
    assert events.position == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"api_key": "abc", "lr": 0.1}, {"api_key": "***", "lr": 0.1}),
        (
            {"auth": {"hf_token": "x", "passwords": ["a", "b"]}},
            {"auth": {"hf_token": "***", "passwords": ["***", "***"]}},
        ),
        ("https://me:secret@host/x", "https://me:***@host/x"),
        ("https://host/x?token=abc&y=1", "https://host/x?token=***&y=1"),
        ('{"password": "abc"}', '{"password": "***"}'),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("key hf_abcdefgh123 end", "key hf_*** end"),
        ("runs/token_1/a.jpg", "runs/token_1/a.jpg"),
        ("cat;dog", "cat;dog"),
        ({"token": ""}, {"token": ""}),
        ({"a": None, "b": 3, "c": [1.5]}, {"a": None, "b": 3, "c": [1.5]}),
    ],
)
def test_row_67_secrets_are_redacted(value: Any, expected: Any) -> None:
    assert redact(value) == expected


def test_row_67_secrets_never_reach_the_file(tmp_path: Path) -> None:
    events = Events(tmp_path / "e.jsonl")
    events.log("config", settings={"track": {"token": "s3cret"}}, command="x --url https://u:s3cret@h")
    events.close()
    assert "s3cret" not in (tmp_path / "e.jsonl").read_text()


def test_finite() -> None:
    assert finite({"a": [math.inf, 1.0, (math.nan,)]}) == {"a": [None, 1.0, [None]]}
