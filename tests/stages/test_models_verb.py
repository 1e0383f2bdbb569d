from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from anmok.core.errors import UsageError
from anmok.stages.models import models


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"the network was touched: {args}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_pattern_of_timm() -> None:
    table = models("resnet1?")
    by_name = {e.name: e for e in table.entries}
    assert {"resnet10t", "resnet14t", "resnet18", "resnet18d"} >= set(by_name) >= {"resnet18"}
    row = by_name["resnet18"]
    assert (row.family, row.parameters, row.image_size, row.cached) == ("CNN", 11_689_512, 224, False)
    assert row.macs == pytest.approx(1.82e9, rel=0.01)
    assert row.weights == "timm/resnet18.a1_in1k"
    assert row.licence == "apache-2.0"
    text = repr(table)
    assert "11.7 M" in text
    assert "1.81" in text
    assert "timm/resnet18.a1_in1k" in text
    assert "<td>resnet18</td>" in table._repr_html_()
    assert json.loads(json.dumps(table.to_dict()))["models"][0]["name"] == table.entries[0].name


def test_ours_cvt_and_torchvision_are_found() -> None:
    assert {e.name for e in models("localvit*").entries} == {"localvit_tiny", "localvit_small"}
    cvt = models("CVT_13").entries[0]
    assert (cvt.parameters, cvt.weights) == (19_997_480, "microsoft/cvt-13")
    row = models("torchvision/squeezenet1_1").entries[0]
    assert (row.parameters, row.weights, row.cached) == (1_235_496, None, False)
    assert models("lenet").entries[0].family == "CNN"


def test_a_pattern_with_a_dot_lists_weights() -> None:
    names = {e.name for e in models("test_vit.*").entries}
    assert names == {"test_vit.r160_in1k"}


def test_more_than_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    table = models("test_*", limit=2)
    assert len(table.entries) == 2
    assert table.more > 5
    assert f"{table.more} more: --all" in repr(table)
    assert "--all" in table._repr_html_()
    whole = models("lenet", everything=True, limit=1)
    assert whole.more == 0
    assert "--all" not in repr(whole)


def test_weights_on_this_machine_are_marked(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    base = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    for name in ("refs", f"snapshots/{commit}"):
        (base / name).mkdir(parents=True)
    (base / "refs" / "main").write_text(commit)
    assert not models("test_resnet").entries[0].cached
    (base / "snapshots" / commit / "model.safetensors").write_bytes(b"weights")
    table = models("test_resnet")
    assert table.entries[0].cached
    assert repr(table).rstrip().endswith("yes")


@pytest.mark.parametrize(("pattern", "near"), [("resnet81*", "resnet"), ("cotnet_0_rw_224", "coatnet_0_rw_224")])
def test_no_match_names_the_nearest(pattern: str, near: str) -> None:
    with pytest.raises(UsageError, match=near) as caught:
        models(pattern)
    assert caught.value.code == "model"


def test_a_limit_of_none() -> None:
    with pytest.raises(UsageError, match="at least 1, found 0"):
        models("lenet", limit=0)
