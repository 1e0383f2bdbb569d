from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from anmok.core.errors import UsageError
from anmok.models import catalog, macs
from anmok.models.own import OWN
from anmok.models.user_code import find_object


def test_every_own_name_is_there_and_resolves() -> None:
    names = catalog.all_names()
    assert list(OWN) == names[: len(OWN)]
    assert {"resnet18", "torchvision/resnet18", "coatnet_0_rw_224"} < set(names)
    assert len(names) == len(set(names))
    assert all(callable(find_object(own.path)) for own in OWN.values())


def test_patterns() -> None:
    assert catalog.names_like("LeNet") == ["lenet"]
    assert set(catalog.names_like("cvt_*")) == {"cvt_13", "cvt_21", "cvt_w24"}
    assert all(name.startswith("coatnet_") for name in catalog.names_like("coatnet_?_rw_224"))
    assert "resnet18.a1_in1k" in catalog.names_like("resnet18.*")
    with pytest.raises(UsageError, match="localvit_tiny"):
        catalog.names_like("localvit_tini")


def test_licence_and_repository() -> None:
    assert catalog.weights_of("resnet18.a1_in1k") == ("timm/resnet18.a1_in1k", "apache-2.0")
    assert catalog.weights_of("test_mambaout") == (None, None)
    assert catalog.weights_of("torchvision/resnet18") == (None, None)
    assert catalog.weights_of("lenet") == (None, None)


def test_what_cannot_be_counted_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise NotImplementedError("no kernel for the meta device")

    monkeypatch.setattr(macs, "cost_by_name", fail)
    found = catalog.entry("lenet")
    assert (found.parameters, found.macs, found.image_size) == (None, None, 32)


def test_a_file_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert not catalog.is_cached("somebody/net")
    base = tmp_path / "models--somebody--net"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc")
    (base / "snapshots" / "abc").mkdir(parents=True)
    assert not catalog.is_cached("somebody/net")
    (base / "snapshots" / "abc" / "model.safetensors").write_bytes(b"")
    assert catalog.is_cached("somebody/net")
    assert not catalog.is_cached("somebody/net", "pytorch_model.bin")
