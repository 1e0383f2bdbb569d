from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.pixels import GRAY_MEAN, IMAGENET_MEAN
from anmok.models import own_weights
from anmok.models.cvt import CvT
from anmok.models.encoder import Encoder
from anmok.models.networks import build_network
from anmok.models.own import OWN, Own
from anmok.models.own_weights import own_with_weights

Put = Callable[[str, nn.Module], Path]
SMALL = {"widths": (8, 16, 24), "heads": (1, 2, 3), "depths": (1, 2, 3)}


def small(num_classes: int = 1000, in_chans: int = 3, **options: float) -> CvT:
    return CvT(num_classes, in_chans, **SMALL, **options)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small CvT under a name of its own, with weights of its own on the hub."""
    monkeypatch.setitem(OWN, "cvt_tiny", Own(f"{__name__}:small", 64, ("drop_rate", "drop_path_rate"), "somebody/cvt"))
    return "cvt_tiny"


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 64, 64), (1, 48, 80), (3, 32, 16)])
def test_logits_are_those_of_transformers(channels: int, height: int, width: int) -> None:
    import transformers

    net = small(5, channels).eval()
    config = transformers.CvtConfig(
        num_channels=channels, embed_dim=[8, 16, 24], num_heads=[1, 2, 3], depth=[1, 2, 3], num_labels=5,
    )  # fmt: skip
    theirs = transformers.CvtForImageClassification(config).eval()
    theirs.load_state_dict(net.state_dict())
    images = torch.randn(2, channels, height, width)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(net(images), expected.logits)
        features = theirs.cvt(images).last_hidden_state
        torch.testing.assert_close(net.forward_features(images), features)
    assert features.shape[2:] == (-(-height // 16), -(-width // 16))


def test_encoder() -> None:
    encoder = Encoder(small(5), 5, 64)
    assert encoder.heads == ("classifier",)
    assert encoder(torch.randn(2, 3, 64, 64)).shape == (2, 24)
    assert encoder.grid(torch.randn(2, 3, 64, 96)).shape == (2, 24, 4, 6)


def test_stochastic_depth_spares_what_goes_past_the_blocks() -> None:
    net = small(5, drop_path_rate=0.9999).train()
    images = torch.randn(4, 3, 32, 32)
    last = net.cvt.encoder.stages[-1].layers
    assert [layer.output.dropout.drop_prob for layer in last] == pytest.approx([0, 0.49995, 0.9999])
    tokens = torch.randn(4, 5, 24)
    torch.testing.assert_close(last[2](tokens, 2, 2), tokens)  # both branches are gone, the tokens are not
    assert torch.isfinite(net(images)).all()


def test_dropout_before_the_head() -> None:
    net = small(5, drop_rate=0.5).train()
    assert net.head_drop.p == 0.5


def test_named_sizes_give_their_options_on() -> None:
    net = build_network("cvt_21", 7, 1, 32, {"drop_rate": 0.25})
    assert [len(stage.layers) for stage in net.cvt.encoder.stages] == [1, 4, 16]
    assert net.head_drop.p == 0.25
    assert net(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    with pytest.raises(UsageError, match="normalisation it was published with"):
        build_network("cvt_13", 7, 3, 32, {"norm": "group"})


@pytest.mark.usefixtures("no_network")
def test_weights_come_from_the_hubs_cache_and_the_head_starts_anew(tiny: str, hub_cache: Put) -> None:
    theirs = small()
    hub_cache("somebody/cvt", theirs)
    built = own_with_weights(tiny, 3, 3, 96, {"drop_rate": 0.1})
    state, own = theirs.state_dict(), built.backbone.state_dict()
    assert all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith("classifier."))
    assert own["classifier.weight"].shape == (3, 24)
    assert built.mean == IMAGENET_MEAN
    assert any("somebody/cvt" in text for text in built.said)
    assert any("64 pixels" in text for text in built.said)
    same = own_with_weights(tiny, 1000, 3, 64, {}).backbone.state_dict()
    assert not torch.equal(same["classifier.weight"], state["classifier.weight"])


@pytest.mark.usefixtures("no_network")
def test_one_channel_sums_the_first_layer(tiny: str, hub_cache: Put) -> None:
    theirs = small()
    hub_cache("somebody/cvt", theirs)
    built = own_with_weights(tiny, 3, 1, 64, {})
    key = "cvt.encoder.stages.0.embedding.convolution_embeddings.projection.weight"
    torch.testing.assert_close(built.backbone.state_dict()[key], theirs.state_dict()[key].sum(1, keepdim=True))
    assert built.mean == GRAY_MEAN


@pytest.mark.usefixtures("no_network")
def test_weights_that_are_not_there_or_do_not_fit(tiny: str, hub_cache: Put) -> None:
    with pytest.raises(MachineError, match="somebody/cvt") as caught:
        own_with_weights(tiny, 3, 3, 64, {})
    assert caught.value.code == "offline"
    hub_cache("somebody/cvt", nn.Linear(3, 4))
    with pytest.raises(DataError, match="another architecture"):
        own_with_weights(tiny, 3, 3, 64, {})
    with pytest.raises(UsageError, match="lenet has no weights on the hub"):
        own_weights.own_with_weights("lenet", 3, 3, 32, {})
