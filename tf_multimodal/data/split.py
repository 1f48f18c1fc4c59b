"""Splits fixed by a hash: whole groups, every class in its share."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tf_multimodal.data import spec


def assign_parts(
    labels: np.ndarray,
    groups: np.ndarray,
    fractions: Sequence[float],
    salt: str = "split",
) -> np.ndarray:
    """Deals rows to parts: groups stay whole, classes keep their shares.

    Class by class, groups come in the order of a hash of their name and go to the
    part that lacks most rows. What a part lacks is carried from class to class, so
    that rounding does not add up over many small classes. The order of the rows
    does not matter.

    Args:
        labels: int [n]; a group counts as its most frequent label.
        groups: [n] of str, the name of each row's group.
        fractions: share of each part, positive, adding up to 1.
        salt: another salt gives another, equally fixed, assignment.

    Returns:
        int64 [n], the part of each row, 0 to `len(fractions) - 1`.

    Raises:
        ValueError: lengths differ, or the fractions do not add up to 1.
    """
    if len(labels) != len(groups):
        raise ValueError(
            "Labels and groups must have one entry a row each. Received: "
            f"{len(labels)} labels and {len(groups)} groups."
        )
    shares = np.asarray(fractions, np.float64)
    if shares.size == 0 or shares.min() <= 0 or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            "The fractions of the parts must be positive and add up to 1. "
            f"Received: {tuple(fractions)!r}"
        )
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        counts[str(group)][int(label)] += 1
    strata: defaultdict[int, list[str]] = defaultdict(list)
    for group, by_label in counts.items():
        strata[min(by_label, key=lambda label: (-by_label[label], label))].append(group)

    part_of: dict[str, int] = {}
    lacking = np.zeros(len(shares))
    for label in sorted(strata):
        names = sorted(strata[label], key=lambda name: _hash_name(salt, name))
        lacking += shares * sum(counts[name].total() for name in names)
        for name in names:
            part_of[name] = part = int(np.argmax(lacking))
            lacking[part] -= counts[name].total()
    return np.array([part_of[str(group)] for group in groups], np.int64)


def assign_splits(
    labels: np.ndarray, groups: np.ndarray, fractions: Sequence[float]
) -> np.ndarray:
    """Returns `train`, `validation` or `test` for each row, object [n].

    Args:
        labels: int [n].
        groups: [n] of str; a group never crosses splits.
        fractions: share of train, validation and test.
    """
    names = np.array(spec.SPLITS, object)
    if len(fractions) != len(names):
        raise ValueError(
            f"Expected a fraction for each of {', '.join(names)}. "
            f"Received: {tuple(fractions)!r}"
        )
    return names[assign_parts(labels, groups, fractions)]


def _hash_name(salt: str, name: str) -> str:
    return hashlib.sha256((salt + name).encode()).hexdigest()
