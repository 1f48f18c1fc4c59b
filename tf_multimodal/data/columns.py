"""Columns of a source whose values are made when they are asked for."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tf_multimodal.data import files
from tf_multimodal.data.row_table import IMAGES, RowTable, decode_text
from tf_multimodal.data.source import Column

# What `image_files` of a table holds where it is no position in the list of files.
NO_IMAGE, IS_PATH, IS_KEPT = -1, -2, -3


class UnreadableImage(str):
    """Stands for an image that cannot be read: no path of a file, but why."""

    reason = "The file cannot be read."


class LazyColumn:
    """Values by position, each made by a function.

    Args:
        length: how many there are.
        get: makes the value at a position.
        iterate: makes all values in order, where that is faster; None: one by one.
    """

    def __init__(
        self,
        length: int,
        get: Callable[[int], Any],
        iterate: Callable[[], Iterable[Any]] | None = None,
    ) -> None:
        self._length, self._get, self._iterate = length, get, iterate

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return self._get(range(self._length)[index])
        rows = np.arange(self._length)[index]
        values = np.empty(len(rows), object)
        for place, row in enumerate(rows.tolist()):
            values[place] = self._get(row)
        return values

    def __iter__(self) -> Iterator[Any]:
        if self._iterate is not None:
            return iter(self._iterate())
        return map(self._get, range(self._length))


def map_column(function: Callable[[Any], Any], column: Column) -> LazyColumn:
    """Returns a column of the function's results."""
    return LazyColumn(
        len(column), lambda row: function(column[row]), lambda: map(function, column)
    )


def join_columns(columns: Sequence[Column]) -> LazyColumn:
    """Returns the values of columns, one column after the other."""
    stops = np.cumsum([len(column) for column in columns])

    def get(row: int) -> Any:
        part = int(np.searchsorted(stops, row, side="right"))
        return columns[part][row - int(stops[part]) + len(columns[part])]

    def iterate() -> Iterator[Any]:
        for column in columns:
            yield from column

    return LazyColumn(int(stops[-1]), get, iterate)


def read_texts(table: RowTable, name: str, length: int) -> LazyColumn:
    """Returns a column of texts: str, or bytes where one is not UTF-8."""
    return LazyColumn(
        length,
        lambda row: decode_text(table.get_cell(name, row)),
        lambda: table.iterate_texts(name),
    )


def read_lists(table: RowTable, name: str, length: int) -> LazyColumn:
    """Returns a column of tuples of texts."""

    def decode(cell: list[bytes]) -> tuple[str | bytes, ...]:
        return tuple(map(decode_text, cell))

    return LazyColumn(
        length,
        lambda row: decode(table.get_cell(name, row)),
        lambda: map(decode, table.iterate(name)),
    )


def read_images(table: RowTable, root: str, length: int) -> LazyColumn:
    """Returns a column of images: bytes, or the path of a file.

    Args:
        table: `image_files` and, where images are inside of files, `image_offsets`
            and `image_lengths` say where one is; a path is the column `file`, relative
            to `root`.
        root: folder or URL that a path must not leave.
        length: rows.
    """
    numbers, paths = table.numbers, table.facts["image_files"]
    kinds, none = numbers["image_files"], np.zeros(0, np.int64)
    offsets = numbers.get("image_offsets", none)
    lengths = numbers.get("image_lengths", none)
    kept = str(table.folder / IMAGES)

    def get(row: int) -> bytes | str:
        kind = kinds[row]
        if kind == NO_IMAGE:
            return b""
        if kind == IS_PATH:
            return _find_file(root, table.get_cell("file", row))
        offset, length = int(offsets[row]), int(lengths[row])
        if kind == IS_KEPT:
            return _read_range(kept, offset, length, table.read_image)
        read = functools.partial(files.read_range, paths[kind])
        return _read_range(paths[kind], offset, length, read)

    return LazyColumn(length, get)


def _find_file(root: str, cell: bytes) -> bytes | str:
    name = cell.decode(errors="surrogateescape")
    try:
        path = files.resolve_inside(root, name)
        return path if files.is_read_by_tensorflow(path) else files.read_file(path)
    except ValueError as error:
        return _make_unreadable(name, f"The image was refused: {error}")
    except OSError as error:
        return _make_unreadable(name, f"{name} cannot be read: {error}")


def _read_range(
    path: str, offset: int, length: int, read: Callable[[int, int], bytes]
) -> bytes | str:
    place = f"{path}, bytes {offset} to {offset + length}"
    try:
        data = read(offset, length)
    except OSError as error:
        return _make_unreadable(place, f"{place}, cannot be read: {error}")
    if len(data) < length:
        return _make_unreadable(place, f"{place}: the file ends before.")
    return data


def _make_unreadable(name: str, reason: str) -> UnreadableImage:
    image = UnreadableImage(f"unreadable: {name}")  # is the name of no file
    image.reason = reason
    return image
