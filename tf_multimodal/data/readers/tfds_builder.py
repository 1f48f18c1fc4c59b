"""A TensorFlow Datasets builder, its images still encoded."""

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import Problem, RawRows
from tf_multimodal.data.readers import cells, tensors

SPLIT = "split"


class TfdsBuilder:
    """Rows of a builder, prepared where that is not done yet, split after split.

    The columns are its features (`outer.inner` for one inside another) and `split`.

    Args:
        name: of the data set, e.g. `openclipart`.
        module: to import first, which registers the name; "": none.
        cache_dir: folder of prepared data.

    Raises:
        ValueError: there is no data set of this name.
    """

    setting = "config.data.tfds.name"

    def __init__(self, name: str, module: str, cache_dir: str) -> None:
        if module:
            importlib.import_module(module)
        folder = os.path.join(cache_dir, "tfds")
        try:
            self._builder = tfds.builder(name, data_dir=folder)
        except tfds.core.DatasetNotFoundError as error:
            raise ValueError(
                f"There is no data set {self.setting}={name!r}. If it is your own, set "
                "config.data.tfds.module to the module that defines it."
            ) from error
        self._builder.download_and_prepare()
        self.root = str(self._builder.data_dir)
        self.name = f"{self._builder.info.name}/{self._builder.info.version}"

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of the prepared files."""
        names = (files.join(self.root, name) for name in files.list_folder(self.root))
        return files.compute_fingerprint(path for path in names if files.is_file(path))

    def list_columns(self) -> list[str]:
        """Returns the features, and `split`."""
        features = _flatten(self._builder.info.features)
        return [*(name for name in features if name != SPLIT), SPLIT]

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows, numbered through all splits from 0."""
        yield from cells.make_blocks(self._make_rows(columns), columns)

    def list_classes(self, column: str) -> tuple[str, ...] | None:
        """Returns the names of a `ClassLabel`, or of a list of such, in order."""
        return _get_names(_flatten(self._builder.info.features).get(column))

    def _make_rows(
        self, columns: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        features = _flatten(self._builder.info.features)
        row = 0
        for split in self._builder.info.splits:
            examples = self._builder.as_dataset(
                split=split,
                decoders=_skip_decoding(self._builder.info.features),
                shuffle_files=False,
                read_config=tfds.ReadConfig(interleave_cycle_length=1),
            )
            for example in examples.as_numpy_iterator():
                values = {
                    column: _get_value(example, column, features[column])
                    for column in columns
                    if column != SPLIT
                }
                yield row, values | {SPLIT: split}
                row += 1


def _flatten(features: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            flat |= _flatten(feature, f"{prefix}{name}.")
        else:
            flat[prefix + name] = feature
    return flat


def _skip_decoding(features: Any) -> dict[str, Any]:
    """Returns decoders that leave every image as it was stored."""
    decoders: dict[str, Any] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            decoders[name] = _skip_decoding(feature)
        elif isinstance(feature, tfds.features.Image):
            decoders[name] = tfds.decode.SkipDecoding()
    return {name: decoder for name, decoder in decoders.items() if decoder}


def _get_names(feature: Any) -> tuple[str, ...] | None:
    inner = getattr(feature, "feature", feature)  # of a sequence
    is_label = isinstance(inner, tfds.features.ClassLabel)
    return tuple(inner.names) if is_label else None


def _get_value(example: Any, column: str, feature: Any) -> Any:
    return tensors.to_cell(
        cells.get_field(example, column),
        _get_names(feature),
        isinstance(feature, tfds.features.Image),
    )
