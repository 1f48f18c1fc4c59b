"""Rows on disk: written once, block by block, and read at random.

A table is a folder. `texts.arrow` holds the columns of texts in small record batches,
`images.bin` the images that have no file to be read from, `numbers.npz` the columns of
numbers and `facts.json` the rest. Memory holds the numbers alone: some 50 bytes a row.
"""

import collections
import functools
import json
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

TEXTS, IMAGES, NUMBERS, FACTS = (
    *("texts.arrow", "images.bin", "numbers.npz", "facts.json"),
)
BATCH_ROWS = 256  # a row is read with its batch
CACHED_BATCHES = 8


class RowTableWriter:
    """Appends rows to an empty folder; `write_numbers` makes it a table.

    Args:
        folder: where to write; nobody else may read it yet.
        columns: of texts, by name; a list of texts where True.
    """

    def __init__(self, folder: pathlib.Path, columns: Mapping[str, bool]) -> None:
        self._folder = folder
        # Binary: a text that is not UTF-8 is kept as it is.
        text = pa.large_binary()
        self._schema = pa.schema(
            [
                (name, pa.large_list(text) if many else text)
                for name, many in columns.items()
            ]
        )
        self._texts = pa.ipc.new_file(str(folder / TEXTS), self._schema)
        self._images = (folder / IMAGES).open("wb")
        self._waiting: pa.Table = self._schema.empty_table()

    def append(self, values: Mapping[str, Sequence[Any]]) -> None:
        """Appends rows: the values of each column, str or bytes, or lists of them."""
        arrays = [_make_array(values[f.name], f.type) for f in self._schema]
        rows = pa.Table.from_arrays(arrays, schema=self._schema)
        rows = pa.concat_tables([self._waiting, rows]).combine_chunks()
        whole = len(rows) // BATCH_ROWS * BATCH_ROWS
        self._write(rows.slice(0, whole))
        self._waiting = rows.slice(whole)

    def append_image(self, data: bytes) -> int:
        """Keeps an image's bytes; returns where in the file they begin."""
        offset = self._images.tell()
        self._images.write(data)
        return offset

    def close(self) -> None:
        """Writes the rows that are waiting; no more can be appended."""
        self._write(self._waiting)
        self._texts.close()
        self._images.close()

    def write_numbers(
        self, numbers: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Writes the columns of numbers, and what JSON can hold; again: anew."""
        np.savez(self._folder / NUMBERS, allow_pickle=False, **numbers)
        text = json.dumps(facts, ensure_ascii=False)
        (self._folder / FACTS).write_text(text, encoding="utf-8")

    def _write(self, rows: pa.Table) -> None:
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            self._texts.write_batch(batch)


class RowTable:
    """A finished table.

    What it reads stays open: it can be read on where the folder is removed, as that of
    a file that has changed is.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        # No memory map: pages that were touched would count as memory.
        self._texts = pa.ipc.open_file(pa.OSFile(str(folder / TEXTS)))
        self._images = (folder / IMAGES).open("rb")
        self._cached: collections.OrderedDict[int, pa.RecordBatch]
        self._cached, self._lock = collections.OrderedDict(), threading.Lock()

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What `write_numbers` was given."""
        return json.loads((self.folder / FACTS).read_text(encoding="utf-8"))

    @functools.cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        """The columns of numbers by name."""
        with np.load(self.folder / NUMBERS) as numbers:
            return {name: numbers[name] for name in numbers.files}

    def get_cell(self, column: str, row: int) -> Any:
        """Returns the bytes of a text, or a list of them."""
        batch = self._get_batch(row // BATCH_ROWS)
        return batch.column(column)[row % BATCH_ROWS].as_py()

    def read_image(self, offset: int, length: int) -> bytes:
        """Returns bytes that `append_image` has kept; fewer where the file is cut."""
        return os.pread(self._images.fileno(), length, offset)

    def iterate(self, column: str) -> Iterator[Any]:
        """Yields the cells of a column in order."""
        for cells in self._iterate_batches(column):
            yield from cells.to_pylist()

    def iterate_texts(self, column: str) -> Iterator[str | bytes]:
        """Yields the texts of a column in order; one that is not UTF-8 as bytes."""
        for cells in self._iterate_batches(column):
            try:
                yield from cells.cast(pa.large_string()).to_pylist()
            except pa.ArrowInvalid:
                yield from map(decode_text, cells.to_pylist())

    def _iterate_batches(self, column: str) -> Iterator[pa.Array]:
        for number in range(self._texts.num_record_batches):
            yield self._texts.get_batch(number).column(column)

    def _get_batch(self, number: int) -> pa.RecordBatch:
        with self._lock:
            batch = self._cached.pop(number, None)
            if batch is None:
                batch = self._texts.get_batch(number)
            self._cached[number] = batch
            if len(self._cached) > CACHED_BATCHES:
                self._cached.popitem(last=False)
            return batch


def decode_text(data: bytes) -> str | bytes:
    """Returns the text that UTF-8 bytes spell, or the bytes where they spell none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _make_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # a lone surrogate, as JSON can hold
        return pa.array([_encode(value) for value in values], kind)


def _encode(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value.encode(errors="surrogatepass") if isinstance(value, str) else value
