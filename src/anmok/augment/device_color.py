"""Colour of a batch on the device: tables, the histograms and means that some are made of, saturation, hue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from anmok.augment.device_pack import Sent
from anmok.augment.device_parts import TEMPORARY, Rows
from anmok.augment.device_tables import Colours, Step
from anmok.augment.device_warp import put
from anmok.augment.tables import LUMA

if TYPE_CHECKING:
    import torch


def slices(count: int, bytes_each: int) -> Iterator[slice]:
    """Parts of `count` images that each need at most TEMPORARY bytes, or are one image."""
    most = max(1, TEMPORARY // max(1, bytes_each))
    for first in range(0, count, most):
        yield slice(first, min(count, first + most))


def chosen(out: torch.Tensor, rows: Rows, part: slice, sent: Sent) -> tuple[torch.Tensor, Rows]:
    """The images [k, H, W, C] of a part of the rows, to be read only, and those rows."""
    first, end = part.start, part.stop
    span = rows.span and (rows.span[0] + first, rows.span[0] + end)
    at = rows.at._replace(start=rows.at.start + 8 * first, shape=(end - first,))
    return (out[slice(*span)] if span else out.index_select(0, sent.get(at))), Rows(at, end - first, span)


def recolor(out: torch.Tensor, colours: Colours, sent: Sent) -> None:
    """Apply a round's tables to its rows of `out` uint8[N, H, W, C], in place."""
    import torch

    depth = out.shape[3]
    table = sent.get(colours.begin)[:, None].repeat(1, depth, 1)
    for step in colours.steps:
        _compose(table, step, out, sent)
    values = out[0].numel()
    for part in slices(colours.rows.m, 6 * values):
        images, rows = chosen(out, colours.rows, part, sent)
        own = table[part]
        begins = torch.arange(0, own.numel(), 256, device=out.device, dtype=torch.int32).view(-1, 1, 1, depth)
        places = images + begins
        put(out, rows, own.view(-1).index_select(0, places.view(-1)).view(images.shape), sent)


def _compose(table: torch.Tensor, step: Step, out: torch.Tensor, sent: Sent) -> None:
    """Let one more table follow the pending ones, uint8[m, C, 256], of the step's images."""
    at, data = sent.get(step.at), sent.get(step.data)
    pending = table.index_select(0, at)
    if step.kind == "table":
        then = data[:, None].expand(-1, table.shape[1], -1)
    elif step.kind == "contrast" and step.first:
        then = contrast(data, means(out, step, sent))
    else:
        counts = histograms(out, step, sent)
        if not step.first:
            counts = carried(counts, pending)
        then = contrast(data, means_of(counts)) if step.kind == "contrast" else of_counts(counts, data)
    if not step.first:
        then = then.expand_as(pending).gather(2, pending.long())
    table.index_copy_(0, at, then.expand_as(pending).contiguous())


def contrast(factor: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """uint8[k, 1, 256]: distances from the means float32[k] times the factors float32[k]."""
    import torch

    levels = torch.arange(256, device=mean.device, dtype=torch.float32)
    about = (1 - factor) * mean
    return (factor[:, None, None] * levels).add_(about[:, None, None]).clamp_(0, 255).to(torch.uint8)


def means(out: torch.Tensor, step: Step, sent: Sent) -> torch.Tensor:
    """float32[k]: the mean grey value of the step's images."""
    import torch

    found = []
    for part in slices(step.k, out[0].numel()):
        images = out.index_select(0, sent.get(step.images)[part])
        found.append(images.view(len(images), -1, images.shape[3]).sum(1, dtype=torch.int64))
    return _grey(torch.cat(found).to(torch.float32) / (out.shape[1] * out.shape[2]))


def means_of(counts: torch.Tensor) -> torch.Tensor:
    """float32[k]: the mean grey value of images of histograms int64[k, C, 256]."""
    import torch

    levels = torch.arange(256, device=counts.device)
    return _grey((counts * levels).sum(2).to(torch.float32) / counts.sum(2))


def _grey(channels: torch.Tensor) -> torch.Tensor:
    if channels.shape[1] == 1:
        return channels[:, 0]
    r, g, b = channels.unbind(1)
    return LUMA[0] * r + LUMA[1] * g + LUMA[2] * b


def histograms(out: torch.Tensor, step: Step, sent: Sent) -> torch.Tensor:
    """int64[k, C, 256]: how often each channel of the step's images has each value."""
    import torch

    depth, found = out.shape[3], []
    for part in slices(step.k, 9 * out[0].numel()):
        images = out.index_select(0, sent.get(step.images)[part])
        counts = torch.zeros(len(images) * depth * 256, dtype=torch.int32, device=out.device)
        begins = torch.arange(0, len(counts), 256, device=out.device).view(-1, 1, 1, depth)
        one = torch.ones((), dtype=torch.int32, device=out.device)
        places = (images + begins).view(-1)
        found.append(counts.scatter_add_(0, places, one.expand_as(places)).view(-1, depth, 256))
    return torch.cat(found).to(torch.int64)


def carried(counts: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The histograms int64[k, C, 256] once tables uint8[k, C, 256] have been applied."""
    import torch

    return torch.zeros_like(counts).scatter_add_(2, table.long(), counts)


def of_counts(counts: torch.Tensor, equalizes: torch.Tensor) -> torch.Tensor:
    """uint8[k, C, 256] of histograms int64[k, C, 256]: equalised where bool[k] says so, stretched elsewhere."""
    import torch

    levels = torch.arange(256, device=counts.device)
    seen = counts > 0
    low = torch.where(seen, levels, 255).amin(2, keepdim=True)
    high = torch.where(seen, levels, 0).amax(2, keepdim=True)
    # Floats divide as the host does; whole numbers would differ where its quotient falls short of one, and so would a
    # plain number over a tensor, which torch takes as a product with the reciprocal.
    kind = torch.float32 if counts.device.type == "mps" else torch.float64
    rate = torch.tensor(255.0, dtype=kind, device=counts.device) / (high - low).clamp(min=1).to(kind)
    stretched = ((levels - low) * rate).clamp_(0, 255).long()
    last = counts.gather(2, high)
    width = (counts.sum(2, keepdim=True) - last) // 255
    before = counts.cumsum(2) - counts
    equal = ((width // 2 + before) // width.clamp(min=1)).clamp_(max=255)
    plain = torch.where(equalizes[:, None, None], width == 0, high == low)
    return torch.where(plain, levels, torch.where(equalizes[:, None, None], equal, stretched)).to(torch.uint8)


def saturated(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """uint8[k, H, W, 3]: each pixel's distance from its grey times the factor, float32[k, 1, 1, 1]."""
    import torch

    x = images.to(torch.float32)
    grey = LUMA[0] * x[..., :1] + LUMA[1] * x[..., 1:2] + LUMA[2] * x[..., 2:]
    # Cut as Pillow does; grey stays as it is, though floats may fall a little short of whole numbers.
    return torch.lerp(grey, x, factor).add_(2**-9).clamp_(0, 255).to(torch.uint8)


def hue_turned(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """uint8[k, H, W, 3]: the hue turned in HSV, by shares of a whole turn in steps of 1/256, float32[k, 1, 1]."""
    import torch

    r, g, b = images.to(torch.float32).unbind(3)
    high, low = images.amax(3).to(torch.float32), images.amin(3).to(torch.float32)
    chroma = high - low
    span = chroma.clamp(min=1)
    hue = torch.where(high == g, (b - r) / span + 2, (r - g) / span + 4)
    hue = torch.where(high == r, (g - b) / span, hue) + 6 * (turns * 256).round() / 256
    out = torch.empty_like(images)
    for channel, offset in enumerate((5, 3, 1)):
        k = (hue + offset).remainder_(6)
        share = torch.minimum(k, 4 - k).clamp_(0, 1)
        out[..., channel] = (high - chroma * share + 0.5).to(torch.uint8)
    return out
