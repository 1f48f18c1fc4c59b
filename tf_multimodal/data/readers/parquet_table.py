"""Parquet tables, streamed: a few pages of a row group are in memory at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import BLOCK_ROWS, RawRows
from tf_multimodal.data.readers import cells

_BUFFER_BYTES = 1 << 20


class ParquetTable:
    """Rows of Parquet files; binary columns are bytes, list columns lists.

    Args:
        paths: the files, read in this order.
        root: folder or URL that image paths are relative to.
        name: for messages.
    """

    setting = "config.data.manifest"

    def __init__(self, paths: Sequence[str], root: str, name: str) -> None:
        self.paths, self.root, self.name = tuple(paths), root, name

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of the files."""
        return files.compute_fingerprint(self.paths)

    def list_columns(self) -> list[str]:
        """Returns the columns of the first file; the others must have them, too."""
        with files.open_file(self.paths[0]) as file:
            return list(_open_parquet(file, self.paths[0]).schema_arrow.names)

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows, numbered from 0 in each file.

        Raises:
            ValueError: a file is no Parquet, is damaged, or lacks one of the columns.
        """
        for path in self.paths:
            start = 0
            with files.open_file(path) as file:
                for values in _read_batches(_open_parquet(file, path), path, columns):
                    stop = start + len(values[columns[0]])
                    yield RawRows(list(range(start, stop)), values, file=path)
                    start = stop


def list_cells(
    table: pa.Table | pa.RecordBatch, columns: Sequence[str]
) -> dict[str, list[Any]]:
    """Returns the values of Arrow columns as cells."""
    return {column: _list_column(table.column(column)) for column in columns}


def choose_block_rows(num_rows: int, num_bytes: int) -> int:
    """Returns how many rows of a table to read at once, images among them or not."""
    row_bytes = max(num_bytes, 1) / max(num_rows, 1)
    return int(min(max(cells.BLOCK_BYTES / row_bytes, 1), BLOCK_ROWS))


def _list_column(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column.to_pylist()
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return [cells.to_cell(value) for value in column.to_pylist()]
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check that a string is UTF-8
        binary = column.cast(pa.large_binary()).to_pylist()
        return [v if v is None else cells.decode_text(v) for v in binary]


def _open_parquet(file: Any, path: str) -> pq.ParquetFile:
    try:
        # With a buffer a column is read in pieces, not by the whole row group.
        return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a Parquet file, or is damaged: {error}. Write it again."
        ) from error


def _read_batches(
    table: pq.ParquetFile, path: str, columns: Sequence[str]
) -> Iterator[dict[str, list[Any]]]:
    names = table.schema_arrow.names
    for column in columns:
        if names.count(column) != 1:
            raise ValueError(
                f"{path} must have one column {column!r}. Its columns: "
                f"{', '.join(map(repr, names))}"
            )
    try:
        size = _choose_batch_size(table, columns)
        for batch in table.iter_batches(size, columns=list(columns)):
            yield list_cells(batch, columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is damaged: {error}. Write or fetch it again."
        ) from error


def _choose_batch_size(table: pq.ParquetFile, columns: Sequence[str]) -> int:
    metadata, num_bytes = table.metadata, 0
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        for place in range(metadata.num_columns):
            chunk = chunks.column(place)
            if chunk.path_in_schema.split(".")[0] in columns:
                num_bytes += chunk.total_uncompressed_size
    return choose_block_rows(metadata.num_rows, num_bytes)
