"""A `tf.data.Dataset` of the caller's as a source of rows."""

import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_multimodal.data.ingest import ingest_rows
from tf_multimodal.data.readers.tf_dataset import TfDataset
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import finish_source, make_settings


def read_dataset(
    dataset: tf.data.Dataset,
    config: Any,
    classes: Sequence[str] | None = None,
    name: str = "dataset",
) -> Source:
    """Reads a data set once; its rows are kept in a temporary folder.

    Args:
        dataset: finite, not batched; its elements are dicts, whose keys are the columns
            that `config.data.columns` names. A text is a scalar string; an image a
            scalar string (the content of a file) or uint8 [height, width, channels];
            a label a scalar string or integer, several of them [n].
        config: the whole configuration; `config.data` names no other source.
        classes: names in the order of the labels; needed where labels are integers.
            None: the labels, sorted.
        name: for messages.

    Returns:
        The rows, for `training.run.run`.

    Raises:
        ValueError: the elements are of another kind, or as `load_source` says.
    """
    data = config.data
    label = data.columns.labels or data.columns.label
    reader = TfDataset(dataset, name, data.columns.image, label, classes)
    settings = make_settings(data, data, reader, classes)
    folder = tempfile.TemporaryDirectory(prefix="rows-")
    source = ingest_rows(reader, settings, folder.name)
    # What is made of the source, by `dataclasses.replace`, keeps its images.
    weakref.finalize(source.images, folder.cleanup)
    return finish_source(source, config)
