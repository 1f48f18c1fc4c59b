"""Rows spread over files by a hash, so that memory holds a part of them at a time."""

import contextlib
import pathlib
import types
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

MAX_BUCKETS = 512  # files that are open at once
ROWS_PER_BUCKET = 100_000


def count_buckets(rows: int) -> int:
    """Returns how many buckets hold so many rows in parts that memory can hold."""
    return min(MAX_BUCKETS, -(-rows // ROWS_PER_BUCKET) or 1)


def compute_hashes(values: pa.ChunkedArray, salt: str) -> np.ndarray:
    """Returns a hash of each value, uint64 [n], the same on every machine.

    SipHash for texts, as in `pandas.util.hash_array`.

    Args:
        values: int64 or string column without nulls.
        salt: another one gives other hashes; at most 16 ASCII characters.

    Raises:
        ValueError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ValueError(
            "pandas is not installed: pip install 'tf_multimodal[coyo]'"
        ) from error
    array = values.to_numpy()
    return pd.util.hash_array(array, hash_key=f"{salt:>16}", categorize=False)


class Buckets:
    """Files of rows; a row's hash says which, in the order of the hashes.

    Args:
        folder: where the files go; it is made.
        schema: of the rows.
        count: of the files.
    """

    def __init__(self, folder: pathlib.Path, schema: pa.Schema, count: int) -> None:
        folder.mkdir(parents=True)
        self._schema = schema
        self._paths = [folder / f"{number:03}.arrow" for number in range(count)]
        self._stack = contextlib.ExitStack()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writers = [
            self._stack.enter_context(pa.ipc.new_stream(path, schema, options=options))
            for path in self._paths
        ]

    def __enter__(self) -> "Buckets":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._stack.close()

    def write(self, rows: pa.Table, hashes: np.ndarray) -> None:
        """Adds rows by their hashes, uint64 [n]."""
        if not len(rows):
            return
        half = np.uint64(32)
        numbers = (hashes >> half) * np.uint64(len(self._paths)) >> half
        order = np.argsort(numbers, kind="stable")
        rows = rows.select(self._schema.names).take(order).combine_chunks()
        found, starts = np.unique(numbers[order], return_index=True)
        stops = [*starts[1:], len(rows)]
        for number, start, stop in zip(found, starts, stops, strict=True):
            self._writers[number].write_table(rows.slice(start, stop - start))

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each bucket; all hashes of one lie below the next's."""
        self._stack.close()
        for path in self._paths:
            with pa.ipc.open_stream(path) as reader:
                yield reader.read_all()
            path.unlink()
