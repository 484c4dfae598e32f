"""Pictures that are cut off, are none, would fill the memory, or are whole and not as usual."""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import numpy as np
from PIL import Image as PILImage

from hostile.case import Case, noise, picture_case, saved, shown


def truncated() -> list[Case]:
    cases = []
    for kind, options in (
        ("JPEG", {"quality": 92}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
    ):
        raw = saved(noise(), kind, **options)
        places = {
            0,
            1,
            2,
            4,
            9,
            21,
            60,
            *(len(raw) * n // 9 for n in range(1, 9)),
            len(raw) - 3,
            len(raw) - 1,
        }
        for place in sorted(places):
            cases.append(
                picture_case(
                    f"{kind} cut at {place} of {len(raw)}",
                    raw[:place],
                    "either",
                    "cannot be decoded",
                    pixels=shown(raw),
                )
            )
    return cases


# Files that are no pictures, and pictures that would fill the memory


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def bomb_png(side: int) -> bytes:
    """A whole grey PNG of ``side`` × ``side`` pixels, made row by row."""
    stream = zlib.compressobj(9)
    row_bytes = bytes(side + 1)
    data = b"".join(stream.compress(row_bytes) for _ in range(side)) + stream.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    """A TIFF header that promises many pixels and has none."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
    ]
    tags += [(278, 4, height), (279, 4, 16)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4


def jpeg_header(width: int, height: int) -> bytes:
    raw = bytearray(saved(noise(), "JPEG"))
    place = raw.index(b"\xff\xc0") + 5
    raw[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(raw)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif_header(width: int, height: int) -> bytes:
    raw = saved(noise(), "GIF")
    return raw[:6] + struct.pack("<HH", width, height) + raw[10:]


def no_pictures() -> list[Case]:
    zipped = io.BytesIO()
    gzip.GzipFile(fileobj=zipped, mode="wb").write(saved(noise(), "PNG"))
    text = png(
        8, 8, 8, 2, bytes(25 * 8), chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"x" * 90_000_000, 9))
    )
    said = {
        "no bytes": b"",
        "text": b"This is not a picture.\n" * 9,
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
        "gzipped png": zipped.getvalue(),
        "null bytes": bytes(5000),
        "random bytes": np.random.default_rng(1).bytes(5000),
        "png header alone": b"\x89PNG\r\n\x1a\n",
        "png without pixels": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)),
        "png of no size": png(0, 0, 8, 2, b""),
        "png with a wrong sum": saved(noise(), "PNG").replace(b"IDAT", b"IDAX", 1),
        "png with broken zlib": saved(noise(), "PNG")[:60] + bytes(2000),
        "png of impossible depth": png(8, 8, 3, 2, bytes(300)),
        "png with 90 MB of text": text,
        "jpeg of no size": jpeg_header(0, 0),
        "tiff in circles": b"II*\0" + struct.pack("<IHHHIII", 8, 1, 256, 4, 1, 5, 8),
        "webp of nothing": b"RIFF\x04\0\0\0WEBP",
        "bmp of negative size": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, -9, -9, 1, 24, 0, 0, 0, 0, 0, 0),
        "floating-point tiff": saved(PILImage.fromarray(noise()[..., 0].astype(np.float32)), "TIFF"),
    }
    cases = [picture_case(name, raw, "bad", "the picture") for name, raw in said.items()]
    bombs = {
        "png of 20,000 × 20,000": bomb_png(20_000),
        "png of 60,000 × 60,000": png(60_000, 60_000, 8, 2, b""),
        "gif of 65,535 × 65,535": gif_header(65_535, 65_535),
        "tiff of 100,000 × 100,000": tiff(100_000, 100_000),
        "tiff of 2^31 × 2^31": tiff(2**31 - 1, 2**31 - 1),
        "jpeg of 65,500 × 65,500": jpeg_header(65_500, 65_500),
        "ppm of 20,000 × 20,000": b"P6 20000 20000 255\n" + bytes(99),
        "bmp of 30,000 × 30,000": bmp(30_000, 30_000),
    }
    return cases + [picture_case(name, raw, "bad", "pixels") for name, raw in bombs.items()]


# Pictures that are whole, and not as usual


def odd_pictures() -> list[Case]:
    base = noise()
    grey = base[..., 0]
    cases: list[Case] = []

    def good(name: str, raw: bytes, pixels: np.ndarray, tolerance: int = 0) -> None:
        cases.append(picture_case(name, raw, "good", pixels=pixels, tolerance=tolerance))

    def three(one: np.ndarray) -> np.ndarray:
        return np.repeat(one[..., None], 3, axis=2)

    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    good("CMYK jpeg", saved(PILImage.fromarray(flat).convert("CMYK"), "JPEG", quality=100), flat, 4)
    good("grey jpeg", saved(np.full((9, 9), 77, np.uint8), "JPEG"), np.full((9, 9, 3), 77, np.uint8), 2)
    good("progressive jpeg", saved(flat, "JPEG", progressive=True, quality=95), flat, 6)
    sixteen = grey.astype(np.uint16) * 256 + 17
    good("16-bit grey png", saved(sixteen, "PNG"), three(grey))
    good("16-bit grey tiff", saved(sixteen, "TIFF"), three(grey))
    wide = (base.astype(np.uint16) * 256 + 99).astype(">u2").tobytes()
    stride = base.shape[1] * 6
    rows = b"".join(b"\0" + wide[n : n + stride] for n in range(0, len(wide), stride))
    good("16-bit colour png", png(64, 48, 16, 2, rows), base)
    hidden = PILImage.fromarray(base).quantize(8)
    raw = saved(hidden, "PNG", transparency=3)
    index = np.asarray(hidden)
    palette = np.asarray(hidden.getpalette()[:24], np.uint8).reshape(8, 3)
    wanted = np.where((index == 3)[..., None], 255, palette[index]).astype(np.uint8)
    good("palette with a transparent colour", raw, wanted)
    good("gif with a transparent colour", saved(hidden, "GIF", transparency=3), wanted)
    half = np.dstack([base, np.full(grey.shape, 128, np.uint8)])
    good(
        "half transparent",
        saved(half, "PNG"),
        (base * (128 / 255) + 255 * (127 / 255)).round().astype(np.uint8),
        1,
    )
    faint = np.dstack([grey, np.where(grey > 99, 255, 0).astype(np.uint8)])
    good(
        "grey with alpha",
        saved(PILImage.fromarray(faint, "LA"), "PNG"),
        three(np.where(grey > 99, grey, 255).astype(np.uint8)),
    )
    black = (grey > 99).astype(np.uint8) * 255
    good("one bit", saved(PILImage.fromarray(black).convert("1"), "PNG"), three(black))
    good("one bit tiff", saved(PILImage.fromarray(black).convert("1"), "TIFF"), three(black))
    solid = PILImage.fromarray(np.dstack([base, np.full(grey.shape, 255, np.uint8)]))
    good("premultiplied tiff", saved(solid, "TIFF", tiffinfo={338: (1,)}), base)
    good("YCbCr tiff", saved(PILImage.fromarray(flat).convert("YCbCr"), "TIFF"), flat, 3)
    good("one pixel", saved(base[:1, :1], "PNG"), base[:1, :1])
    good("one column", saved(noise(1, 5000), "PNG"), noise(1, 5000))
    good("one row", saved(noise(5000, 1), "PNG"), noise(5000, 1))
    good("ppm", saved(base, "PPM"), base)
    good("bmp", saved(base, "BMP"), base)
    good("lossless webp", saved(base, "WEBP", lossless=True), base)
    good("jpeg called png", saved(flat, "JPEG", quality=95), flat, 6)
    frames = [PILImage.fromarray(noise(seed=n)) for n in range(3)]
    few = [frame.quantize(16) for frame in frames]
    first = np.asarray(few[0].convert("RGB"))
    good("animated gif", saved(few[0], "GIF", save_all=True, append_images=few[1:]), first)
    good("animated png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), base)
    good(
        "animated webp",
        saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        base,
    )
    good("tiff of pages", saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]), base)
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud}
    turns |= {5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1)}
    turns |= {7: lambda a: np.rot90(a.transpose(1, 0, 2), 2), 8: np.rot90}
    for orientation, turn in turns.items():
        exif = PILImage.Exif()
        exif[0x0112] = orientation
        for kind in ("PNG", "WEBP"):
            raw = saved(base, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
            good(f"{kind} turned by EXIF {orientation}", raw, turn(base))
        soft = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, 16, 0), 16, 1)
        good(
            f"JPEG turned by EXIF {orientation}",
            saved(three(soft), "JPEG", quality=100, exif=exif),
            turn(three(soft)),
            6,
        )
    exif = PILImage.Exif()
    exif[0x0112] = 99
    good("EXIF of no orientation", saved(base, "PNG", exif=exif), base)
    broken = saved(base, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    good("broken EXIF", broken, base)
    return cases
