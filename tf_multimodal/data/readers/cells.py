"""What the readers share: values as cells, records by field, rows as blocks."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tf_multimodal.data.raw_rows import BLOCK_ROWS, ByteRange, Problem, RawRows

BLOCK_BYTES = 32 << 20  # of a block's texts and images, about
SAMPLED_ROWS = 1000  # rows that are looked at for the names of the columns

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "gif", "bmp", "webp")
TEXT_SUFFIXES = ("txt", "text", "caption", "cls", "json")


def to_cell(value: Any) -> Any:
    """Returns a value of a file or library as `RawRows` wants it.

    Numbers become their text, a missing one (None, NaN) None, sequences lists, and
    Hugging Face's `{"bytes": …, "path": …}` the image's bytes, or else its path.
    """
    if isinstance(value, str):
        return to_text(value)
    if value is None or isinstance(value, bytes | ByteRange):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        if set(value) == {"bytes", "path"}:
            return value["path"] if value["bytes"] is None else value["bytes"]
        return to_text(json.dumps(value, ensure_ascii=False, default=str))
    if isinstance(value, list | tuple):
        return [to_cell(item) for item in value]
    return str(value)


def to_text(value: str) -> str | bytes:
    """Returns a text as it is, or, where it has no UTF-8 form, as bytes."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        # `surrogateescape` gives back the bytes that were read; other surrogates can
        # stand in JSON as `\\ud800`.
        for errors in ("surrogateescape", "surrogatepass"):
            try:
                return value.encode(errors=errors)
            except UnicodeEncodeError:
                continue
    return value


def decode_text(data: bytes) -> str | bytes:
    """Returns the text that UTF-8 bytes spell, or the bytes where they spell none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data


def get_field(record: Mapping[str, Any], name: str) -> Any:
    """Returns a record's field; `a.b` is field `b` of field `a`; None if missing."""
    if name in record:
        return record[name]
    head, _, rest = name.partition(".")
    inner = record.get(head)
    return get_field(inner, rest) if rest and isinstance(inner, Mapping) else None


def list_fields(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the names that `get_field` knows, in the order they are met."""
    names: dict[str, None] = {}
    for record in records:
        for name, value in record.items():
            names[name] = None
            if isinstance(value, Mapping):
                names.update(dict.fromkeys(f"{name}.{f}" for f in list_fields([value])))
    return list(names)


def parse_object(data: bytes) -> dict[str, Any]:
    """Returns the JSON object that bytes hold; bytes that are not UTF-8 stay in texts.

    Raises:
        ValueError: they hold something else; says what.
    """
    text = data.decode("utf-8-sig", errors="surrogateescape")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}): {text[:60]!r}") from error
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object. Received: {text[:60]!r}")
    return record


def make_blocks(
    rows: Iterable[tuple[int, Mapping[str, Any]] | Problem],
    columns: Sequence[str],
    file: str = "",
) -> Iterator[RawRows]:
    """Yields rows of one file as blocks that are bounded in rows and in bytes.

    Args:
        rows: number and values by column of each row (a value that is missing is
            None), or what is wrong with it.
        columns: the columns to keep.
        file: the file that they are of.
    """
    block, size = _make_block(columns, file), 0
    for item in rows:
        if isinstance(item, Problem):
            block.problems.append(item)
        else:
            row, values = item
            block.rows.append(row)
            for column in columns:
                value = values.get(column)
                block.values[column].append(value)
                size += len(value) if isinstance(value, str | bytes) else 0
        count = len(block.rows) + len(block.problems)
        if count >= BLOCK_ROWS or size >= BLOCK_BYTES:
            yield block
            block, size = _make_block(columns, file), 0
    if block.rows or block.problems:
        yield block


def _make_block(columns: Sequence[str], file: str) -> RawRows:
    return RawRows([], {column: [] for column in columns}, [], file)
