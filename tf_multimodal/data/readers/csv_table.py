"""CSV and TSV tables, streamed."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from typing import IO

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import Problem, RawRows
from tf_multimodal.data.readers import cells

TSV_SUFFIXES = (".tsv", ".tab")


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
                rows = _read_table(_open_table(file, path), path, columns)
                several = path if len(self.paths) > 1 else ""
                yield from cells.make_blocks(rows, columns, several)


def _open_table(file: IO[bytes], path: str) -> "csv._reader":
    # Bytes that are not UTF-8 become surrogates, which `cells.to_text` turns back.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    delimiter = "\t" if path.lower().endswith(TSV_SUFFIXES) else ","
    return csv.reader(text, delimiter=delimiter, strict=True)


def _read_header(reader: "csv._reader", path: str) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise _make_error(path, reader.line_num, error) from error
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


def _read_table(
    reader: "csv._reader", path: str, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, object]] | Problem]:
    header = _read_header(reader, path)
    missing = [column for column in columns if column not in header]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}. Its header: "
            f"{', '.join(map(repr, header))}"
        )
    places = [(column, header.index(column)) for column in columns]
    width, end, is_empty = len(header), reader.line_num, True
    try:
        for row in reader:
            start, end = end + 1, reader.line_num
            if len(row) == width:
                is_empty = False
                yield start, {name: _to_cell(row[place]) for name, place in places}
            elif row:  # an empty line is no row
                is_empty = False
                yield Problem(
                    start,
                    f"{len(row)} cells, expected {width} as in the header. Put quotes "
                    "around cells that contain a separator or a line break.",
                )
    except csv.Error as error:
        raise _make_error(path, reader.line_num, error) from error
    if is_empty:
        raise ValueError(f"{path} has no rows below its header.")


def _to_cell(cell: str) -> str | bytes:
    return cell if cell.isascii() else cells.to_text(cell)


def _make_error(path: str, line: int, error: csv.Error) -> ValueError:
    return ValueError(
        f"{path}, near row {line}: not a well-formed table: {error}. "
        "Look for a quotation mark that is not closed or not doubled."
    )
