"""A TensorFlow Datasets builder as a source, its images still encoded."""

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tf_multimodal.data import grouping, spec
from tf_multimodal.data.source import Source
from tf_multimodal.data.split import assign_parts

SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation"}


def read_tfds(
    settings: Any,
    cache_dir: str,
    split_fractions: Sequence[float],
    max_image_px: int = spec.MAX_IMAGE_PX,
) -> Source:
    """Prepares a data set where that is not done yet, and reads it into memory.

    A split that it lacks is taken out of its training split, by the hash of the
    rows' groups, stratified by label.

    Args:
        settings: `config.data.tfds`.
        cache_dir: folder of prepared data.
        split_fractions: share of train, validation and test.
        max_image_px: a larger image plays no part in the groups.

    Raises:
        ValueError: the name, a feature or the training split is not there, or a
            feature has another type than its role needs.
    """
    if settings.module:
        importlib.import_module(settings.module)
    folder = os.path.join(cache_dir, "tfds")
    try:
        builder = tfds.builder(settings.name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(
            f"There is no data set config.data.tfds.name={settings.name!r}. If it is "
            "your own, set config.data.tfds.module to the module that defines it."
        ) from error
    builder.download_and_prepare()
    name = f"{builder.info.name}/{builder.info.version}"
    _check_features(name, builder.info.features, settings.features)
    rows = list(_read_rows(builder, settings.features))
    columns = {key: np.array([row[key] for row in rows], object) for key in rows[0]}
    labels = columns["label"].astype(np.int32)
    groups = columns.get("group")
    if groups is None:
        groups = grouping.compute_groups(
            columns["id"],
            columns["text"],
            columns["image"],
            are_paths=False,
            max_image_px=max_image_px,
        )
    splits = _complete_splits(name, columns["split"], labels, groups, split_fractions)
    grouping.warn_of_leaks(name, columns["id"], groups, splits)
    return Source(
        name=name,
        classes=tuple(builder.info.features[settings.features.label].names),
        images=columns["image"],
        images_are_paths=False,
        texts=columns["text"],
        labels=labels,
        weights=np.ones(len(rows), np.float32),
        ids=columns["id"],
        groups=groups,
        splits=splits,
        files=columns["id"],
        rows=np.arange(len(rows), dtype=np.int64),
    )


def _check_features(name: str, features: Any, roles: Any) -> None:
    for role, key in roles.items():
        if key and key not in features:
            raise ValueError(
                f"{name} has no feature {key!r}, which config.data.tfds.features."
                f"{role} asks for. It has: {', '.join(sorted(features))}"
            )
    if not isinstance(features[roles.label], tfds.features.ClassLabel):
        raise ValueError(
            f"{name}: the label feature {roles.label!r} must be a ClassLabel. "
            f"Received: {features[roles.label]}"
        )


def _read_rows(builder: Any, roles: Any) -> Iterator[dict[str, Any]]:
    """Yields split, image, text, label, id and, where there is one, group."""
    features = builder.info.features
    encoded = {
        key: tfds.decode.SkipDecoding()
        for key in (roles.image,)
        if key and isinstance(features[key], tfds.features.Image)
    }
    for split in builder.info.splits:
        examples = builder.as_dataset(
            split=split,
            decoders=encoded,
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
        for position, example in enumerate(examples.as_numpy_iterator()):
            row = {
                "split": SPLIT_NAMES.get(split, split),
                "image": example[roles.image] if roles.image else b"",
                "text": example[roles.text].decode() if roles.text else "",
                "label": int(example[roles.label]),
                "id": f"{split}-{position}",
            }
            for role in ("id", "group"):
                if roles[role]:
                    value = example[roles[role]]
                    row[role] = value.decode() if isinstance(value, bytes) else value
                    row[role] = str(row[role])
            yield row


def _complete_splits(
    name: str,
    splits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    fractions: Sequence[float],
) -> np.ndarray:
    present = set(splits)
    if "train" not in present or not present <= set(spec.SPLITS):
        raise ValueError(
            f"{name}: the splits must be train, and validation and test if there "
            f"are such. Received: {', '.join(sorted(present))}"
        )
    wanted = [s for s in spec.SPLITS if s == "train" or s not in present]
    if len(wanted) == 1:
        return splits
    shares = np.array([fractions[spec.SPLITS.index(split)] for split in wanted])
    train = np.flatnonzero(splits == "train")
    parts = assign_parts(labels[train], groups[train], tuple(shares / shares.sum()))
    splits = splits.copy()
    splits[train] = np.array(wanted, object)[parts]
    print(f"{name}: {' and '.join(wanted[1:])} taken out of its training split.")
    return splits
