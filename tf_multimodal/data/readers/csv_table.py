"""CSV and TSV tables, streamed."""

import csv
import io
import itertools
import sys
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import IO, Any

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import BLOCK_ROWS, Problem, RawRows
from tf_multimodal.data.readers import cells

TSV_SUFFIXES = (".tsv", ".tab")
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")  # as escaped in reading UTF-8
_ROWS_AT_ONCE = 64  # between two looks at how much was read


class CsvTable:
    """Rows of CSV files, or TSV where a name ends in .tsv or .tab; with a header.

    Args:
        paths: the files, read in this order.
        root: folder or URL that image paths are relative to.
        name: for messages.
    """

    setting = "config.data.manifest"

    def __init__(self, paths: Sequence[str], root: str, name: str) -> None:
        self.paths, self.root, self.name = tuple(paths), root, name
        csv.field_size_limit(sys.maxsize)  # a cell can be an image in base64

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of the files."""
        return files.compute_fingerprint(self.paths)

    def list_columns(self) -> list[str]:
        """Returns the header of the first file; the others must have its columns, too.

        Raises:
            ValueError: a column stands there twice, or the header is not UTF-8.
        """
        with files.open_file(self.paths[0]) as file:
            return _read_header(_open_table(file, self.paths[0]), self.paths[0])

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows by the line that each begins in; the header is line 1.

        Raises:
            ValueError: a file is not a well-formed table, lacks a column, or has no
                rows.
        """
        for path in self.paths:
            with files.open_file(path) as file:
                several = path if len(self.paths) > 1 else ""
                for block in _read_blocks(file, path, columns):
                    block.file = several
                    yield block


def _open_table(file: IO[bytes], path: str) -> Any:
    """Returns a `csv.reader`."""
    # Bytes that are not UTF-8 become surrogates, which `cells.to_text` turns back.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    delimiter = "\t" if path.lower().endswith(TSV_SUFFIXES) else ","
    return csv.reader(text, delimiter=delimiter, strict=True)


def _read_header(reader: Any, path: str) -> list[str]:
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        raise _make_error(path, reader.line_num, error) from error
    if not header:
        raise ValueError(
            f"{path} is empty, or its first line is. Expected a header with the names "
            "of the columns, and a line for each row."
        )
    if header[0].startswith(_UTF16_MARKS) or "\0" in header[0]:
        raise ValueError(
            f"{path}, line 1: the file is UTF-16. Save the file as UTF-8, for example "
            "with `iconv -f UTF-16 -t UTF-8`."
        )
    if len(header) == 1 and ";" in header[0]:
        raise ValueError(
            f"{path}, line 1: the header is one column, {header[0]!r}. Save the file "
            "with commas between the cells, not semicolons."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(
            f"{path}: columns must have different names. Twice in the header: "
            f"{', '.join(map(repr, twice))}"
        )
    if any(isinstance(cells.to_text(name), bytes) for name in header):
        raise ValueError(
            f"{path}, line 1: the header is not UTF-8. Save the file as UTF-8, for "
            "example with `iconv -f WINDOWS-1252 -t UTF-8`."
        )
    return header


def _read_blocks(
    file: IO[bytes], path: str, columns: Sequence[str]
) -> Iterator[RawRows]:
    reader = _open_table(file, path)
    header = _read_header(reader, path)
    missing = [column for column in columns if column not in header]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}. Its header: "
            f"{', '.join(map(repr, header))}"
        )
    places = {column: header.index(column) for column in columns}
    is_empty, end = True, reader.line_num
    while rows := _take_rows(reader, file, path):
        block = _make_block(rows, _number_rows(rows, end, reader.line_num), len(header))
        end = reader.line_num
        cells_of = {c: list(map(itemgetter(i), rows)) for c, i in places.items()}
        block.values = {column: _to_cells(found) for column, found in cells_of.items()}
        is_empty &= not block.rows and not block.problems
        yield block
    if is_empty:
        raise ValueError(f"{path} has no rows below its header.")


def _take_rows(reader: Any, file: IO[bytes], path: str) -> list[list[str]]:
    """Returns the next rows, bounded in rows and in bytes."""
    rows: list[list[str]] = []
    limit = file.tell() + cells.BLOCK_BYTES
    try:
        while len(rows) < BLOCK_ROWS and file.tell() < limit:
            some = list(itertools.islice(reader, _ROWS_AT_ONCE))
            if not some:
                break
            rows += some
    except csv.Error as error:
        raise _make_error(path, reader.line_num, error) from error
    return rows


def _number_rows(rows: list[list[str]], end: int, new_end: int) -> list[int]:
    """Returns the line that each row begins in; `end` is the last one before them."""
    if new_end - end == len(rows):  # as most: each row is a line
        return list(range(end + 1, new_end + 1))
    heights = (
        1 + sum(c.count("\n") + c.count("\r") - c.count("\r\n") for c in row)
        for row in rows
    )
    return list(itertools.accumulate(heights, initial=end + 1))[:-1]


def _make_block(rows: list[list[str]], numbers: list[int], width: int) -> RawRows:
    """Takes rows of another width out of the list; an empty line is no row."""
    if set(map(len, rows)) == {width}:
        return RawRows(numbers, {})
    problems = [
        Problem(
            number,
            f"{len(row)} cells, expected {width} as in the header. Put quotes around "
            "cells that contain a separator or a line break.",
        )
        for number, row in zip(numbers, rows, strict=True)
        if len(row) not in (0, width)
    ]
    kept = [number for number, r in zip(numbers, rows, strict=True) if len(r) == width]
    rows[:] = [row for row in rows if len(row) == width]
    return RawRows(kept, {}, problems)


def _to_cells(values: list[str]) -> list[Any]:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:  # a byte that is not UTF-8
        return list(map(cells.to_text, values))
    return values


def _make_error(path: str, line: int, error: csv.Error) -> ValueError:
    return ValueError(
        f"{path}, near row {line}: not a well-formed table: {error}. "
        "Look for a quotation mark that is not closed or not doubled."
    )
