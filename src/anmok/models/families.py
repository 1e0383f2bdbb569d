"""Families of networks: which one a name belongs to, and which image sizes its members take.

timm's networks are told apart by the module of timm that makes them. The numbers were found by training a step of a
member at each size; tests/models/test_families.py does it again for one of every family.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from anmok.core.errors import UsageError
from anmok.models.own import kind_of

Family = Literal["CNN", "ConvNeXt", "ViT", "windowed ViT", "hybrid", "MLP", "other"]


class Accepts(NamedTuple):
    """Square images that a network takes.

    variable: whether one that is built takes other sizes than it was built for, and images that are not square.
    minimum: the smallest side, pixels, at which it can be built and trained. multiple: what a side is a multiple of.
    """

    variable: bool
    minimum: int
    multiple: int = 1


# Ours: family, and what they take.
OURS: dict[str, tuple[Family, Accepts]] = {
    "lenet": ("CNN", Accepts(True, 1)),
    "speednet": ("CNN", Accepts(True, 16)),
    "speednet_small": ("CNN", Accepts(True, 16)),
    "speednet_wide": ("CNN", Accepts(True, 16)),
    "localvit_tiny": ("hybrid", Accepts(True, 16)),
    "localvit_small": ("hybrid", Accepts(True, 16)),
    "cvt_13": ("hybrid", Accepts(True, 16)),
    "cvt_21": ("hybrid", Accepts(True, 16)),
    "cvt_w24": ("hybrid", Accepts(True, 16)),
}

# timm's modules.
FAMILIES: dict[Family, str] = {
    "CNN": """byobnet convmixer cpubone csatv2 cspnet cspnext densenet dla dpn efficientnet fasternet ghostnet
        hardcorenas hgnet hrnet inception_resnet_v2 inception_v3 inception_v4 lcnetv2 mambaout mobilenetv3 mobilenetv5
        nasnet nfnet pnasnet rdnet regnet repghost repvit res2net resnest resnet resnetv2 rexnet selecsls senet sknet
        starnet tresnet vgg vovnet xception xception_aligned""",
    "ConvNeXt": "convnext inception_next",
    "ViT": """beit cait crossvit deepseek_vit deit eva gemma4_vit naflexvit qwen3_vit tnt vision_transformer
        vision_transformer_relpos vision_transformer_sam volo xcit""",
    "windowed ViT": """davit focalnet gcvit hiera hieradet_sam2 mvitv2 nest pvt_v2 swin_transformer swin_transformer_v2
        swin_transformer_v2_cr twins""",
    "hybrid": """byoanet coat convit edgenext efficientformer efficientformer_v2 efficientvim efficientvit_mit
        efficientvit_msra fastvit iformer levit lowformer maxxvit metaformer mobilevit nextvit pit shvit swiftformer
        tiny_vit visformer vision_transformer_hybrid vitamin""",
    "MLP": "mlp_mixer sequencer",
}  # fmt: skip
_FAMILY_OF = {module: family for family, modules in FAMILIES.items() for module in modules.split()}

# The smallest side of a family, of a module where it is another one, and multiples of a module or a name's part.
SMALLEST: dict[Family, int] = {
    "CNN": 8, "ConvNeXt": 32, "ViT": 16, "windowed ViT": 32, "hybrid": 32, "MLP": 16, "other": 1,
}  # fmt: skip
MINIMUM = {
    **dict.fromkeys(("csatv2", "efficientvit_mit"), 64),  # the latter's linear attention divides 0 by 0 below
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "inception_v4"), 75),
    **dict.fromkeys(("dla", "fasternet", "hrnet", "rdnet", "vgg"), 32), "vovnet": 31, "densenet": 29, "tresnet": 20,
    "pvt_v2": 29, "nextvit": 31,
    **dict.fromkeys(("convit", "efficientvit_msra", "levit", "nest", "pit", "vitamin"), 16),
    **dict.fromkeys(
        ("davit", "efficientvim", "fastvit", "iformer", "lowformer", "metaformer", "mobilevit", "shvit", "swiftformer",
         "swin_transformer", "tiny_vit"), 8),
}  # fmt: skip
MULTIPLE = {
    "csatv2": 8, "tresnet": 4, "levit": 16,
    **dict.fromkeys(("coatnet", "dla", "efficientformer_v2", "gcvit", "hiera", "hieradet_sam2", "hrnet"), 32),
}  # fmt: skip
OWN_SIZE_ONLY = ("crossvit", "efficientformer")

# torchvision's modules: family and smallest side; those that are built for one size.
_TORCHVISION: dict[str, tuple[Family, int]] = {
    "alexnet": ("CNN", 63), "convnext": ("ConvNeXt", 32), "densenet": ("CNN", 29), "efficientnet": ("CNN", 8),
    "googlenet": ("CNN", 15), "inception": ("CNN", 75), "maxvit": ("hybrid", 224), "mnasnet": ("CNN", 8),
    "mobilenetv2": ("CNN", 8), "mobilenetv3": ("CNN", 8), "regnet": ("CNN", 8), "resnet": ("CNN", 8),
    "shufflenetv2": ("CNN", 8), "squeezenet": ("CNN", 17), "swin_transformer": ("windowed ViT", 8), "vgg": ("CNN", 32),
    "vision_transformer": ("ViT", 16),
}  # fmt: skip
_FIXED = ("maxvit", "vision_transformer")


def family_of(name: str) -> Family:
    """The family of a network.  UsageError for an unknown timm name."""
    kind = kind_of(name)
    if kind == "own":
        return OURS[name][0]
    if kind == "timm":
        return _FAMILY_OF.get(timm_module(name), "other")
    return _TORCHVISION.get(torchvision_module(name), ("other", 1))[0] if kind == "torchvision" else "other"


def timm_module(name: str) -> str:
    """The module of timm that makes a network, 'resnet' of resnet18.a1_in1k."""
    from timm.models import model_entrypoint

    from anmok.models.timm_networks import timm_cfg

    timm_cfg(name)
    return model_entrypoint(name).__module__.rpartition(".")[2]


def torchvision_module(name: str) -> str:
    """The module of torchvision that makes torchvision/NAME.  UsageError for an unknown name."""
    from torchvision import models

    from anmok.models.torchvision_networks import known_torchvision

    return models.get_model_builder(known_torchvision(name)).__module__.rpartition(".")[2]


def accepts(name: str) -> Accepts:
    """What a network takes; of the user's own code nothing is known, so everything.  UsageError for an unknown name."""
    kind = kind_of(name)
    if kind == "own":
        return OURS[name][1]
    if kind == "torchvision":
        module = torchvision_module(name)
        minimum = _TORCHVISION.get(module, ("other", 1))[1]
        multiple = 224 if module == "maxvit" else 1  # its windows are of 7 × 7 cells of 32 pixels
        return Accepts(module not in _FIXED, max(minimum, _patch(name)), multiple)
    return _of_timm(name) if kind == "timm" else Accepts(True, 1)


def _of_timm(name: str) -> Accepts:
    from anmok.models.timm_networks import timm_cfg

    cfg, module = timm_cfg(name), timm_module(name)
    if module in OWN_SIZE_ONLY or "halo" in name:
        size = int(cfg.input_size[-1])
        return Accepts(False, size, size)
    family = _FAMILY_OF.get(module, "other")
    minimum = MINIMUM.get(module, SMALLEST[family])
    if family == "ViT":
        minimum = _patch(name) or minimum
    multiple = next((m for part, m in MULTIPLE.items() if part == module or part in name), 1)
    return Accepts(not cfg.fixed_input_size, max(minimum, multiple), multiple)


def _patch(name: str) -> int:
    """The side of a transformer's patches as its name has it, 0 where it has none."""
    found = re.search(r"(?:patch|vit_[a-z]_|_p)(\d+)", name)
    return int(found[1]) if found else 0


def check_size(name: str, image_size: int) -> None:
    """UsageError for a size that the network does not take, naming those it does; or for an unknown name."""
    takes = accepts(name)
    if image_size < takes.minimum:
        raise UsageError(
            f"{name} takes images of at least {takes.minimum} pixels, found {image_size}.", where="--image-size",
            remedy=f"Pass --image-size {takes.minimum} or more.", code="image-size",
        )  # fmt: skip
    if image_size % takes.multiple:
        below = image_size // takes.multiple * takes.multiple
        raise UsageError(
            f"{name} takes images whose side is a multiple of {takes.multiple} pixels, found {image_size}.",
            where="--image-size", remedy=f"Pass --image-size {below} or {below + takes.multiple}.", code="image-size",
        )  # fmt: skip
