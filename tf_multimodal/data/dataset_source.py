"""A `tf.data.Dataset` as a source, for programs that bring their own rows."""

import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_multimodal.data.ingest import ingest_rows
from tf_multimodal.data.readers.tf_dataset import TfDataset
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import make_settings


def read_dataset(
    dataset: tf.data.Dataset,
    config: Any,
    classes: Sequence[str] | None = None,
    name: str = "dataset",
) -> Source:
    """Reads a data set once; its rows are kept in a temporary folder.

    Args:
        dataset: of dicts, one row each, with an end; see `TfDataset`.
        config: the whole configuration; `config.data.columns` says which key is what.
        classes: names of labels that are integers; None: labels are texts.
        name: for messages.

    Raises:
        ValueError: the elements are not rows, or as `ingest_rows` says.
    """
    columns = config.data.columns
    reader = TfDataset(
        dataset, name, columns.image, columns.labels or columns.label, classes
    )
    settings = make_settings(config.data, config.data, reader, classes)
    folder = tempfile.TemporaryDirectory(prefix="rows-")
    source = ingest_rows(reader, settings, folder.name)
    weakref.finalize(source, folder.cleanup)
    return source
