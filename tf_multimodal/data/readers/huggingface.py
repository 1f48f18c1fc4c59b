"""A folder that `datasets.Dataset.save_to_disk` has written, or `DatasetDict`'s.

https://huggingface.co/docs/datasets. The Arrow files are mapped, not read, and images
are never decoded.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import RawRows
from tf_multimodal.data.readers.parquet_table import choose_block_rows, list_cells

SPLIT = "split"


class HuggingFaceFolder:
    """Rows of a saved data set; labels are the names of its `ClassLabel`s.

    A folder of several splits has them as the column `split`, unless it has one of
    that name already.

    Args:
        path: the folder.
    """

    setting = "config.data.huggingface"

    def __init__(self, path: str) -> None:
        self.root = path
        self.name = posixpath.basename(path.rstrip("/"))
        self._splits = _load(path)

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of the files."""
        return files.compute_fingerprint(_list_all_files(self.root))

    def list_columns(self) -> list[str]:
        """Returns the features."""
        names = list(next(iter(self._splits.values())).column_names)
        return names + ([SPLIT] if self._adds_split(names) else [])

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows, numbered through all splits from 0."""
        start = 0
        for split, dataset in self._splits.items():
            adds_split = self._adds_split(dataset.column_names)
            names = [c for c in columns if not (adds_split and c == SPLIT)]
            table = dataset.select_columns(names or dataset.column_names[:1])
            size = choose_block_rows(len(dataset), dataset.data.nbytes)
            for block in table.with_format("arrow").iter(size):
                values = list_cells(block, names)
                for name in names:
                    values[name] = _name_labels(dataset.features[name], values[name])
                if adds_split and SPLIT in columns:
                    values[SPLIT] = [split] * block.num_rows
                rows = list(range(start, start + block.num_rows))
                yield RawRows(rows, {column: values[column] for column in columns})
                start += block.num_rows

    def list_classes(self, column: str) -> tuple[str, ...] | None:
        """Returns the names of a `ClassLabel`, or of a list of such, in order."""
        feature = next(iter(self._splits.values())).features.get(column)
        names = getattr(getattr(feature, "feature", feature), "names", None)
        return tuple(names) if names else None

    def _adds_split(self, names: Sequence[str]) -> bool:
        return SPLIT not in names and "" not in self._splits


def _load(path: str) -> dict[str, Any]:
    """Returns the splits by name; one that is called "" where there is no dict."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(
            "config.data.huggingface needs the package `datasets`: pip install "
            "'tf_multimodal[huggingface]'"
        ) from error
    try:
        loaded = datasets.load_from_disk(path)
    except FileNotFoundError as error:
        raise ValueError(
            f"config.data.huggingface={path!r} is not a folder that "
            f"`save_to_disk` has written: {error}"
        ) from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}


def _name_labels(feature: Any, values: list[Any]) -> list[Any]:
    """Returns names where the feature is a `ClassLabel`, or a list of such."""
    import datasets

    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.ClassLabel):
        return [v if v is None else _name_labels(inner, v) for v in values]
    if not isinstance(feature, datasets.ClassLabel):
        return values
    # -1 stands for a label that is not known.
    return [None if v in (None, "-1") else feature.names[int(v)] for v in values]


def _list_all_files(folder: str) -> Iterator[str]:
    for name in files.list_folder(folder):
        path = files.join(folder, name)
        if files.is_folder(path):
            yield from _list_all_files(path)
        else:
            yield path
