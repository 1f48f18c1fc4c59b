"""A source with one row of each trouble that an audit looks for."""

import io

import numpy as np
from PIL import Image

from tf_multimodal.data.source import LeftOutRow, Source

SPLITS = ("train", "validation", "test")


def make_pixels(number, height=48, width=64):
    """Blocks of colour that differ from number to number."""
    blocks = np.random.RandomState(number).randint(0, 256, (6, 8, 3), np.uint8)
    pixels = blocks.repeat(-(-height // 6), 0).repeat(-(-width // 8), 1)
    return pixels[:height, :width]


def encode(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def make_column(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def make_source(images, texts, labels=None, splits=None, groups=None, **more):
    """A source in memory; row i is line i + 2 and has the id `r00i`."""
    count = len(images)
    ids = [f"r{i:03d}" for i in range(count)]
    return Source(
        name="pairs.csv",
        classes=("bird", "cat"),
        images=make_column(images),
        texts=make_column(texts),
        labels=np.array(labels or [i % 2 for i in range(count)], np.int32),
        weights=np.ones(count, np.float32),
        ids=make_column(ids),
        groups=make_column(groups or ids),
        splits=make_column(splits or [SPLITS[i % 3] for i in range(count)]),
        files=make_column([f"{i}.png" for i in range(count)]),
        rows=np.arange(count, dtype=np.int64) + 2,
        **more,
    )


def make_troubled_source(folder):
    """One row of each trouble, in the order of the names that come back."""
    film = {
        "save_all": True,
        "append_images": [Image.fromarray(make_pixels(50))],
        "duration": 50,
    }
    noise = np.random.RandomState(9).randint(0, 9, (40, 40, 3)).astype(np.uint8)
    (folder / "here.png").write_bytes(encode(make_pixels(20)))
    rows = {
        "good": (encode(make_pixels(1)), "a red bird"),
        "equal": (encode(make_pixels(1)), "the same picture"),
        "near": (encode(make_pixels(1, 96, 128), "JPEG"), "nearly the same"),
        "path": (str(folder / "here.png"), "from a file"),
        "gone": (str(folder / "gone.png"), "no such file"),
        "broken": (encode(make_pixels(2))[:300], "cut off"),
        "not an image": (b"hello", "no image at all"),
        "too large": (encode(np.zeros((400, 600, 3), np.uint8)), "too many pixels"),
        "none": ("", "no image given"),
        "tiny": (encode(make_pixels(3, 10, 12)), "tiny"),
        "wide": (encode(make_pixels(4, 40, 240)), "wide"),
        "animated": (encode(make_pixels(5), "GIF", **film), "moves"),
        "webp": (encode(make_pixels(6), "WEBP", lossless=True, **film), "moves too"),
        "blank": (encode(noise), "a blank page"),
        "no text": (encode(make_pixels(7)), ""),
        "spaces": (encode(make_pixels(8)), " \t "),
        "latin": (encode(make_pixels(9)), b"caf\xe9"),
        "long": (encode(make_pixels(10)), "word " * 300),
        "repeated": (encode(make_pixels(11)), "A  RED bird"),
    }
    images, texts = zip(*rows.values(), strict=True)
    left_out = (
        LeftOutRow("pairs.csv", 90, "x1", "received 'tset', expected a split."),
        LeftOutRow("pairs.csv", 91, "x2", "received 'trian', expected a split."),
    )
    source = make_source(images, texts, left_out=left_out)
    return source, list(rows)
