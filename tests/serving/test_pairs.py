"""The rows that a SavedModel is verified with."""

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


def make_source(images, texts, are_paths=False) -> Source:
    count = len(images)
    names = np.array([f"id{i}" for i in range(count)], dtype=object)
    return Source(
        name="pairs.csv",
        classes=("bird", "cat"),
        images=np.array(images, dtype=object),
        images_are_paths=are_paths,
        texts=np.array(texts, dtype=object),
        labels=np.zeros(count, np.int32),
        weights=np.ones(count, np.float32),
        ids=names,
        groups=names,
        splits=np.array(["train"] + ["test"] * (count - 1), dtype=object),
        files=names,
        rows=np.arange(count),
    )


def test_the_test_split_is_compared_where_there_is_one():
    assert choose_split(make_source([b"i"] * 2, ["a", "b"])) == "test"
    assert choose_split(make_source([b"i"], ["a"])) == "train"


def test_pairs_come_from_all_over_the_split():
    source = make_source([b"i"] * 101, [str(i) for i in range(101)])
    chosen = [int(pair.text) for pair in choose_pairs(source, "test", 5)]
    assert len(chosen) == 5
    assert chosen[0] == 1 and chosen[-1] == 100
    assert len(choose_pairs(source, "test", 1000)) == 100


def test_two_hundred_pairs_are_taken_where_there_are_as_many():
    source = make_source([b"i"] * 1001, ["t"] * 1001)
    assert len(choose_pairs(source, "test")) >= 200


def test_pairs_are_read_from_their_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"stored")
    images = ["", str(tmp_path / "a.png"), str(tmp_path / "gone.png"), ""]
    source = make_source(images, ["t", "one", "two", ""], are_paths=True)
    pairs = choose_pairs(source, "test")
    assert [(p.image_bytes, p.text) for p in pairs] == [
        (b"stored", "one"),
        (b"", "two"),
    ]
    assert "id1" in pairs[0].name


def test_a_split_without_pairs_is_an_error():
    with pytest.raises(ValueError, match="validation"):
        choose_pairs(make_source([b"i", b"i"], ["a", "b"]), "validation")


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
