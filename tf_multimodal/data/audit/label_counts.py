"""How the rows are spread over classes and splits."""

from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.audit.finding import Finding, make_finding
from tf_multimodal.data.source import Source


def count_labels(source: Source) -> np.ndarray:
    """Returns int64 [splits, classes]: rows with each label."""
    indices = (source.get_indices(split) for split in spec.SPLITS)
    return np.stack([source.count_labels(chosen) for chosen in indices])


def list_label_findings(source: Source) -> list[Finding]:
    """Returns what is the matter with the labels; what is in order too."""
    counts = count_labels(source)
    splits_of_class = (counts > 0).sum(axis=0)
    in_one = np.flatnonzero(splits_of_class == 1)
    labels, rows = _list_all_labels(source)
    alone = np.isin(labels, in_one)
    notes = {}
    for label, row in zip(labels[alone].tolist(), rows[alone].tolist(), strict=True):
        split = spec.SPLITS[int(counts[:, label].argmax())]
        notes[row] = f"{source.classes[label]!r} is in {split} alone"
    return [
        make_finding(
            source,
            "label_in_one_split",
            f"Rows of classes that are in one split alone ({len(in_one)} classes)",
            rows[alone],
            notes,
        ),
        make_finding(
            source,
            "no_label",
            "Rows without a label",
            np.setdiff1d(np.arange(len(source)), rows),
        ),
    ]


def summarize_labels(source: Source) -> dict[str, Any]:
    """Returns rows of each class and split and how unequal they are, for JSON."""
    counts = count_labels(source)
    totals = counts.sum(axis=0)
    present = totals[totals > 0]
    shares = present / max(present.sum(), 1)
    entropy = float(-(shares * np.log(shares)).sum())
    return {
        "classes": [
            {
                "class": name,
                "rows": int(totals[label]),
                **{s: int(counts[i, label]) for i, s in enumerate(spec.SPLITS)},
            }
            for label, name in enumerate(source.classes)
        ],
        "largest_over_smallest": float(present.max() / present.min())
        if len(present)
        else None,
        # The number of equally large classes that are as hard to guess.
        "effective_classes": float(np.exp(entropy)),
        "majority_share": float(shares.max()) if len(present) else None,
        "in_one_split": [
            source.classes[i] for i in np.flatnonzero((counts > 0).sum(axis=0) == 1)
        ],
        "not_in_train": [source.classes[i] for i in np.flatnonzero(counts[0] == 0)],
        "labels_per_row": None
        if source.label_sets is None
        else float(len(source.label_sets.values) / max(len(source), 1)),
    }


def _list_all_labels(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Returns all labels, and beside each its row, both int64."""
    if (sets := source.label_sets) is None:
        rows = np.flatnonzero(source.labels >= 0)
        return source.labels[rows].astype(np.int64), rows
    return sets.values.astype(np.int64), np.repeat(
        np.arange(len(source)), np.diff(sets.offsets)
    )
