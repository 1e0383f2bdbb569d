"""Geometry of a batch on the device: images read, made smaller with antialiasing, sampled bilinearly, written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from anmok.augment.device_pack import Sent
from anmok.augment.device_parts import Part, Rows, Smaller, Warp

if TYPE_CHECKING:
    import torch

_INT32 = 2**31
_FAR = 1e4  # a place outside every image, in halves of its size
_HALF = 0.5 + 2**-12  # halves are rounded up, though floats may fall a little short of them


class Pixels(NamedTuple):
    """What is read: flat uint8[P, C], and the same as images uint8[N, H, W, C] where they are alike."""

    flat: torch.Tensor
    images: torch.Tensor | None


class Border(NamedTuple):
    """What a warp uncovers: mirrored pixels, or where `cuts` a fill; colour float32[C, 1, 1], None for black."""

    cuts: bool
    colour: torch.Tensor | None


def settle(out: torch.Tensor, pixels: Pixels, part: Part, sent: Sent, border: Border) -> None:
    """Write the part's images into their rows of `out` uint8[N, H, W, C]."""
    images = _read(pixels, part, sent)
    if part.warp is not None:
        images = _warped(images, part.warp, sent, out.shape[1], out.shape[2], border)
    put(out, part.rows, images, sent)


def put(out: torch.Tensor, rows: Rows, images: torch.Tensor, sent: Sent) -> None:
    """Write images [m, H, W, C], uint8 or floats whose whole part counts, into rows of `out`."""
    import torch

    if rows.span is not None:
        out[rows.span[0] : rows.span[1]].copy_(images)
    else:
        whole = torch.empty(images.shape, dtype=torch.uint8, device=out.device).copy_(images)
        out.index_copy_(0, sent.get(rows.at), whole)


def _read(pixels: Pixels, part: Part, sent: Sent) -> torch.Tensor:
    """uint8[m, H, W, C]: what the part works on, of its stage's size; beyond a region its last pixels."""
    import torch

    height, width = part.stage
    if part.smaller is not None:
        return _smaller(pixels.flat, part, part.smaller, sent)
    if part.whole is not None and pixels.images is not None:
        span = part.whole.span
        return pixels.images[slice(*span)] if span else pixels.images.index_select(0, sent.get(part.whole.at))
    sizes, device = sent.get(part.sizes), pixels.flat.device
    x = torch.minimum(torch.arange(width, device=device), sizes[:, :1] - 1)
    y = torch.minimum(torch.arange(height, device=device), sizes[:, 1:] - 1)
    rows = sent.get(part.origin)[:, None] + y * sent.get(part.stride)[:, None]
    kind = _kind(pixels.flat)
    places = rows.to(kind)[:, :, None] + x.to(kind)[:, None, :]
    return pixels.flat.index_select(0, places.view(-1)).view(len(sizes), height, width, -1)


def _kind(flat: torch.Tensor) -> torch.dtype:
    """The smallest dtype of places in the flat buffer."""
    import torch

    return torch.int32 if len(flat) < _INT32 else torch.int64


# antialiased


def _smaller(flat: torch.Tensor, part: Part, smaller: Smaller, sent: Sent) -> torch.Tensor:
    """uint8[m, height, width, C]: Pillow's antialiased triangle filter, along x and then along y."""
    import torch

    height, width = part.stage
    sizes, new, mirrored = sent.get(part.sizes), sent.get(smaller.sizes), sent.get(smaller.mirrored)
    m, depth, kind = len(sizes), flat.shape[1], _kind(flat)
    columns, weights = taps(sizes[:, 0], new[:, 0], mirrored[:, 0], width, smaller.taps[0])
    y = torch.minimum(torch.arange(part.read_height, device=flat.device), sizes[:, 1:] - 1)
    rows = (sent.get(part.origin)[:, None] + y * sent.get(part.stride)[:, None]).to(kind)[:, :, None]
    columns = columns.to(kind)
    total = torch.zeros((m, part.read_height, width, depth), device=flat.device)
    for k in range(smaller.taps[0]):
        read = flat.index_select(0, (rows + columns[:, None, :, k]).view(-1))
        total.addcmul_(read.view(total.shape), weights[:, None, :, k, None])
    narrow = total.add_(0.5).to(torch.uint8).view(m * part.read_height, width * depth)
    lines, weights = taps(sizes[:, 1], new[:, 1], mirrored[:, 1], height, smaller.taps[1])
    lines = lines + torch.arange(0, m * part.read_height, part.read_height, device=flat.device)[:, None, None]
    total = torch.zeros((m, height, width * depth), device=flat.device)
    for k in range(smaller.taps[1]):
        read = narrow.index_select(0, lines[:, :, k].reshape(-1))
        total.addcmul_(read.view(total.shape), weights[:, :, k, None])
    return total.add_(0.5).to(torch.uint8).view(m, height, width, depth)


def taps(
    size: torch.Tensor, new: torch.Tensor, mirrored: torch.Tensor, length: int, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """int64[m, length, most] pixels and float32 weights that make each output pixel along one axis.

    size, new: int64[m] pixels before and after; beyond `new` the last one is repeated.  Pillow's Resample.c.
    """
    import torch

    scale = (size / new)[:, None]
    support = scale.clamp(min=1)
    place = torch.minimum(torch.arange(length, device=size.device), new[:, None] - 1)
    place = torch.where(mirrored[:, None], new[:, None] - 1 - place, place)
    centre = (place + 0.5) * scale
    first = (centre - support + 0.5).clamp(min=0).long()
    last = torch.minimum((centre + support + 0.5).long(), size[:, None])
    pixel = first[:, :, None] + torch.arange(most, device=size.device)
    away = (pixel - centre[:, :, None] + 0.5).abs() / support[:, :, None]
    weights = (1 - away).clamp(min=0) * (pixel < last[:, :, None])
    return torch.minimum(pixel, size[:, None, None] - 1), weights / weights.sum(2, keepdim=True)


# bilinear


def _warped(images: torch.Tensor, warp: Warp, sent: Sent, height: int, width: int, border: Border) -> torch.Tensor:
    """float32[m, height, width, C], rounded by half: its whole part counts."""
    x, y = _lines(sent.get(warp.matrix), height, width)
    if warp.still is not None:
        still = sent.get(warp.still)
        _stay_(x[:, 0, :, 0], still[..., 0], images.shape[2])
        _stay_(y[:, :, 0, 1], still[..., 1], images.shape[1])
    places = _places(x, y, warp.projective)
    if warp.mirror is not None:
        mirror_(places, *sent.get(warp.mirror)[:, :, None, None].unbind(1))
    inside = None if warp.inside is None else _inside(sent.get(warp.inside), images.shape[1], images.shape[2])
    cuts = []
    for at, matrix in warp.cuts:
        frame = _places(*_lines(sent.get(matrix), height, width), projective=True).abs_() < 1
        cuts.append((None if at is None else sent.get(at), (frame[..., 0] & frame[..., 1])[:, None]))
    return sampled(images, places, border, inside, cuts)


def _lines(matrix: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """float32[m, 1, width, 3] and [m, height, 1, 3], whose sums are the matrices [m, 3, 3] applied to every pixel."""
    import torch

    # Sums, not a matrix product: one of reduced precision, which training may allow, would move pixels.
    x = torch.arange(width, device=matrix.device, dtype=torch.float32)[:, None]
    y = torch.arange(height, device=matrix.device, dtype=torch.float32)[:, None, None]
    m = matrix[:, None, None]
    across, down = m[..., 0] * x, m[..., 1] * y
    across[..., 0] += m[..., 0, 2]
    down[..., 1:] += m[..., 1:, 2]
    return across, down


def _stay_(places: torch.Tensor, still: torch.Tensor, size: int) -> None:
    """Where an image is only resized, places [m, n] along one axis as OpenCV's resize has them: steps of 1/2048 pixel.

    still: [m, 4], see Warp; size: pixels of the axis.
    """
    import torch

    factor, begin, low, high = still[:, :, None].unbind(1)
    pixel = torch.arange(places.shape[1], device=places.device, dtype=torch.float32)
    found = torch.minimum(((factor * pixel + begin) * 2048).round_().div_(2048).maximum(low), high)
    places.copy_(torch.where(high >= low, (2 * found + 1) / size - 1, places))


def _places(x: torch.Tensor, y: torch.Tensor, projective: bool) -> torch.Tensor:
    """float32[m, height, width, 2] of `_lines`: where every pixel comes from."""
    if not projective:
        return x[..., :2] + y[..., :2]
    return ((x[..., :2] + y[..., :2]) / (x[..., 2:] + y[..., 2:])).nan_to_num_(0.0).clamp_(-_FAR, _FAR)


def sampled(
    images: torch.Tensor, places: torch.Tensor, border: Border, inside: torch.Tensor | None = None,
    cuts: Sequence[tuple[torch.Tensor | None, torch.Tensor]] = (),
) -> torch.Tensor:  # fmt: skip
    """float32[m, h, w, C]: bilinear, rounded by half, at float32[m, h, w, 2] places, where the edges are −1 and 1.

    With a border that cuts, edges blend with the fill, and outside places and what is not `inside` bool[m, H, W, 1] are
    fill; without one no place may be outside. cuts: (rows or None, shown bool[k, 1, h, w]): what else becomes the fill.
    """
    import torch
    from torch.nn.functional import grid_sample

    # The colour is taken off before and put back after: zero is then the fill.
    colour = border.colour if border.cuts else None
    if inside is not None and colour is None:
        images = images * inside
    source = images.permute(0, 3, 1, 2).to(torch.float32)
    if colour is not None:
        source.sub_(colour)
        if inside is not None:
            source.mul_(inside.permute(0, 3, 1, 2))
    padding = "zeros" if border.cuts else "border"
    out = grid_sample(source, places, mode="bilinear", padding_mode=padding, align_corners=False)
    for rows, shown in cuts:
        if rows is None:
            out.mul_(shown)
        else:
            out.index_copy_(0, rows, out.index_select(0, rows).mul_(shown))
    return out.add_(_HALF if colour is None else colour + _HALF).permute(0, 2, 3, 1)


def mirror_(places: torch.Tensor, low: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
    """Mirror what lies outside [low, low + span] about its ends, as often as needed, in place."""
    # A triangle wave: 0 at low, 1 at its other end.
    return places.sub_(low).add_(span).remainder_(2 * span).sub_(span).abs_().add_(low)


def _inside(bounds: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """bool[m, height, width, 1]: the pixels from (x, y) to (x, y), both within, of int64[m, 4]."""
    import torch

    x, y = torch.arange(width, device=bounds.device), torch.arange(height, device=bounds.device)
    wide = (x >= bounds[:, :1]) & (x <= bounds[:, 2:3])
    high = (y >= bounds[:, 1:2]) & (y <= bounds[:, 3:])
    return (high[:, :, None] & wide[:, None, :])[..., None]
