"""Shards that `tf_multimodal.data.records` has written."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import ByteRange, Problem, RawRows
from tf_multimodal.data.readers import cells
from tf_multimodal.data.records import index
from tf_multimodal.data.records.example import Record, parse_example, read_records

FEATURES = (
    *("id", "split", "group", "weight", "file", "row"),
    *("image", "width", "height", "text"),
)
_LISTS = ("captions", "labels", "labels_index")


class RecordShards:
    """Rows of sharded TFRecord files; the columns are the features of an example.

    Images stay where they are. Of several captions each is a column by its name, and
    `captions` is the list of them.

    Args:
        folder: that holds `index.json` and the shards.

    Raises:
        ValueError: there is no index, or a shard is missing or has another size.

    Attributes:
        classes: of the source that was written, in their order.
        columns: the `config.data.columns` that give the rows as they were.
    """

    setting = "config.data.records"

    def __init__(self, folder: str) -> None:
        self._index = index.read_index(folder)
        self.root = folder
        self.name = os.path.basename(os.path.normpath(folder))
        self.classes = tuple(self._index["classes"])
        self.columns = dict(self._index["columns"])
        for shard in self._index["shards"]:
            if damage := index.find_damage(folder, shard, deep=False):
                raise ValueError(
                    f"{damage}. Write it again with the command that wrote the "
                    "records: the other shards are kept."
                )

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of the files."""
        names = [shard["file"] for shard in self._index["shards"]]
        paths = [files.join(self.root, name) for name in (index.INDEX, *names)]
        return files.compute_fingerprint(paths)

    def list_columns(self) -> list[str]:
        """Returns the features, and the names of the captions."""
        labels = "labels" if self.columns["labels"] else "label"
        names = [*FEATURES, labels, f"{labels}_index"]
        if captions := self._index["caption_names"]:
            names += ["captions", *captions]
        return list(dict.fromkeys(names))

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows, numbered from 0 in each shard.

        Raises:
            ValueError: a shard does not hold the rows that the index says.
        """
        for shard in self._index["shards"]:
            path = files.join(self.root, shard["file"])
            count = 0
            with files.open_file(path) as file:
                rows = self._read_shard(read_records(file, path), path, columns)
                for block in cells.make_blocks(rows, columns, path):
                    count += len(block.rows) + len(block.problems)
                    yield block
            if count != shard["rows"]:
                raise ValueError(
                    f"{path} holds {count} rows, expected {shard['rows']}. "
                    "python -m tf_multimodal.data.records --check finds what has "
                    "changed."
                )

    def _read_shard(
        self, records: Iterator[Record], path: str, columns: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        for row, record in enumerate(records):
            try:
                features = parse_example(record.data)
            except ValueError as error:
                yield Problem(row, f"{error}. Write the shard again.")
                continue
            yield (
                row,
                {
                    name: self._get_cell(record, path, features, name)
                    for name in columns
                },
            )

    def _get_cell(
        self, record: Record, path: str, features: dict[str, list[Any]], column: str
    ) -> Any:
        if column == "image":
            return _find_image(record, path, features)
        captions = self._index["caption_names"]
        if column in captions:
            values = features.get("captions", [])[captions.index(column) :][:1]
        else:
            values = features.get(column, [])
        decoded = [
            cells.to_text(value.decode(errors="surrogateescape"))
            if isinstance(value, bytes)
            else str(value)
            for value in values
        ]
        if column in _LISTS:
            return decoded
        return decoded[0] if decoded else None


def _find_image(
    record: Record, path: str, features: dict[str, list[Any]]
) -> ByteRange | None:
    """Returns where the image lies in the shard: where its bytes are first met."""
    image = (features.get("image") or [b""])[0]
    if not image:
        return None
    return ByteRange(path, record.offset + record.data.index(image), len(image))
