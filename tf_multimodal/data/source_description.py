"""What a run prints of its data before it begins."""

import collections

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.quoting import shorten
from tf_multimodal.data.source import Source, describe_counts, find_first

PREVIEWED = 3  # rows


def describe_source(source: Source) -> None:
    """Prints size, three rows, rows by class and split, and what was left out."""
    indices = {split: source.get_indices(split) for split in spec.SPLITS}
    sizes = ", ".join(f"{split} {len(indices[split])}" for split in spec.SPLITS)
    several = " (several a row)" if source.label_sets is not None else ""
    print(
        f"Data: {source.name}, {len(source)} rows, {len(source.classes)} classes"
        f"{several}. {sizes}."
    )
    if source.caption_names:
        print(f"  Captions of a row: {', '.join(source.caption_names)}.")
    for part in source.parts:
        print(
            f"  {part.name}: {part.stop - part.start} rows, drawn with the weight "
            f"{part.weight:g}."
        )
    for index in range(min(PREVIEWED, len(source))):
        print(
            f"  row {source.rows[index]}: image "
            f"{shorten(source.files[index]) or 'none'}, text "
            f"{source.texts[index][:60]!r}, label {_name_labels(source, index)}, "
            f"split {source.splits[index]}"
        )
    _describe_classes(source, indices)
    _describe_left_out(source)


def _name_labels(source: Source, index: int) -> str:
    if source.label_sets is None:
        return repr(source.classes[source.labels[index]])
    found = np.flatnonzero(source.label_sets.get(np.array([index]))[0])
    return repr([source.classes[label] for label in found])


def _describe_classes(source: Source, indices: dict[str, np.ndarray]) -> None:
    counts = {split: source.count_labels(rows) for split, rows in indices.items()}
    for label, name in enumerate(source.classes):
        row = " / ".join(str(counts[split][label]) for split in spec.SPLITS)
        print(f"  {name}: {row} rows (train / validation / test)")
    pairs = zip(source.classes, counts["train"], strict=True)
    if unseen := [name for name, count in pairs if not count]:
        print(f"Warning: no training row is of {', '.join(unseen)}.")


def _describe_left_out(source: Source) -> None:
    if source.excluded:
        print(f"  config.data.class_map leaves out {source.excluded} rows.")
    if not source.left_out:
        return
    counts = collections.Counter(row.status for row in source.left_out)
    print(
        f"Warning: {len(source.left_out)} of {source.rows_read} rows cannot be used: "
        f"{describe_counts(counts)}. The first of each:"
    )
    for row in find_first(source.left_out):
        print(f"  {shorten(row.file)}, row {row.row}: {row.reason}")
