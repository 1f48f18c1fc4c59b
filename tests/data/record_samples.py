"""Small sources for the tests of the records."""

import io

import numpy as np
from PIL import Image

from tf_multimodal.config import get_default_config
from tf_multimodal.data.source import LabelSets, Source

COUNT = 7


def encode(width, height, kind="PNG", seed=0, orientation=1):
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, exif=exif)
    return stream.getvalue()


def make_column(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def make_source(images=None, texts=None, **more):
    """A source in memory; rows 2 to 8 of a table."""
    images = images or [encode(8, 6, seed=seed) for seed in range(COUNT)]
    count = len(images)
    texts = texts or [f"text {i} \u732b\ufeff" for i in range(count)]
    ids = [f"r{i}" for i in range(count)]
    values = {
        "name": "pairs.csv",
        "classes": ("\u9ce5", "cat", "ant"),  # in no alphabetical order
        "labels": np.arange(count, dtype=np.int32) % 3,
        "weights": np.linspace(0.1, 2, count, dtype=np.float32),
        "ids": make_column(ids),
        "groups": make_column([f"g{i // 2}" for i in range(count)]),
        "splits": make_column(
            [("train", "validation", "test")[i % 3] for i in range(count)]
        ),
        "files": make_column([f"{i}.png" for i in range(count)]),
        "rows": np.arange(count, dtype=np.int64) + 2,
    }
    return Source(images=make_column(images), texts=make_column(texts), **values | more)


def make_label_sets(count=COUNT):
    """Row i has i % 3 labels."""
    counts = np.arange(count) % 3
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = np.concatenate([np.arange(n) for n in counts]).astype(np.int32)
    return LabelSets(offsets, values, 3)


def make_config(**data):
    config = get_default_config()
    config.data.manifest = "pairs.csv"
    config.data.update(data)
    return config
