"""The rows that a SavedModel is verified with."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.data.source import Source
from tf_multimodal.serving.pairs import (
    Pair,
    choose_pairs,
    choose_split,
    make_edge_pairs,
)


def make_source(images, texts, are_paths=False, splits=None) -> Source:
    count = len(images)
    names = np.array([f"id{i}" for i in range(count)], dtype=object)
    return Source(
        name="pairs.csv",
        classes=("bird", "cat"),
        images=np.array(images, dtype=object),
        texts=np.array(texts, dtype=object),
        labels=np.zeros(count, np.int32),
        weights=np.ones(count, np.float32),
        ids=names,
        groups=names,
        splits=np.array(splits or ["test"] * count, dtype=object),
        files=names,
        rows=np.arange(count),
    )


def test_the_test_split_is_compared_where_there_is_one():
    splits = ["train", "test"]
    assert choose_split(make_source([b"i"] * 2, ["a", "b"], splits=splits)) == "test"
    assert choose_split(make_source([b"i"], ["a"], splits=["train"])) == "train"


def test_pairs_come_from_all_over_the_split():
    source = make_source([b"i"] * 101, [str(i) for i in range(101)])
    chosen = [int(pair.text) for pair in choose_pairs(source, max_rows=5)]
    assert chosen == [0, 25, 50, 75, 100]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1000, 100, 100), {"test": 256}),
        ((230, 100, 100), {"test": 230}),
        ((72, 50, 900), {"test": 72, "validation": 50, "train": 78}),
        ((72, 500, 900), {"test": 72, "validation": 128}),
        ((0, 500, 900), {"validation": 256}),
        ((7, 1, 3), {"test": 7, "validation": 1, "train": 3}),
    ],
)
def test_test_pairs_are_filled_up_to_two_hundred(sizes, expected):
    names = ("test", "validation", "train")
    splits = [n for n, size in zip(names, sizes, strict=True) for _ in range(size)]
    count = len(splits)
    source = make_source([b"i"] * count, ["t"] * count, splits=splits)
    found = Counter(pair.split for pair in choose_pairs(source))
    assert found == expected and list(found) == list(expected)


def test_pairs_are_read_from_their_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"stored")
    (tmp_path / "empty.png").write_bytes(b"")
    images = ["", *(str(tmp_path / f"{name}.png") for name in ("a", "gone", "empty"))]
    source = make_source(images, ["", "one", "two", ""], are_paths=True)
    pairs = choose_pairs(source)
    assert [(p.image_bytes, p.text) for p in pairs] == [
        (b"stored", "one"),
        (b"", "two"),
    ]
    assert "id1" in pairs[0].name


def test_rows_that_cannot_be_read_are_made_up_for(tmp_path):
    gone = str(tmp_path / "gone.png")
    source = make_source([gone, "", gone, ""], ["", "a", "", "b"], are_paths=True)
    assert [pair.text for pair in choose_pairs(source, max_rows=2)] == ["a", "b"]


def test_a_data_set_without_pairs_is_an_error():
    with pytest.raises(ValueError, match="pairs.csv has no readable pair"):
        choose_pairs(make_source([b"", b""], ["", ""]))


def test_made_up_rows_have_every_status_of_serving(predictor):
    image = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()
    pairs = make_edge_pairs([Pair(b"", "a bird", "a"), Pair(image, "", "b")])
    found = predictor.predict([p.image_bytes for p in pairs], [p.text for p in pairs])
    by_name = dict(zip((p.name for p in pairs), found.status, strict=True))
    # A file that cannot be read is none of serving's troubles.
    assert set(found.status) == set(spec.STATUSES) - {spec.UNREADABLE_IMAGE}
    assert by_name["made up: header of a huge image"] == spec.IMAGE_TOO_LARGE
    assert by_name["made up: no image and no text"] == spec.MISSING_INPUT
    assert by_name["made up: text of 100,000 characters"] == spec.OK
