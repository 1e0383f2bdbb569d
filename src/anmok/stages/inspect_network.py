"""What can be seen of the network itself: how far it sees, its first filters, what its layers make of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.report.heat import colored, ringed, scaled
from anmok.report.inspect_content import Layer
from anmok.report.words import count
from anmok.stages.inspect_looks import as_input

if TYPE_CHECKING:
    from anmok.deploy.model import Model
    from anmok.models.encoder import Encoder

FILTERS, CHANNELS = 64, 12  # shown at most
FIELD_SIDE = 400  # pixels of its picture, about
RING = (111, 195, 224)


class Reach(NamedTuple):
    """The numbers of the field (None: there is none), its picture and what it says, or why there is none."""

    data: dict[str, Any] | None
    picture: np.ndarray | None
    text: str


class Pictures(NamedTuple):
    """Pictures and what they are, or why there are none."""

    images: list[np.ndarray]
    text: str


def reach(model: Model, encoder: Encoder | None, prepared: np.ndarray) -> Reach:
    """The effective receptive field over uint8[N, S, S, C]."""
    from anmok.models.maps import differentiating
    from anmok.models.receptive import SHARES, effective_receptive_field

    if encoder is None:
        return Reach(None, None, "There is no receptive field: the network has no map of features at this size.")
    try:
        with differentiating(encoder):
            field = effective_receptive_field(encoder.grid, as_input(model, prepared))
    except (DataError, UsageError) as error:
        return Reach(None, None, f"There is no receptive field: {error.message}")
    radii = [field.radius(share) for share in SHARES]
    size = min(field.map.shape)
    parts = [
        f"{100 * share:.0f}\u00a0% within {radius:.0f} pixels ({100 * radius / size:.0f}\u00a0% of the side)"
        for share, radius in zip(SHARES, radii, strict=True)
    ]
    text = (
        f"What changes the centre of the last map ({field.grid[0]} × {field.grid[1]}) lies to "
        f"{' and to '.join(parts)}, over {count(field.images, 'image')} of {size} × {size} pixels."
    )
    scale = max(1, round(FIELD_SIDE / size))
    bright = np.sqrt(field.map / field.map.max())
    data = {
        "grid": list(field.grid), "images": field.images,
        **{f"radius_{100 * s:.0f}": {"pixels": field.radius(s), "share": field.reach(s)} for s in SHARES},
    }  # fmt: skip
    return Reach(data, ringed(colored(bright), field.centre, radii, scale, RING), text)


def filters(model: Model, prepared: np.ndarray) -> Pictures:
    """The filters of the first convolution as pictures: RGB where it sees three channels, grey where it sees one."""
    from anmok.models.activations import first_filters

    try:
        found = first_filters(model.classifier.backbone, as_input(model, prepared[:1]))
    except UsageError as error:
        return Pictures([], f"There are no filters to be seen: {error.message}")
    weights = found.weights.numpy().transpose(0, 2, 3, 1)
    k, height, width, depth = weights.shape
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    shown = np.rint(127.5 + 127.5 * weights / np.where(largest > 0, largest, 1)).astype(np.uint8)
    space = model.preprocess.colorspace
    seen = "grey" if depth == 1 else "red, green and blue"
    if depth == 3 and space != "rgb":
        seen = f"the three channels of {space} as red, green and blue"
    all_of = count(k, "filter") if k <= FILTERS else f"The first {FILTERS} of {k} filters"
    text = (
        f"{all_of} of {found.layer}, {height} × {width}, in {seen}. Middle grey is 0; each is scaled to its own "
        "largest weight. Smooth edges and blobs of colour have been learned; noise has not."
    )
    return Pictures(list(shown[:FILTERS]), text)


def layers(model: Model, prepared: np.ndarray, most: int) -> list[Layer]:
    """The channels that vary most of up to `most` layers, for the image uint8[S, S, C]; none of a network without."""
    from anmok.models.activations import feature_maps

    try:
        found = feature_maps(model.classifier.backbone, as_input(model, prepared[None]), most)
    except UsageError:
        return []
    out = []
    for layer in found:
        maps = layer.maps[0].numpy()
        order = np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:CHANNELS]
        size = f"{maps.shape[1]} × {maps.shape[2]}, {len(maps)} channels"
        out.append(Layer(layer.layer, size, [colored(scaled(maps[i])) for i in order]))
    return out
