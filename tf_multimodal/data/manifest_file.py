"""A manifest row by row with its cells as they are, to be written again with more.

The readers of `data.readers` make cells of one kind of all formats; here a number of a
JSON line stays a number, so that what is written has what was read.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.raw_rows import Problem
from tf_multimodal.data.readers import cells
from tf_multimodal.data.readers.csv_table import TSV_SUFFIXES, CsvTable
from tf_multimodal.data.readers.jsonl_table import JsonlTable, read_objects
from tf_multimodal.data.readers.parquet_table import choose_block_rows
from tf_multimodal.data.sources import TABLES

Row = tuple[int, dict[str, Any]]  # number for messages, cells by column


class ManifestFile(Protocol):
    """A manifest of one format; it is never written to."""

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""

    def read_rows(self) -> Iterator[Row | Problem]:
        """Yields the rows in order, numbered as the readers number them.

        Raises:
            ValueError: the file as a whole cannot be read.
        """

    def write_rows(
        self, output: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes rows of this manifest to another file, complete or not at all.

        Args:
            output: the file, of the same format.
            columns: columns of text that the rows have, too; one that the manifest
                has keeps its place.
            rows: cells by column.
        """


def open_manifest(path: Path) -> ManifestFile:
    """Returns the manifest at a path; its format is that of the name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the name is of no known format.
    """
    kind = TABLES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: a manifest's name must end in one of {', '.join(TABLES)}. "
            f"Received: {path.suffix or 'no suffix'}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no manifest {path}.")
    formats: dict[str, type[CsvFile] | type[JsonlFile] | type[ParquetFile]] = {
        "csv": CsvFile,
        "jsonl": JsonlFile,
        "parquet": ParquetFile,
    }
    return formats[kind](path)


class CsvFile:
    """CSV or TSV; a cell that is not UTF-8 is bytes."""

    def __init__(self, path: Path) -> None:
        self._table = CsvTable([str(path)], str(path.parent), path.name)
        self._delimiter = "\t" if path.suffix.lower() in TSV_SUFFIXES else ","

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""
        return self._table.list_columns()

    def read_rows(self) -> Iterator[Row | Problem]:
        """Yields the rows; a row's number is the line it begins in."""
        columns = self.list_columns()
        for block in self._table.read_rows(columns):
            values = zip(*(block.values[column] for column in columns), strict=True)
            rows: list[Row | Problem] = [
                (number, dict(zip(columns, row, strict=True)))
                for number, row in zip(block.rows, values, strict=True)
            ]
            yield from sorted([*rows, *block.problems], key=itemgetter(0))

    def write_rows(
        self, output: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes the rows with these columns besides."""
        header = list(dict.fromkeys([*self.list_columns(), *columns]))
        options: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
        with (
            write_atomically(output) as temporary,
            open(temporary, "w", newline="", **options) as file,
        ):
            writer = csv.writer(file, delimiter=self._delimiter)
            writer.writerow(header)
            writer.writerows([_to_csv(row[name]) for name in header] for row in rows)


class JsonlFile:
    """JSON lines, an object each; fields inside an object are columns, too."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._table = JsonlTable([self._path], str(path.parent), path.name)

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""
        return self._table.list_columns()

    def read_rows(self) -> Iterator[Row | Problem]:
        """Yields the rows; a row's number is its line."""
        return read_objects(self._path)

    def write_rows(
        self, output: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes the rows, which hold the new columns already."""
        with (
            write_atomically(output) as temporary,
            open(temporary, "w", encoding="utf-8") as file,
        ):
            # Lone surrogates, which JSON can name, are no UTF-8: they stay escaped.
            file.writelines(json.dumps(row) + "\n" for row in rows)


class ParquetFile:
    """A Parquet file, read a block of rows at a time; text not in UTF-8 is bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""
        return list(self._read_schema().names)

    def read_rows(self) -> Iterator[Row | Problem]:
        """Yields the rows, numbered from 0."""
        columns, number = self.list_columns(), 0
        try:
            size = self._choose_block_rows()
            for batch in pq.ParquetFile(self._path).iter_batches(size):
                for row in zip(*map(_list_column, batch.columns), strict=True):
                    yield number, dict(zip(columns, row, strict=True))
                    number += 1
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self._path}, behind row {number}: damaged: {error}"
            ) from error

    def write_rows(
        self, output: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]
    ) -> None:
        """Writes the rows with these columns besides."""
        schema, size = self._read_schema(), self._choose_block_rows()
        for column in columns:
            field, place = pa.field(column, pa.string()), schema.get_field_index(column)
            schema = schema.append(field) if place < 0 else schema.set(place, field)
        block: list[dict[str, Any]] = []
        with (
            write_atomically(output) as temporary,
            pq.ParquetWriter(temporary, schema) as writer,
        ):
            for row in rows:
                block.append(row)
                if len(block) == size:
                    writer.write_table(_make_table(block, schema))
                    block.clear()
            writer.write_table(_make_table(block, schema))

    def _choose_block_rows(self) -> int:
        table = pq.read_metadata(self._path)
        groups = (table.row_group(number) for number in range(table.num_row_groups))
        return choose_block_rows(table.num_rows, sum(g.total_byte_size for g in groups))

    def _read_schema(self) -> pa.Schema:
        try:
            schema = pq.read_schema(self._path)
        except pa.ArrowException as error:
            raise ValueError(f"{self._path} is not a Parquet file: {error}") from error
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise ValueError(
                f"{self._path}: columns must have different names. There twice: "
                f"{', '.join(map(repr, twice))}"
            )
        return schema


def _to_csv(cell: Any) -> Any:
    return cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else cell


def _list_column(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check that a string is UTF-8
        binary = column.cast(pa.large_binary()).to_pylist()
        return [None if v is None else cells.decode_text(v) for v in binary]


def _make_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    values = ([row[field.name] for row in rows] for field in schema)
    arrays = [_make_array(v, f.type) for v, f in zip(values, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _make_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text and any(isinstance(value, bytes) for value in values)):
        return pa.array(values, kind)
    binary = pa.binary() if pa.types.is_string(kind) else pa.large_binary()
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return pa.array(encoded, binary).view(kind)
