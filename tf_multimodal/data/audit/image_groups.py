"""Duplicates and near-duplicates among the images, within and across splits."""

from typing import Any

import numpy as np

from tf_multimodal.data import duplicates, spec
from tf_multimodal.data.audit.finding import describe_rows, list_labels
from tf_multimodal.data.audit.images import ImageFacts
from tf_multimodal.data.source import Source

LISTED_GROUPS = 1000  # that the JSON report lists
LISTED_ROWS = 8  # of a group


def find_image_pairs(facts: ImageFacts) -> np.ndarray:
    """Returns int64 [m, 2]: rows whose images are equal or nearly equal."""
    known = np.flatnonzero(facts.hashes.any(axis=1))
    close = known[duplicates.find_close_pairs(facts.hashes[known])]
    given = np.flatnonzero(facts.digests)
    equal = given[duplicates.pair_equal(facts.digests[given])]
    return np.concatenate([close, equal[equal[:, 0] != equal[:, 1]]])


def summarize_groups(source: Source, facts: ImageFacts) -> dict[str, Any]:
    """Returns the groups of equal and nearly equal images, for JSON.

    Groups that cross splits come first, then large ones. A group is `equal` where its
    files hold the same bytes, else `near`.
    """
    components = duplicates.connect_rows(len(source), find_image_pairs(facts))
    order = np.argsort(components, kind="stable")
    sizes = np.bincount(components)
    starts = np.cumsum(sizes) - sizes
    found = []
    for group in np.flatnonzero(sizes > 1).tolist():
        rows = order[starts[group] : starts[group] + sizes[group]]
        splits = set(source.splits[rows].tolist())
        equal = len(set(facts.digests[rows].tolist())) == 1
        found.append((len(splits) < 2, -len(rows), int(rows[0]), equal, rows))
    found.sort(key=lambda group: group[:3])
    across = [rows for is_within, *_, rows in found if not is_within]
    held_out = sum(
        int((source.splits[rows] != spec.SPLITS[0]).sum()) for rows in across
    )
    return {
        "groups": len(found),
        "rows": int(sum(len(rows) for *_, rows in found)),
        "equal_groups": sum(equal for *_, equal, _ in found),
        "near_groups": sum(not equal for *_, equal, _ in found),
        "groups_across_splits": len(across),
        "held_out_rows_across_splits": held_out,
        "groups_with_several_labels": sum(
            _count_labels(source, rows) > 1 for *_, rows in found
        ),
        "max_distance_bits": duplicates.MAX_DISTANCE_BITS,
        "listed": [
            {
                "kind": "equal" if equal else "near",
                "across_splits": not is_within,
                "size": len(rows),
                "labels": _count_labels(source, rows),
                "rows": describe_rows(source, rows[:LISTED_ROWS].tolist()),
                "indices": rows[:LISTED_ROWS].tolist(),
            }
            for is_within, _, _, equal, rows in found[:LISTED_GROUPS]
        ],
    }


def _count_labels(source: Source, rows: np.ndarray) -> int:
    """Returns how many different answers the rows of a group have."""
    return len({tuple(list_labels(source, row)) for row in rows.tolist()})
