"""The executor on a device: parameters and a batch of images in, augmented pixels out, for CUDA, mps and the CPU.

The same pictures as `host` gives, within 1 of 255 in the mean. What happens to which image is decided on the host from
the drawn numbers (device_plan.py); everything that the launches need goes to the device in one transfer, and nothing
comes back. Temporaries take at most 512 MiB; a batch that needs more is done in parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.augment import device_color as color
from anmok.augment import device_effects as effects
from anmok.augment.device_pack import Pack, Ref, Sent
from anmok.augment.device_parts import Source, uniform
from anmok.augment.device_plan import Look, Other, Plan, Programs, early, plan, programs_of
from anmok.augment.device_warp import Border, Pixels, put, settle
from anmok.augment.host import colour
from anmok.augment.params import Op, Params
from anmok.core.errors import UsageError

if TYPE_CHECKING:
    import torch


def apply(images: torch.Tensor, params: Params, size: int | None = None) -> torch.Tensor:
    """The augmented images, uint8[N, S, S, C] on the device of uint8[N, H, W, C].

    size: of the output, by default the params', else the images' own.  UsageError where the numbers of images and of
    parameters differ, or the images are not uint8 with 1 or 3 channels.
    """
    if images.ndim != 4:
        raise UsageError(f"images must be [N, H, W, C], found {list(images.shape)}.", code="image")
    n, height, width, depth = images.shape
    images = images.contiguous()
    source, side = uniform(n, width, height), size or params.size
    return _run(images.view(-1), images, source, depth, params, (side, side) if side else (width, height))


def augment_batch(
    flat: torch.Tensor, offsets: np.ndarray, sizes: np.ndarray | Sequence[tuple[int, int]], depth: int, params: Params,
    size: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """The augmented images, uint8[N, S, S, C], of images of any sizes in one buffer uint8[total] on the device.

    offsets int64[N]: where each begins; sizes int64[N, 2]: its (H, W); both on the host; depth: channels.
    UsageError where numbers differ, an image does not lie in the buffer whole, or there is no size for the output.
    """
    own = np.asarray(sizes, np.int64).reshape(-1, 2)
    offsets = np.asarray(offsets, np.int64)
    side = size or params.size
    alike = len(own) > 0 and bool((own == own[0]).all())
    if side is None and not alike:
        raise UsageError("no images, or of several sizes: the output needs one.", code="image")
    ends = offsets + own.prod(1) * depth if len(offsets) == len(own) else np.array([-1])
    if (own < 1).any() or (offsets < 0).any() or (ends < 0).any() or ends.max(initial=0) > flat.numel():
        raise UsageError("an image does not lie in the buffer as its offset and size say.", code="image")
    if (offsets % depth).any():
        raise UsageError(f"images of {depth} channels must begin at multiples of {depth}.", code="image")
    source = Source(offsets // depth, own[:, 1], own[:, 0])
    target = (side, side) if side else (int(own[0, 1]), int(own[0, 0]))
    return _run(flat, None, source, depth, params, target)


def finish(
    images: torch.Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype | None = None,
    channels_last: bool = True,
) -> torch.Tensor:  # fmt: skip
    """Normalised [N, C, S, S] of uint8[N, S, S, C] in one pass: (pixel / 255 − mean) / std, one number a channel.

    dtype: float32 by default, bfloat16 or float16. channels_last: the strides of what comes out.
    """
    import torch

    n, height, width, depth = images.shape
    if not len(mean) == len(std) == depth:
        raise UsageError(f"{depth} channels, and {len(mean)} means and {len(std)} stds.", code="image")
    numbers = np.array([[1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]])
    pack = Pack()
    ref = pack.add(numbers, np.float32)
    rate, begin = pack.sent(images.device).get(ref).unbind(0)
    kind = dtype or torch.float32
    if channels_last:
        out = torch.empty((n, height, width, depth), dtype=kind, device=images.device).permute(0, 3, 1, 2)
    else:
        out = torch.empty((n, depth, height, width), dtype=kind, device=images.device)
    torch.addcmul(begin, images, rate, out=out.permute(0, 2, 3, 1))
    return out


# whole batches


class Job(NamedTuple):
    """Images of the batch (rows; None for all in order), what is done in their own size, and the rest."""

    rows: Ref | None
    before: Plan | None
    plan: Plan


def _run(
    flat: torch.Tensor, images: torch.Tensor | None, source: Source, depth: int, params: Params, size: tuple[int, int]
) -> torch.Tensor:
    import torch

    n = len(source.start)
    if n != len(params):
        raise UsageError(f"{n} images and parameters of {len(params)}.", code="image")
    if flat.dtype != torch.uint8 or depth not in (1, 3):
        raise UsageError(f"images must be uint8 of 1 or 3 channels, found {flat.dtype} of {depth}.", code="image")
    if not n:
        return torch.empty((n, size[1], size[0], depth), dtype=torch.uint8, device=flat.device)
    look = Look(depth, params.border == "fill", colour(params.fill, depth), colour(params.erased, depth))
    pack = Pack()
    colours = pack.add(np.array(look.fill)[:, None, None], np.float32), pack.add(look.erased, np.uint8)
    jobs = _jobs(programs_of(params, depth), source, size, look, pack)
    sent = pack.sent(flat.device)
    paint = Paint(sent, Border(look.cuts, sent.get(colours[0]) if any(look.fill) else None), sent.get(colours[1]))
    pixels = Pixels(flat[: len(flat) // depth * depth].view(-1, depth), images)
    if jobs[0].rows is None:
        return _execute(jobs[0].plan, pixels, paint)
    out = torch.empty((n, size[1], size[0], depth), dtype=torch.uint8, device=flat.device)
    for job in jobs:
        own = pixels
        if job.before is not None:
            made = _execute(job.before, own, paint)
            own = Pixels(made.view(-1, depth), made)
        assert job.rows is not None
        out.index_copy_(0, sent.get(job.rows), _execute(job.plan, own, paint))
    return out


def _jobs(programs: Programs, source: Source, size: tuple[int, int], look: Look, pack: Pack) -> list[Job]:
    """One job for images whose pixels are first needed in the output's frame; one for each size of the others."""
    first = early(programs, source, size)
    if not first.any():
        return [Job(None, None, plan(programs, source, size, look, pack))]
    jobs = []
    late = np.nonzero(first == 0)[0]
    if len(late):
        jobs.append(Job(pack.add(late, np.int64), None, plan(programs.take(late), source.take(late), size, look, pack)))
    rest = np.nonzero(first)[0]
    shapes, which = np.unique(np.stack([source.width[rest], source.height[rest]], 1), axis=0, return_inverse=True)
    places = np.arange(programs.ops.shape[1])
    for k, (width, height) in enumerate(shapes.tolist()):
        rows = rest[which == k]
        own, done = programs.take(rows), places < first[rows, None]
        before = own._replace(ops=np.where(done, own.ops, np.int8(0)))
        after = own._replace(ops=np.where(done, np.int8(0), own.ops))
        jobs.append(Job(
            pack.add(rows, np.int64), plan(before, source.take(rows), (width, height), look, pack),
            plan(after, uniform(len(rows), width, height), size, look, pack),
        ))  # fmt: skip
    return jobs


# on the device


class Paint(NamedTuple):
    """What every launch may need: the arrays sent, the border, the colour uint8[C] of what is erased."""

    sent: Sent
    border: Border
    erased: torch.Tensor


def _execute(plan: Plan, pixels: Pixels, paint: Paint) -> torch.Tensor:
    """uint8[n, H, W, C]: the plan done to images that are read from `pixels`, which stay as they are."""
    import torch

    depth = plan.look.depth
    out = torch.empty((plan.n, plan.size[1], plan.size[0], depth), dtype=torch.uint8, device=pixels.flat.device)
    for number, turn in enumerate(plan.rounds):
        source = pixels if number == 0 else Pixels(out.view(-1, depth), out)
        for part in turn.parts:
            settle(out, source, part, paint.sent, paint.border)
        if turn.tables is not None:
            color.recolor(out, turn.tables, paint.sent)
        for other in turn.others:
            _change(out, other, paint)
    return out


def _change(out: torch.Tensor, other: Other, paint: Paint) -> None:
    """One of the other operations on its rows of `out`, in place."""
    if other.op == Op.AUGMIX:
        for mix in other.mixes:
            images, rows = color.chosen(out, other.rows, slice(mix.first, mix.end), paint.sent)
            chains = _execute(mix.chains, Pixels(images.reshape(-1, images.shape[3]), images), paint)
            put(out, rows, effects.mixed(images, chains, paint.sent.get(mix.weights)), paint.sent)
        return
    for part in color.slices(other.rows.m, _BYTES.get(other.op, 16) * out[0].numel()):
        images, rows = color.chosen(out, other.rows, part, paint.sent)
        put(out, rows, _changed(images, other, part, paint), paint.sent)


_BYTES = {int(Op.NOISE): 32, int(Op.ELASTIC): 60, int(Op.HUE): 24}  # of temporaries, a value


def _changed(images: torch.Tensor, other: Other, part: slice, paint: Paint) -> torch.Tensor:
    numbers, keys = paint.sent.get(other.numbers)[part], paint.sent.get(other.keys)[part]
    factor = numbers[:, :1, None, None]
    if other.op == Op.SATURATION:
        return color.saturated(images, factor)
    if other.op == Op.HUE:
        return color.hue_turned(images, factor[..., 0])
    if other.op == Op.SHARPNESS:
        return effects.sharpened(images, factor)
    if other.op == Op.BLUR:
        return effects.blurred(images, numbers[:, 0], other.radius)
    if other.op == Op.NOISE:
        return effects.noisy(images, factor, keys)
    if other.op == Op.ELASTIC:
        return effects.elastic(images, numbers[:, 0], numbers[:, 1], keys, other.radius, paint.border)
    assert other.boxes is not None
    return effects.erased(images, paint.sent.get(other.boxes)[part], paint.erased)
