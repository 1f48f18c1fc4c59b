"""Groups of near-duplicates."""

import numpy as np
import pytest

from tf_multimodal.data import duplicates, grouping


def test_equal_keys_and_chains_of_them_are_one_group():
    texts = np.array([7, 0, 7, 5, 0, 9, 5])
    images = np.array([0, 3, 4, 4, 0, 8, 0])
    codes = grouping.find_groups(texts, images)
    assert list(codes) == [0, 1, 0, 0, 2, 3, 0]  # numbered as they are met
    assert list(grouping.find_groups(texts[:0], images[:0])) == []
    assert list(grouping.find_groups(np.arange(3), np.zeros(3, int))) == [0, 1, 2]


def test_close_hashes_are_one_group_and_blank_ones_are_none():
    hashes = np.zeros((5, 16), np.uint8)
    hashes[1], hashes[3], hashes[4] = 1, 1, 255
    hashes[3, 0] = 3
    none = np.zeros(5, np.int64)
    assert list(grouping.find_groups(none, none, hashes)) == [0, 1, 2, 1, 3]


def test_a_group_is_called_by_its_smallest_id():
    codes = np.array([0, 1, 0, 2, 1])
    ids = [name.encode() for name in ("é", "b", "z", "c", "a")]
    rows, names = grouping.name_groups(codes, ids)
    assert list(rows) == [2, 4, 2, 3, 4] and names == [b"z", b"a", b"c"]
    rows, names = grouping.name_groups(np.arange(5), ids)
    assert list(rows) == [0, 1, 2, 3, 4] and names == ids


@pytest.mark.parametrize(
    "texts",
    [
        ["A cat", "ÉTÉ", "", "x"],
        ["A  cat", "b", "c"],
        ["a", " b", "c"],
        ["a ", "b", "c"],
        ["tab\there", "b\u2003c"],
        ["nul\0 inside", "b"],
        [],
    ],
)
def test_texts_at_once_are_as_texts_one_by_one(texts):
    expected = [duplicates.normalize_text(text) for text in texts]
    assert duplicates.normalize_texts(texts) == expected
