from __future__ import annotations

import io

import pytest
from PIL import Image

from anmok.data.sniff import sniff


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("AVIF", "avif"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tiff"),
    ],
)
def test_formats_by_their_bytes(kind: str, expected: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(out, kind)
    assert sniff(out.getvalue()) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"%!PS-Adobe-3.0 EPSF", "eps"),
        (b"8BPS\0\1", "psd"),
        (b"SIMPLE  =                    T", "fits"),
        (b"%PDF-1.7", "pdf"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b"\xef\xbb\xbf  <SVG>", "svg"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"\0\0\0\x14ftypisom\0\0\0\0mp42", None),
        (b"BM and then a text", None),
        (b"<html><svg></svg></html>", None),
        (b"", None),
        (b"hello", None),
    ],
)
def test_heads(head: bytes, expected: str | None) -> None:
    assert sniff(head) == expected
