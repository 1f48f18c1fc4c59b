"""One image in every format that the project reads, made with Pillow."""

import io
import struct

import numpy as np
from PIL import Image, ImageOps

SIDE_PX = 16
ORIENTATION = 0x0112


def make_pixels(alpha: bool = False, side_px: int = SIDE_PX) -> np.ndarray:
    """Smooth colours without a symmetry; alpha falls from left to right."""
    ramp = np.linspace(30, 220, side_px)
    y, x = np.meshgrid(ramp, ramp, indexing="ij")
    channels = [x, y, (x + 2 * y) / 3] + [255 - x] * alpha
    return np.stack(channels, -1).astype(np.uint8)


def save(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def make_samples() -> dict[str, bytes]:
    rgb, rgba = Image.fromarray(make_pixels()), Image.fromarray(make_pixels(True))
    grey, palette = rgb.convert("L"), rgb.quantize(32)
    deep = Image.fromarray(make_pixels()[..., 0].astype(np.uint16) * 257)
    film = {"save_all": True, "append_images": [rgb.rotate(180)]}
    return {
        "jpeg": save(rgb, "JPEG", quality=95, subsampling=0),
        "jpeg_grey": save(grey, "JPEG", quality=95),
        "jpeg_progressive": save(rgb, "JPEG", quality=95, progressive=True),
        "jpeg_cmyk": save(rgb.convert("CMYK"), "JPEG", quality=95),
        "png": save(rgb, "PNG"),
        "png_16_bit": save(deep, "PNG"),
        "png_palette": save(palette, "PNG"),
        "png_palette_transparent": save(palette, "PNG", transparency=3),
        "png_alpha": save(rgba, "PNG"),
        "png_grey_keyed": save(grey, "PNG", transparency=grey.getpixel((3, 3))),
        "png_rgb_keyed": save(rgb, "PNG", transparency=rgb.getpixel((3, 3))),
        "png_grey_alpha": save(rgba.convert("LA"), "PNG"),
        "png_1_bit": save(rgb.convert("1"), "PNG"),
        "gif": save(palette, "GIF"),
        "gif_transparent": save(palette, "GIF", transparency=3),
        "gif_animated": save(rgb, "GIF", **film),
        "bmp": save(rgb, "BMP"),
        "bmp_grey": save(grey, "BMP"),
        "bmp_palette": save(palette, "BMP"),
        "bmp_32_bit": save(rgba, "BMP"),
        "webp": save(rgb, "WEBP", quality=90),
        "webp_lossless": save(rgb, "WEBP", lossless=True),
        "webp_alpha": save(rgba, "WEBP", quality=90),
        "webp_lossless_alpha": save(rgba, "WEBP", lossless=True),
    }


def make_animated_webp() -> bytes:
    rgb = Image.fromarray(make_pixels())
    film = {"save_all": True, "append_images": [rgb.rotate(180)]}
    return save(rgb, "WEBP", lossless=True, **film)


def make_turned(orientation: int, byte_order: str = "<", side_px: int = SIDE_PX):
    """A JPEG of 16 rows whose EXIF says how to turn it."""
    exif = make_exif([(ORIENTATION, 3, 1, orientation)], byte_order)
    pixels = make_pixels(side_px=side_px)[:SIDE_PX]
    return save(pixels, "JPEG", quality=95, subsampling=0, exif=exif)


def make_exif(entries: list[tuple[int, int, int, int]], byte_order: str) -> bytes:
    """The payload of APP1: tag, type, count and value (16 bits) of each entry."""
    mark = {"<": b"II", ">": b"MM"}[byte_order]
    tiff = mark + struct.pack(f"{byte_order}HIH", 42, 8, len(entries))
    for entry in entries:
        tiff += struct.pack(f"{byte_order}HHIHH", *entry, 0)
    return b"Exif\0\0" + tiff + bytes(4)


def decode_with_pillow(data: bytes) -> np.ndarray:
    """The upright image on white, uint8 [h, w, 3]."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):  # 16 bits
        return np.stack([np.asarray(image) >> 8] * 3, -1).astype(np.uint8)
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB"))
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image))[..., :3]
