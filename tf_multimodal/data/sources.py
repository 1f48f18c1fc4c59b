"""Which data a configuration asks for, read, checked and described."""

import dataclasses
from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.labels import mask_label_words
from tf_multimodal.data.manifest import read_manifest
from tf_multimodal.data.source import Source
from tf_multimodal.data.tfds_source import read_tfds

PREVIEWED = 3  # rows


def load_source(config: Any) -> Source:
    """Reads the manifest if there is one, else the TensorFlow Datasets builder.

    Prints what was chosen, three rows, and the rows of each class and split.

    Args:
        config: the whole configuration.

    Raises:
        FileNotFoundError, ValueError: as `read_manifest` and `read_tfds` say; or
            there are no training rows, too few groups for an automatic split, or no
            row with a modality that the model reads.
    """
    data = config.data
    if data.manifest:
        source = read_manifest(
            data.manifest,
            data.columns.to_dict(),
            split_fractions=data.split_fractions,
            max_image_px=data.max_image_px,
        )
    else:
        source = read_tfds(
            data.tfds, config.cache_dir, data.split_fractions, data.max_image_px
        )
    if data.mask_label_words:
        source = _mask_label_words(source)
    _check_splits(source, data)
    _check_modalities(source, config.model.modalities)
    _describe(source)
    return source


def _mask_label_words(source: Source) -> Source:
    texts = np.empty(len(source), object)
    texts[:] = mask_label_words(list(source.texts), source.classes)
    changed = int(np.sum(texts != source.texts))
    print(f"config.data.mask_label_words: {changed} of {len(source)} texts changed.")
    return dataclasses.replace(source, texts=texts)


def _check_splits(source: Source, data: Any) -> None:
    """Checks that there is something to train on, and that a split came out whole.

    Validation or test may be absent where the split is the user's own.
    """
    counts = {split: len(source.get_indices(split)) for split in spec.SPLITS}
    empty = [split for split in spec.SPLITS if not counts[split]]
    if data.manifest and data.columns.split:
        if "train" in empty:
            raise ValueError(
                f"{source.name} has no rows in the split 'train'. Rows: {counts}. Mark "
                f"some in the column {data.columns.split!r}, or set "
                "config.data.columns.split to '' to have the rows split by "
                "config.data.split_fractions."
            )
    elif empty:
        raise ValueError(
            f"The automatic split of {source.name} leaves {' and '.join(empty)} empty: "
            f"its {len(source)} rows are {len(set(source.groups))} groups of "
            "near-duplicates (equal text, or nearly equal image), and a group stays in "
            f"one split. Rows: {counts}. Add rows that differ, or "
            + (
                "split the rows yourself with a column and set "
                "config.data.columns.split to it."
                if data.manifest
                else "use a data set with splits of its own."
            )
        )


def _check_modalities(source: Source, modalities: str) -> None:
    columns = {"image": source.images, "text": source.texts}
    for modality in modalities.split("_"):
        if not any(columns[modality]):
            raise ValueError(
                f"config.model.modalities={modalities!r}, but no row of "
                f"{source.name} has {'an image' if modality == 'image' else 'a text'}. "
                f"Set config.data.columns.{modality}, or config.model.modalities to "
                f"{'text' if modality == 'image' else 'image'!r}."
            )


def _describe(source: Source) -> None:
    counts = {
        split: np.bincount(
            source.labels[source.get_indices(split)], minlength=len(source.classes)
        )
        for split in spec.SPLITS
    }
    sizes = ", ".join(f"{split} {sum(counts[split])}" for split in spec.SPLITS)
    print(
        f"Data: {source.name}, {len(source)} rows in {len(set(source.groups))} "
        f"groups, {len(source.classes)} classes. {sizes}."
    )
    for index in range(min(PREVIEWED, len(source))):
        print(
            f"  row {source.rows[index]}: image {source.files[index] or 'none'}, text "
            f"{source.texts[index][:60]!r}, label "
            f"{source.classes[source.labels[index]]!r}, split {source.splits[index]}"
        )
    for label, name in enumerate(source.classes):
        row = " / ".join(str(counts[split][label]) for split in spec.SPLITS)
        print(f"  {name}: {row} rows (train / validation / test)")
    unseen = [n for n, c in zip(source.classes, counts["train"], strict=True) if not c]
    if unseen:
        print(f"Warning: no training row is of {', '.join(unseen)}.")
