"""Damaged images among good ones: each row is trained on or named, and none hangs.

The damage is drawn by hypothesis from a corpus of one image of every format.
"""

import collections
import struct

import image_samples
import numpy as np
import pytest
from fuzz_samples import BATCH, draw_blocks, train_one_pass
from hypothesis import strategies as st

from tf_multimodal.data import spec

CORPUS = (
    *image_samples.make_samples().values(),
    image_samples.make_animated_webp(),
    image_samples.make_turned(6),
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"RIFF\x04\x00\x00\x00WEBP",
    b"BM",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"<html>404 Not Found</html>",
)
BLOCK = 50  # images that hypothesis draws at once
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@st.composite
def damaged_images(draw):
    """An image of the corpus after up to three changes."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(("cut", "flip", "number", "insert", "splice")))
        if kind == "cut":
            del data[place:]
        elif kind == "flip" and data:
            data[place] ^= draw(st.integers(1, 255))
        elif kind == "number":  # in either byte order: sizes and lengths that lie
            order, value = draw(st.sampled_from("<>")), draw(st.sampled_from(EDGES))
            data[place : place + 4] = struct.pack(f"{order}I", value)
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=40))
        elif kind == "splice":
            data[place:] = draw(st.sampled_from(CORPUS))[place:]
    return bytes(data)


def check_images(blocks, make_source, make_preprocessor, config, tmp_path):
    images = draw_blocks(damaged_images(), blocks, BLOCK)
    images = images[: len(images) // BATCH * BATCH]
    source = make_source(len(images), images)
    trained, named = train_one_pass(
        source,
        np.arange(len(images)),
        config,
        make_preprocessor("image"),
        tmp_path / "dropped.jsonl",
    )
    named_rows = [int(line["id"].removeprefix("id")) for line in named]
    assert sorted([*trained, *named_rows]) == list(range(len(images)))
    assert set(trained.values()) == {1}
    assert all(line["reason"] for line in named)
    return collections.Counter(line["status"] for line in named), len(trained), images


def test_each_damaged_image_is_trained_on_or_named(
    make_source, make_preprocessor, config, tmp_path
):
    named, num_trained, images = check_images(
        8, make_source, make_preprocessor, config, tmp_path
    )
    assert len(images) >= 300
    assert num_trained > 50 and named[spec.UNDECODABLE_IMAGE] > 50
    assert named[spec.MISSING_INPUT] > 0  # no bytes: no image


@pytest.mark.slow
def test_each_of_10000_damaged_images_is_trained_on_or_named(
    make_source, make_preprocessor, config, tmp_path
):
    named, num_trained, images = check_images(
        200, make_source, make_preprocessor, config, tmp_path
    )
    assert len(images) >= 10_000
    assert num_trained > 2_000 and named[spec.UNDECODABLE_IMAGE] > 2_000
    assert named[spec.IMAGE_TOO_LARGE] > 0
