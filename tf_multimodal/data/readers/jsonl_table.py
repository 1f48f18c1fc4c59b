"""JSON lines (https://jsonlines.org): a JSON object on every line, UTF-8."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import Problem, RawRows
from tf_multimodal.data.readers import cells


class JsonlTable:
    """Rows of JSON lines; a field of an object inside is the column `outer.inner`.

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
        """Returns the fields of the first 1,000 objects of each file."""
        names: dict[str, None] = {}
        for path in self.paths:
            lines = itertools.islice(read_objects(path), cells.SAMPLED_ROWS)
            records = (line[1] for line in lines if not isinstance(line, Problem))
            names.update(dict.fromkeys(cells.list_fields(records)))
        return list(names)

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows; a line that holds no JSON object is a problem."""
        for path in self.paths:
            rows = (_choose(line, columns) for line in read_objects(path))
            yield from cells.make_blocks(rows, columns, path)


def read_objects(path: str) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """Yields line and object of each line, or what is wrong with it."""
    with files.open_file(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():  # an empty line is no row
                try:
                    yield number, cells.parse_object(line)
                except ValueError as error:
                    yield Problem(number, str(error))


def _choose(
    line: tuple[int, Mapping[str, Any]] | Problem, columns: Sequence[str]
) -> tuple[int, dict[str, Any]] | Problem:
    if isinstance(line, Problem):
        return line
    number, record = line
    return number, {c: cells.to_cell(cells.get_field(record, c)) for c in columns}
