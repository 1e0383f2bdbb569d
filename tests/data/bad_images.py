"""A folder of every odd file that a set of images may hold, made anew: rows 1 to 15 of the faults a user can meet."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# 96 × 64 pixels, the left half (200, 40, 30), the right half (30, 60, 180); our parts can read HEIC and not write it.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUJtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAAAA"
    "AAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFmAAEAAAAAAAAAfQAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAwmlwcnAAAACk"
    "aXBjbwAAAHhodmNDAQNwAAAAAAAAAAAAHvAA/P34+AAADwMgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQCEAAQArQgEBA3AAAAMAkAAAAwAA"
    "AwAeoDCBBZbqSSmubgQEDAgAAAMACAAAAwAIQCIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAAAGAAAABAAAAAEHBpeGkAAAAAAwgICAAAABZpcG1h"
    "AAAAAAAAAAEAAQOBAoMAAACFbWRhdAAAAHkoAa8J4OFXOXVf//yCP//8Yjch+xYfSQSn/8EDTv3AZ//uUJXUmOxmduuCFTIsFAVLw2v/NSW2oJcV"
    "/H5fzcl6YH5VojsdY0fpEvsVL7j3/H3Rw1Ndry9+4AQEsEvv/sBnE6LAD7keAPIeJeVzw9eP1//is/Qea2DW"
)


class Odd(NamedTuple):
    """code: of the ImageError that decoding raises, '' where it decodes; kinds: what the audit finds besides."""

    code: str
    kinds: tuple[str, ...] = ()


def photo(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """uint8[H, W, 3], smooth like a photograph and different for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = rng.uniform(0, 6, (3, 3))
    waves = [np.sin(6 * x * phase[c, 0] + phase[c, 1]) * np.cos(5 * y * phase[c, 2]) for c in range(3)]
    return ((np.stack(waves, -1) + 1) * 127).round().astype(np.uint8)


def encode(pixels: Any, form: str, **options: Any) -> bytes:
    """The bytes of a file of `form` (Pillow's name) of an array or a PIL image."""
    from PIL import Image

    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation: int) -> bytes:
    """A block of EXIF that holds an orientation."""
    from PIL import Image

    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values: np.ndarray, color_type: int, bits: int = 16, extra: bytes = b"", size: Any = None) -> bytes:
    """A PNG of values [H, W, C] written by hand; `size` (width, height) may lie."""
    height, width = values.shape[:2]
    kind = ">u2" if bits == 16 else "u1"
    rows = b"".join(b"\0" + row.astype(kind).tobytes() for row in values)
    header = struct.pack(">IIBBBBB", *(size or (width, height)), bits, color_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def gamma_profile(gamma: float) -> bytes:
    """A minimal ICC v2 profile: sRGB's primaries (adapted to D50), a pure power for its curves."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(fixed(v) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"power"
    tags = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * (1 + 78)),
        (b"cprt", b"text\0\0\0\0none\0"),
        (b"wtpt", xyz(0.9642, 1.0, 0.8249)),
        (b"rXYZ", xyz(0.4360747, 0.2225045, 0.0139322)),
        (b"gXYZ", xyz(0.3850649, 0.7168786, 0.0971045)),
        (b"bXYZ", xyz(0.1430804, 0.0606169, 0.7141733)),
        (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve),
    ]  # fmt: skip
    at, table, bodies = 128 + 4 + 12 * len(tags), b"", b""
    for name, body in tags:
        body += b"\0" * (-len(body) % 4)
        table += name + struct.pack(">II", at, len(body))
        at, bodies = at + len(body), bodies + body
    header = struct.pack(">I4sI4s4s4s", at, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    header += b"\0" * (128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + bodies


def jpeg_with_size(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG, its header claiming another size."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def ycck(data: bytes) -> bytes:
    """An Adobe CMYK JPEG whose marker says that it is YCCK."""
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


def _animation(form: str) -> bytes:
    from PIL import Image

    first, *others = (Image.fromarray(photo(seed=s)) for s in range(3))
    return encode(first, form, save_all=True, append_images=others, duration=100)


def build(folder: Path) -> dict[str, Odd]:
    """Write the files and say of each what is wrong with it."""
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, Odd] = {}
    for part in (_broken, _too_large, _refused, _odd):
        for name, (data, odd) in part().items():
            (folder / name).write_bytes(data)
            expected[name] = odd
    return expected


def _broken() -> dict[str, tuple[bytes, Odd]]:
    jpeg, big = encode(photo(), "JPEG"), photo(200, 300)
    truncated, unreadable = Odd("truncated"), Odd("unreadable")
    flipped = bytearray(encode(big, "PNG"))
    flipped[len(flipped) // 2 : len(flipped) // 2 + 40] = b"\xff" * 40
    return {
        "corrupt.jpg": (jpeg[:20] + bytes(range(256)) * 4 + b"\xff\xd9", unreadable),
        "corrupt.png": (bytes(flipped), unreadable),
        "empty.png": (b"", Odd("empty")),
        "text.jpg": (b"this is not an image at all\n" * 20, unreadable),
        "html.png": (b"<html><body>404 Not Found</body></html>", unreadable),
        "cut.jpg": (encode(big, "JPEG")[:-900], truncated),
        "cut-header.jpg": (jpeg[:100], truncated),
        "cut-progressive.jpg": (encode(big, "JPEG", progressive=True)[:-900], truncated),
        "cut.png": (encode(big, "PNG")[:-2000], truncated),
        "cut-header.png": (encode(big, "PNG")[:20], truncated),
        "cut.webp": (encode(big, "WEBP")[:-500], truncated),
        "cut.gif": (encode(big, "GIF")[:-3000], truncated),
        "cut.bmp": (encode(big, "BMP")[:-5000], truncated),
        "cut.tif": (encode(big, "TIFF")[:-5000], truncated),
        "cut-packed.tif": (encode(big, "TIFF", compression="tiff_lzw")[:-3000], truncated),
        "cut.avif": (encode(big, "AVIF")[:-200], truncated),
    }


def _too_large() -> dict[str, tuple[bytes, Odd]]:
    small, too_large = photo(4, 4), Odd("too-large")
    gif, webp, bmp = (bytearray(encode(small, f)) for f in ("GIF", "WEBP", "BMP"))
    gif[6:10] = struct.pack("<HH", 60000, 60000)
    frame_only = bytearray(encode(small, "GIF"))
    at = frame_only.index(b",", 13 + 3 * 2 ** ((frame_only[10] & 7) + 1))
    frame_only[at + 5 : at + 9] = struct.pack("<HH", 12000, 9000)
    lossy = webp.index(b"\x9d\x01\x2a")
    webp[lossy + 3 : lossy + 7] = struct.pack("<HH", 16000, 16000)
    bmp[18:26] = struct.pack("<ii", 40000, 40000)
    tiff = encode(small, "TIFF")
    for tag, value in ((256, 30000), (257, 30001)):
        for kind, form in ((3, "<HHIHH"), (4, "<HHII")):
            old = struct.pack(form, tag, kind, 1, 4, *(() if kind == 4 else (0,)))
            new = struct.pack(form, tag, kind, 1, value, *(() if kind == 4 else (0,)))
            tiff = tiff.replace(old, new)
    return {
        "huge.jpg": (jpeg_with_size(encode(small, "JPEG"), 65000, 65000), too_large),
        "huge.png": (png(small, 2, 8, size=(20000, 5000)), too_large),
        "bomb.png": (png(small, 2, 8, size=(60000, 60000)), too_large),
        "huge.gif": (bytes(gif), too_large),
        "huge-frame.gif": (bytes(frame_only), too_large),
        "huge.webp": (bytes(webp), too_large),
        "huge.bmp": (bytes(bmp), too_large),
        "huge.tif": (tiff, too_large),
    }


def _refused() -> dict[str, tuple[bytes, Odd]]:
    refused = Odd("unsupported-format")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
    return {
        "drawing.eps": (eps, refused),
        "eps-named.png": (eps, refused),
        "layers.psd": (b"8BPS\0\1" + b"\0" * 40, refused),
        "sky.fits": (b"SIMPLE  =                    T" + b" " * 2850, refused),
        "page.pdf": (b"%PDF-1.7\n%%EOF\n", refused),
        "logo.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', refused),
        "svg-named.jpg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', refused),
    }


def _odd() -> dict[str, tuple[bytes, Odd]]:
    from PIL import Image

    color, alpha = photo(), np.repeat(np.arange(48, dtype=np.uint8)[:, None] * 5, 64, axis=1)
    deep = np.full((48, 64, 3), 60000, np.uint16)
    cmyk = encode(Image.fromarray(color).convert("CMYK"), "JPEG")
    palette = Image.fromarray(color).quantize(16)
    rgba = Image.fromarray(np.dstack([color, alpha]))
    gray = Image.fromarray(color).convert("L")
    gray_alpha = Image.merge("LA", (gray, Image.fromarray(alpha)))
    floats = Image.fromarray(np.linspace(-2, 3, 48 * 64, dtype=np.float32).reshape(48, 64))
    return {
        "animated.gif": (_animation("GIF"), Odd("", ("animated",))),
        "animated.webp": (_animation("WEBP"), Odd("", ("animated",))),
        "animated.png": (_animation("PNG"), Odd("", ("animated",))),
        "cmyk.jpg": (cmyk, Odd("", ("colour-mode",))),
        "ycck.jpg": (ycck(cmyk), Odd("", ("colour-mode",))),
        "cmyk.tif": (encode(Image.fromarray(color).convert("CMYK"), "TIFF"), Odd("", ("colour-mode",))),
        "deep-gray.png": (encode(deep[:, :, 0], "PNG"), Odd("", ("bit-depth",))),
        "deep.png": (png(deep, 2), Odd("", ("bit-depth",))),
        "float.tif": (encode(floats, "TIFF"), Odd("", ("bit-depth",))),
        "bilevel.png": (encode(gray.convert("1"), "PNG"), Odd("", ("bit-depth",))),
        "rotated.jpg": (encode(color, "JPEG", exif=exif(6)), Odd("", ("rotated",))),
        "rotated.png": (encode(color, "PNG", exif=exif(3)), Odd("", ("rotated",))),
        "alpha.png": (encode(rgba, "PNG"), Odd("", ("alpha",))),
        "alpha.webp": (encode(rgba, "WEBP", lossless=True), Odd("", ("alpha",))),
        "gray-alpha.png": (encode(gray_alpha, "PNG"), Odd("", ("alpha",))),
        "palette-alpha.png": (encode(palette, "PNG", transparency=3), Odd("", ("alpha",))),
        "broken-profile.png": (encode(color, "PNG", icc_profile=b"no profile"), Odd("", ("bad-profile",))),
        "broken-profile.jpg": (encode(color, "JPEG", icc_profile=b"x" * 200), Odd("", ("bad-profile",))),
        "png-named.jpg": (encode(photo(seed=9), "PNG"), Odd("", ("wrong-extension",))),
        "jpeg-named.webp": (encode(photo(seed=10), "JPEG"), Odd("", ("wrong-extension",))),
        "no-extension": (encode(photo(seed=11), "PNG"), Odd("")),
        "photo.heic": (HEIC, Odd("")),
        "one.png": (encode(photo(1, 1), "PNG"), Odd("", ("odd-size",))),
        "strip.png": (encode(photo(20000, 1), "PNG"), Odd("", ("odd-size", "odd-aspect"))),
        "fine.jpg": (encode(photo(seed=12), "JPEG"), Odd("")),
    }
