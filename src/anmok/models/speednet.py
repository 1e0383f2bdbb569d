"""Networks for 32×32 images in the manner of the speed records on CIFAR-10: AirBench, grown to the image it is for.

The plan is that of Page's ResNet-9 (2018) and Jordan's airbench94 (2024, arXiv:2404.00498): patches whitened by a stem
that never learns, then three stages that each halve the map before their second convolution. Ours differs where that
helps at other sizes or trains without their tuned optimizer: SiLU, ordinary batch normalisation, a head that sees the
largest and the mean activation.
"""

from __future__ import annotations

from anmok.models.airbench import AirBench, stem_for


def speednet(num_classes: int = 10, in_chans: int = 3, img_size: int = 32, norm: str = "batch") -> AirBench:
    """The widths of airbench94: 64, 256, 256; 1,975,050 learning parameters for 3 channels and 10 classes."""
    return AirBench(num_classes, (64, 256, 256), stem_for(img_size), in_chans, norm)


def speednet_wide(num_classes: int = 10, in_chans: int = 3, img_size: int = 32, norm: str = "batch") -> AirBench:
    """The widths of airbench95: 128, 384, 384; two and a half times the work."""
    return AirBench(num_classes, (128, 384, 384), stem_for(img_size), in_chans, norm)


def speednet_small(num_classes: int = 10, in_chans: int = 3, img_size: int = 32, norm: str = "batch") -> AirBench:
    """Widths of 32, 64, 128, for a processor: a sixth of the work."""
    return AirBench(num_classes, (32, 64, 128), stem_for(img_size), in_chans, norm)
