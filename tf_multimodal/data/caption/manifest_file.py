"""A manifest row by row with all its cells, to be written again with more of them."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.readers.parquet_table import choose_block_rows

Row = tuple[int, dict[str, Any]]  # number for messages, cells by column


class ManifestFile(Protocol):
    """A manifest of one format; it is never written to."""

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""

    def read_rows(self) -> Iterator[Row]:
        """Yields the rows in order; a ValueError names one that cannot be read."""

    def write_rows(
        self, output: Path, new_columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes rows with these columns of text besides, complete or not at all."""


def open_manifest(path: Path) -> ManifestFile:
    """Returns the manifest at a path; its format is that of the name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the name is of no known format.
    """
    formats: dict[str, type[CsvFile] | type[JsonlFile] | type[ParquetFile]] = {
        ".csv": CsvFile,
        ".tsv": CsvFile,
        ".tab": CsvFile,
        ".jsonl": JsonlFile,
        ".ndjson": JsonlFile,
        ".parquet": ParquetFile,
    }
    if path.suffix.lower() not in formats:
        raise ValueError(
            f"--manifest={path} must end in one of {', '.join(formats)}. Received: "
            f"{path.suffix or 'no suffix'}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}, which --manifest names.")
    return formats[path.suffix.lower()](path)


class CsvFile:
    """CSV or TSV; cells that are not UTF-8 keep their bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._delimiter = "," if path.suffix.lower() == ".csv" else "\t"

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""
        with self._open() as file:
            return next(self._read_cells(file), (0, []))[1]

    def read_rows(self) -> Iterator[Row]:
        """Yields the rows; a row's number is the line it begins in."""
        with self._open() as file:
            lines = self._read_cells(file)
            _, header = next(lines, (0, []))
            for line, cells in lines:
                if len(cells) not in (0, len(header)):
                    raise ValueError(
                        f"{self._path}, row {line}: {len(cells)} cells, expected "
                        f"{len(header)} as in the header. Put quotes around cells "
                        f"that contain {self._delimiter!r} or a line break."
                    )
                if cells:
                    yield line, dict(zip(header, cells, strict=True))

    def write_rows(
        self, output: Path, new_columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes the rows with these columns besides."""
        columns = [*self.list_columns(), *new_columns]
        options: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
        with (
            write_atomically(output) as temporary,
            open(temporary, "w", newline="", **options) as file,
        ):
            writer = csv.writer(file, delimiter=self._delimiter)
            writer.writerow(columns)
            writer.writerows([row[column] for column in columns] for row in rows)

    def _open(self) -> Any:
        return open(
            self._path, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )

    def _read_cells(self, file: Any) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(sys.maxsize)  # a cell may hold an image in base64
        reader = csv.reader(file, delimiter=self._delimiter, strict=True)
        line = 1
        try:
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"{self._path}, near row {line}: not a well-formed table: {error}. "
                "Look for a quotation mark that is not closed or not doubled."
            ) from error


class JsonlFile:
    """JSON lines, an object each; the columns are those of the first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""
        return list(next(self.read_rows(), (0, {}))[1])

    def read_rows(self) -> Iterator[Row]:
        """Yields the rows; a row's number is its line."""
        with open(self._path, "rb") as file:
            for line, data in enumerate(file, 1):
                if not data.strip():
                    continue
                try:
                    row = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
                except (ValueError, RecursionError) as error:
                    raise ValueError(
                        f"{self._path}, row {line}: no JSON: {error}"
                    ) from error
                if not isinstance(row, dict):
                    raise ValueError(
                        f"{self._path}, row {line}: expected a JSON object, received "
                        f"{data[:60]!r}"
                    )
                yield line, row

    def write_rows(
        self, output: Path, new_columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes the rows, which hold the new columns already."""
        with (
            write_atomically(output) as temporary,
            open(temporary, "w", encoding="utf-8") as file,
        ):
            # Lone surrogates, which JSON can name, are no UTF-8: they stay escaped.
            file.writelines(json.dumps(row) + "\n" for row in rows)


class ParquetFile:
    """A Parquet file, read a block of rows at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""
        return list(self._read_schema().names)

    def read_rows(self) -> Iterator[Row]:
        """Yields the rows, numbered from 0."""
        number = 0
        try:
            size = self._choose_block_rows()
            for batch in pq.ParquetFile(self._path).iter_batches(size):
                for row in batch.to_pylist():
                    yield number, row
                    number += 1
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self._path}, behind row {number}: damaged: {error}"
            ) from error

    def write_rows(
        self, output: Path, new_columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes the rows with these columns besides."""
        schema, size = self._read_schema(), self._choose_block_rows()
        for column in new_columns:
            schema = schema.append(pa.field(column, pa.string()))
        block: list[dict[str, Any]] = []
        with (
            write_atomically(output) as temporary,
            pq.ParquetWriter(temporary, schema) as writer,
        ):
            for row in rows:
                block.append(row)
                if len(block) == size:
                    writer.write_table(pa.Table.from_pylist(block, schema))
                    block.clear()
            writer.write_table(pa.Table.from_pylist(block, schema))

    def _choose_block_rows(self) -> int:
        table = pq.read_metadata(self._path)
        groups = (table.row_group(number) for number in range(table.num_row_groups))
        return choose_block_rows(table.num_rows, sum(g.total_byte_size for g in groups))

    def _read_schema(self) -> pa.Schema:
        try:
            return pq.read_schema(self._path)
        except pa.ArrowException as error:
            raise ValueError(f"{self._path} is not a Parquet file: {error}") from error
