"""Rows as they stand in a file, before anything is checked or chosen."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

BLOCK_ROWS = 4096  # rows that a reader yields at once, at most


class ByteRange(NamedTuple):
    """An encoded image inside a larger file: a member of a tar, say."""

    path: str
    offset: int  # bytes
    length: int  # bytes


class Problem(NamedTuple):
    """A row that could not be read at all."""

    row: int
    reason: str  # a sentence


@dataclasses.dataclass
class RawRows:
    """A block of rows in the order of the file.

    Attributes:
        rows: for messages: line of the file (the header is line 1), or position.
        values: by column, one value a row. A text is str, or bytes where it is not
            UTF-8; an image is the str of the cell, its bytes, or a `ByteRange`; a list
            column holds lists; a label is the name of its class; None is an empty cell.
        problems: rows that are in neither of those; counted and named by whoever reads.
        file: the file of these rows where a source has several; a block is of one.
    """

    rows: list[int]
    values: dict[str, list[Any]]
    problems: list[Problem] = dataclasses.field(default_factory=list)
    file: str = ""


class Reader(Protocol):
    """What every kind of source offers; memory does not grow with the rows.

    Attributes:
        name: for messages, e.g. `pairs.csv`.
        root: folder or URL that image paths are relative to and must not leave.
        setting: the key that chose it, for messages, e.g. `config.data.manifest`.
    """

    name: str
    root: str
    setting: str

    def compute_fingerprint(self) -> str:
        """Returns a hash that changes when the files do (names, sizes, times)."""

    def list_columns(self) -> list[str]:
        """Returns the names of the columns, in order."""

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields all rows with these columns, in an order that is always the same.

        Raises:
            ValueError: the file as a whole cannot be read: where, what was expected,
                what was received and what to do.
        """
