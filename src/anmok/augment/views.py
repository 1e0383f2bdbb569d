"""Several views of each image, as self-supervised objectives compare: two of one policy, or large and small crops."""

from __future__ import annotations

from dataclasses import dataclass

from anmok.augment.guests import Guest
from anmok.augment.policy import Policy
from anmok.augment.steps import blur, color_jitter, crop, flip, grayscale
from anmok.core.errors import UsageError


@dataclass(frozen=True)
class Views:
    """Policies that are drawn apart for each image, and the side of each view; None: the model's.

    A batch's images are then a tuple, one array uint8[B, S, S, C] a view.
    """

    policies: tuple[Policy | Guest, ...]
    sizes: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.policies:
            raise UsageError("there must be one view at least.", code="setting")
        if any(policy.mixes for policy in self.policies):
            raise UsageError("mixup and cutmix mix labels, and views are not mixed.", code="setting")
        object.__setattr__(self, "sizes", self.sizes or (None,) * len(self.policies))
        if len(self.sizes) != len(self.policies):
            raise UsageError(f"{len(self.policies)} views and {len(self.sizes)} sizes.", code="setting")

    neutral = mixes = False

    @property
    def crops(self) -> bool:
        """Whether every view has a random-resized-crop of an aspect of its own."""
        return all(policy.crops for policy in self.policies)

    def check(self, depth: int) -> None:
        """UsageError where a view makes no sense for images of `depth` channels."""
        for policy in self.policies:
            policy.check(depth)


def two_views(policy: Policy | Guest) -> Views:
    """Two draws of one policy (SimCLR, Chen et al. 2020)."""
    return Views((policy, policy))


def multi_crop(
    large: Policy, small: Policy, many: int = 6, small_size: int | None = None
) -> Views:  # fmt: skip
    """Two views of `large` and `many` of `small` at small_size (SwAV, Caron et al. 2020, arXiv:2006.09882)."""
    return Views((large, large, *[small] * many), (None, None, *[small_size] * many))


def contrastive_policy(
    scale: tuple[float, float] = (0.08, 1.0), strength: float = 0.5, blur_p: float = 0.5, depth: int = 3,
    sigma: tuple[float, float] = (0.1, 2.0),
) -> Policy:  # fmt: skip
    """SimCLR's augmentation (Chen et al. 2020, arXiv:2002.05709, appendix A): crop, flip, colours, grey, blur.

    strength: 1 for ImageNet, 0.5 for CIFAR-10; blur_p: 0 there. depth: of a single channel colours stay.
    """
    color = 0.8 * strength if depth == 3 else 0.0
    steps = [crop(None, scale), flip(), color_jitter(0.8 * strength, 0.8 * strength, color, color / 4, p=0.8)]
    if depth == 3:
        steps.append(grayscale(0.2))
    if blur_p:
        steps.append(blur(*sigma, p=blur_p))
    return Policy(tuple(steps))
