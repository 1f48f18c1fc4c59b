"""Rows of requests, good ones and ones that are damaged on purpose."""

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_multimodal.data import spec

GOOD = "good"

_SOUND_OR_NOT = (spec.OK, spec.UNDECODABLE_IMAGE, spec.IMAGE_TOO_LARGE)
_PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
_TEXTS = (
    "two cats on a mat",
    "le café à côté",
    "сиреневая корова",
    "猫と犬",
    "🎉 a party",
)
# A byte order mark, a replacement character, a change of direction, a combining
# accent, joiners, a flag and a tag.
_RARE_CHARACTERS = (
    "\ufeff\ufffd\u202e e\u0301\u200d \U0001f3f3\ufe0f\u200d\U0001f308 \U000e0001"
)

Draw = np.random.Generator
Make = Callable[[Draw], tuple[bytes, bytes]]  # image and text of a row


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of a request.

    Attributes:
        kind: of damage; `good` for none.
        image_bytes: an encoded image, or what stands in its place.
        text: UTF-8, or not.
        statuses: those of `spec.STATUSES` that are right.
    """

    kind: str
    image_bytes: bytes
    text: bytes
    statuses: tuple[str, ...]


def make_cases(draw: Draw) -> Iterator[Case]:
    """Yields rows without end: each damage in turn, and a third of good ones.

    Args:
        draw: order and damage come from it.
    """
    names = [name for name in KINDS if name != GOOD]
    while True:
        draw.shuffle(names)
        for position, name in enumerate(names):
            if position % 2 == 0:
                yield _make_case(GOOD, draw)
            yield _make_case(name, draw)


def _make_case(kind: str, draw: Draw) -> Case:
    statuses, make = KINDS[kind]
    image_bytes, text = make(draw)
    return Case(kind, image_bytes, text, statuses)


def _draw_text(draw: Draw) -> bytes:
    return str(draw.choice(_TEXTS)).encode()


def _draw_image(draw: Draw) -> bytes:
    return encode_image(draw, str(draw.choice(_FORMATS)))


def encode_image(
    draw: Draw,
    image_format: str,
    mode: str = "RGB",
    size: tuple[int, int] | None = None,
    frames: int = 1,
    **options: Any,
) -> bytes:
    """Returns a random image as a file's bytes.

    Args:
        draw: where its pixels come from.
        image_format: Pillow's name of the format.
        mode: Pillow's pixel mode.
        size: width and height in pixels; None: random ones.
        frames: of an animation; 1: a still image.
        **options: passed on to Pillow.
    """
    # Of matplotlib's dependencies; serving itself does without it.
    from PIL import Image

    width, height = size or (int(x) for x in draw.integers(1, 200, 2))
    images = []
    for _ in range(frames):
        pixels = draw.integers(0, 256, (7, 5, 3), dtype=np.uint8)
        images.append(Image.fromarray(pixels).resize((width, height)).convert(mode))
    if frames > 1:
        options |= {"save_all": True, "append_images": images[1:]}
    file = io.BytesIO()
    images[0].save(file, image_format, **options)
    return file.getvalue()


def _draw_any(draw: Draw) -> bytes:
    makes = (_draw_image, _draw_rare, _draw_animation)
    return makes[draw.integers(len(makes))](draw)


def _truncate(draw: Draw) -> bytes:
    image = _draw_any(draw)
    return image[: draw.integers(1, len(image))]


def _flip_bits(draw: Draw) -> bytes:
    image = np.frombuffer(_draw_any(draw), np.uint8).copy()
    # Every other time in the header alone, where a decoder is misled most.
    end = min(len(image), 64) if draw.random() < 0.5 else len(image)
    places = draw.integers(0, end, draw.integers(1, 20))
    image[places] ^= (1 << draw.integers(0, 8, len(places))).astype(np.uint8)
    return image.tobytes()


def _draw_noise(draw: Draw) -> bytes:
    return b"\x00" + draw.bytes(int(draw.integers(1, 5000)))


def _draw_rare(draw: Draw) -> bytes:
    options: list[dict[str, Any]] = [
        {"image_format": "JPEG", "mode": "CMYK"},
        {"image_format": "JPEG", "mode": "L", "progressive": True},
        {"image_format": "PNG", "mode": "I;16"},
        {"image_format": "PNG", "mode": "P"},
        {"image_format": "PNG", "mode": "RGBA"},
        {"image_format": "PNG", "mode": "1"},
        {"image_format": "WEBP", "lossless": True},
        {"image_format": "JPEG", "size": (1, 3000)},
    ]
    return encode_image(draw, **options[draw.integers(len(options))])


def _draw_animation(draw: Draw, image_format: str = "") -> bytes:
    image_format = image_format or str(draw.choice(("GIF", "WEBP", "PNG")))
    return encode_image(draw, image_format, frames=3)


def _enlarge(draw: Draw) -> bytes:
    """Returns a small file whose header promises far more pixels than the limit."""
    name = str(draw.choice(_FORMATS))
    image = bytearray(encode_image(draw, name, size=(40, 30)))
    if name == "JPEG":
        start = image.index(b"\xff\xc0") + 5  # height, width of the frame header
        image[start : start + 4] = b"\xff\xdc" * 2
    elif name == "PNG":
        image[16:24] = (90_000).to_bytes(4, "big") * 2
    elif name == "BMP":
        image[18:26] = (90_000).to_bytes(4, "little") * 2
    elif name == "WEBP":
        image[26:30] = b"\xff\x3f" * 2  # of the lossy format, 14 bits each
    else:
        image[6:10] = b"\xff" * 4  # the screen, and the frame on it
        start = image.index(b"\x2c\x00\x00\x00\x00") + 5
        image[start : start + 4] = b"\xff" * 4
    return bytes(image)


def _crumble(draw: Draw) -> bytes:
    """Returns a legal GIF with more small blocks in front than are passed."""
    image = encode_image(draw, "GIF")
    place = 13 + 3 * (2 << (image[10] & 7))  # behind the header and its palette
    comment = b"\x21\xfe" + b"\x01 \x02  " * 100 + b"\x00"
    return image[:place] + comment * 40 + image[place:]


def _lengthen(text: str) -> bytes:
    return (text * 100_000)[:100_000].encode()


def _replace_image(make: Callable[[Draw], bytes]) -> Make:
    return lambda draw: (make(draw), _draw_text(draw))


def _replace_text(make: Callable[[Draw], bytes]) -> Make:
    return lambda draw: (_draw_image(draw), make(draw))


# By kind of damage: the statuses that are right, and image and text of such a row.
KINDS: dict[str, tuple[tuple[str, ...], Make]] = {
    GOOD: ((spec.OK,), _replace_image(_draw_image)),
    "rare format": ((spec.OK,), _replace_image(_draw_rare)),
    "no image": ((spec.OK,), _replace_image(lambda _: b"")),
    "no text": ((spec.OK,), _replace_text(lambda _: b"")),
    "empty": ((spec.MISSING_INPUT,), lambda _: (b"", b"")),
    "truncated": (_SOUND_OR_NOT, _replace_image(_truncate)),
    "bit-flipped": (_SOUND_OR_NOT, _replace_image(_flip_bits)),
    "huge header": ((spec.IMAGE_TOO_LARGE,), _replace_image(_enlarge)),
    "animated GIF": (
        (spec.OK,),
        _replace_image(lambda draw: _draw_animation(draw, "GIF")),
    ),
    "GIF of small blocks": (
        (spec.UNDECODABLE_IMAGE,),
        _replace_image(_crumble),
    ),
    "animated WebP": (
        (spec.OK, spec.UNDECODABLE_IMAGE),
        _replace_image(lambda draw: _draw_animation(draw, "WEBP")),
    ),
    "animated PNG": (
        (spec.OK,),
        _replace_image(lambda draw: _draw_animation(draw, "PNG")),
    ),
    "text for image": ((spec.UNDECODABLE_IMAGE,), _replace_image(_draw_text)),
    "noise for image": ((spec.UNDECODABLE_IMAGE,), _replace_image(_draw_noise)),
    "noise alone": (
        (spec.UNDECODABLE_IMAGE,),
        lambda draw: (_draw_noise(draw), b""),
    ),
    "PDF": ((spec.UNDECODABLE_IMAGE,), _replace_image(lambda _: _PDF)),
    "SVG": ((spec.UNDECODABLE_IMAGE,), _replace_image(lambda _: _SVG)),
    "TIFF": (
        (spec.UNDECODABLE_IMAGE,),
        _replace_image(lambda draw: encode_image(draw, "TIFF")),
    ),
    "text not UTF-8": (
        (spec.UNDECODABLE_TEXT,),
        _replace_text(lambda draw: b"a cat \xff" + draw.bytes(20)),
    ),
    "text cut in a character": (
        (spec.UNDECODABLE_TEXT,),
        _replace_text(lambda _: "猫".encode()[:2]),
    ),
    "text not UTF-8, noise": (
        (spec.UNDECODABLE_IMAGE,),
        lambda draw: (_draw_noise(draw), b"\xc3\x28"),
    ),
    "100,000 characters": (
        (spec.OK,),
        _replace_text(lambda draw: _lengthen(_draw_text(draw).decode())),
    ),
    "one word of 100,000": ((spec.OK,), _replace_text(lambda _: b"a" * 100_000)),
    "control characters": (
        (spec.OK,),
        _replace_text(lambda draw: bytes(draw.integers(1, 32, 50).tolist())),
    ),
    "NUL": ((spec.OK,), _replace_text(lambda _: b"a \x00 cat\x00")),
    "rare characters": (
        (spec.OK,),
        _replace_text(lambda _: _RARE_CHARACTERS.encode()),
    ),
}
