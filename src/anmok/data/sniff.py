"""What a file is, by its first bytes; names are never trusted."""

from __future__ import annotations

# Extensions that are opened without looking first; the decoder sniffs the bytes all the same.
_EXTENSIONS = "jpg jpeg jpe jfif png apng webp avif heic heif gif bmp dib tif tiff"
EXTENSIONS = frozenset(_EXTENSIONS.split())

# Known, and refused: their parsers are too large a surface to open to strangers.
REFUSED = frozenset({"eps", "psd", "fits", "pdf", "svg"})
REFUSED_EXTENSIONS = frozenset({"eps", "ps", "ai", "psd", "psb", "fits", "fit", "fts", "pdf", "svg", "svgz"})

HEAD = 256  # bytes that `sniff` wants to see

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_STARTS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"8BPS", "psd"),
    (b"%!PS", "eps"),
    (b"\xc5\xd0\xd3\xc6", "eps"),
    (b"SIMPLE  =", "fits"),
    (b"%PDF-", "pdf"),
)
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def sniff(head: bytes) -> str | None:
    """The format that the first bytes (256 are enough) show.

    'jpeg', 'png', 'webp', 'avif', 'heic', 'gif', 'bmp', 'tiff'; or one of the known but refused 'eps', 'psd', 'fits',
    'pdf', 'svg'; None for anything else.
    """
    head = bytes(head[:HEAD])
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _isobmff(head)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype")) and b"<svg" in text):
        return "svg"
    return None


def _isobmff(head: bytes) -> str | None:
    """AVIF or HEIC, by the brands of the `ftyp` box (ISO/IEC 23008-12, annex B)."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))]
    if _AVIF & set(brands):
        return "avif"
    return "heic" if _HEIC & set(brands) else None
