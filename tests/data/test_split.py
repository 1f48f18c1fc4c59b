import numpy as np
import pytest

from tf_multimodal.data import split

NAMES = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)
FIXED = [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1]


def make_rows(count=600, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.array([f"g{i}" for i in rng.integers(0, count // 2, count)], object)
    return rng.integers(0, classes, count), groups


def test_groups_stay_whole_and_sizes_match():
    labels, groups = make_rows()
    parts = split.assign_parts(labels, groups, FRACTIONS)
    assert parts.dtype == np.int64
    for group in set(groups):
        assert len(set(parts[groups == group])) == 1
    sizes = np.bincount(parts, minlength=3)
    largest = max(np.unique(groups, return_counts=True)[1])
    assert np.abs(sizes - 600 * np.array(FRACTIONS)).max() <= largest


def test_every_class_gets_its_share():
    labels = np.repeat(np.arange(4), [200, 100, 40, 20])
    groups = np.array([f"g{i}" for i in range(360)], object)
    splits = split.assign_splits(labels, groups, FRACTIONS)
    for label, count in enumerate([200, 100, 40, 20]):
        for name, fraction in zip(NAMES, FRACTIONS, strict=True):
            rows = np.sum(splits[labels == label] == name)
            assert rows == pytest.approx(fraction * count, abs=1.5)


def test_many_small_classes_still_reach_every_split():
    labels = np.arange(100)
    splits = split.assign_splits(labels, labels.astype(str).astype(object), FRACTIONS)
    sizes = [np.sum(splits == name) for name in NAMES]
    assert sizes == [70, 15, 15]


def test_order_of_rows_does_not_matter():
    labels, groups = make_rows()
    parts = split.assign_parts(labels, groups, FRACTIONS)
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = split.assign_parts(labels[order], groups[order], FRACTIONS)
    np.testing.assert_array_equal(shuffled, parts[order])


def test_assignment_is_fixed_for_all_time():
    # A change here changes everybody's splits.
    groups = np.array([f"row{i}" for i in range(12)], object)
    parts = split.assign_parts(np.zeros(12, int), groups, (0.5, 0.5))
    assert parts.tolist() == FIXED
    other = split.assign_parts(np.zeros(12, int), groups, (0.5, 0.5), salt="fold")
    assert other.tolist() != FIXED


def test_folds_have_equal_sizes():
    labels, groups = make_rows()
    sizes = np.bincount(split.assign_parts(labels, groups, [0.2] * 5))
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 6


@pytest.mark.parametrize("fractions", [(0.7, 0.2), (1.0, 0.0), (), (1.5, -0.5)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split.assign_parts(np.zeros(2, int), np.array(["a", "b"]), fractions)


def test_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match="2 labels and 1 groups"):
        split.assign_parts(np.zeros(2, int), np.array(["a"]), FRACTIONS)
    with pytest.raises(ValueError, match="a fraction for each of train"):
        split.assign_splits(np.zeros(1, int), np.array(["a"]), (0.5, 0.5))


def test_names_whose_hashes_begin_alike_are_told_apart(monkeypatch):
    names = [f"g{i}".encode() for i in range(40)]
    strata = np.arange(40) % 3
    hashes = split._hash_names("split", names, 32).copy()
    hashes[:, 0] = 7
    monkeypatch.setattr(
        split, "_hash_names", lambda salt, names, size: hashes[:, : size // 8]
    )
    expected = sorted(range(40), key=lambda i: (strata[i], *hashes[i].tolist()))
    assert split._sort(strata, names, "split").tolist() == expected
