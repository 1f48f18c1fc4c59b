"""Splits fixed by a hash: whole groups, every class in its share."""

import hashlib
from collections.abc import Sequence

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.source import Column


def assign_parts(
    labels: np.ndarray,
    groups: Column | np.ndarray,
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
    codes_of: dict[str, int] = {}
    codes = [codes_of.setdefault(str(group), len(codes_of)) for group in groups]
    names = [name.encode(errors="surrogatepass") for name in codes_of]
    return deal_groups(
        np.asarray(labels), np.array(codes, np.int64), names, shares, salt
    )


def deal_groups(
    labels: np.ndarray,
    codes: np.ndarray,
    names: Sequence[bytes],
    fractions: Sequence[float] | np.ndarray,
    salt: str = "split",
) -> np.ndarray:
    """Deals rows to parts as `assign_parts` does, by the groups' numbers.

    Args:
        labels: int [n].
        codes: int64 [n], the number of each row's group.
        names: of the groups, UTF-8; those that have no row are not looked at.
        fractions: share of each part.
        salt: another salt gives another assignment.

    Returns:
        int64 [n], the part of each row.
    """
    groups, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    strata = _find_strata(labels, codes, len(groups))
    if len(groups) < len(names):
        names = [names[group] for group in groups.tolist()]
    order = _sort(strata, names, salt)
    shares = np.asarray(fractions, np.float64)
    parts = np.zeros(len(groups), np.int64)
    lacking = np.zeros(len(shares))
    starts = np.flatnonzero(np.diff(strata[order], prepend=-2))
    for members in np.split(order, starts[1:]):
        lacking += shares * sizes[members].sum()
        wants = lacking.tolist()  # plain numbers: a loop over them is fast
        dealt = []
        for size in sizes[members].tolist():
            part = wants.index(max(wants))
            wants[part] -= size
            dealt.append(part)
        parts[members], lacking = dealt, np.array(wants)
    return parts[codes]


def _find_strata(labels: np.ndarray, codes: np.ndarray, num_groups: int) -> np.ndarray:
    """Returns the most frequent label of each group, of several the smallest."""
    if num_groups == len(labels):  # each row is a group
        strata = np.empty(num_groups, np.int64)
        strata[codes] = labels
        return strata
    numbers = labels.astype(np.int64) + 1  # -1 is a label that is not known
    many = int(numbers.max(initial=0)) + 1
    pairs, counts = np.unique(codes * many + numbers, return_counts=True)
    order = np.lexsort((pairs % many, -counts, pairs // many))
    pairs = pairs[order]
    first = np.unique(pairs // many, return_index=True)[1]
    return pairs[first] % many - 1


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


def _sort(strata: np.ndarray, names: Sequence[bytes], salt: str) -> np.ndarray:
    """Returns the order by stratum, then by the names' hashes."""
    hashes = _hash_names(salt, names, 8)
    order = np.lexsort((hashes[:, 0], strata))
    first, ordered = hashes[order, 0], strata[order]
    if np.any((first[1:] == first[:-1]) & (ordered[1:] == ordered[:-1])):
        hashes = _hash_names(salt, names, 32)  # 8 bytes do not tell all apart
        return np.lexsort((*hashes.T[::-1], strata))
    return order


def _hash_names(salt: str, names: Sequence[bytes], num_bytes: int) -> np.ndarray:
    """Returns uint64 [n, num_bytes / 8], in the order of the names' SHA-256."""
    digests, start = bytearray(), salt.encode()
    sha256 = hashlib.sha256
    for name in names:
        digests += sha256(start + name).digest()[:num_bytes]
    hashes = np.frombuffer(digests, ">u8").reshape(len(names), -1)
    return hashes.astype(np.uint64)
