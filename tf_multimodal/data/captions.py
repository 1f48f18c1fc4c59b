"""The texts of a row: one column, several joined, or several to choose from."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from tf_multimodal.data.raw_rows import RawRows


def list_template_columns(template: str) -> list[str]:
    """Returns the columns that a template such as `{title}. {body}` names, in order.

    Raises:
        ValueError: the braces do not match, or hold something else than a column.
    """
    try:
        fields = [field for _, field, *_ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(
            f"config.data.text_template={template!r} cannot be read: {error}. Write a "
            "column in braces, and a brace itself twice."
        ) from error
    columns = list(dict.fromkeys(field for field in fields if field is not None))
    if not columns or "" in columns:
        raise ValueError(
            f"config.data.text_template={template!r} must name columns, such as "
            "'{title}. {body}'."
        )
    return columns


def fill_template(template: str, raw: RawRows) -> list[str | bytes]:
    """Returns the text of each row; empty where all its columns are.

    An empty cell leaves nothing behind. Bytes that are not UTF-8 make the text bytes.
    """
    parts = list(string.Formatter().parse(template))
    columns = list_template_columns(template)
    cells = [raw.values[column] for column in columns]
    return [
        _fill(parts, dict(zip(columns, row, strict=True)))
        for row in zip(*cells, strict=True)
    ]


def _fill(parts: Sequence[Any], row: Mapping[str, Any]) -> str | bytes:
    texts = {column: to_bytes(value) for column, value in row.items()}
    if not any(text.strip() for text in texts.values()):
        return ""
    joined = b"".join(
        literal.encode() + (b"" if field is None else texts[field])
        for literal, field, *_ in parts
    )
    try:
        return joined.decode().strip()
    except UnicodeDecodeError:
        return joined


def collect_captions(columns: Sequence[str], raw: RawRows) -> list[list[str | bytes]]:
    """Returns the captions of each row, one of each column, or the list of one.

    Raises:
        ValueError: several columns, and one of them holds lists.
    """
    if len(columns) == 1:
        lists = [
            value if isinstance(value, list) else [value]
            for value in raw.values[columns[0]]
        ]
        return [[item or "" for item in value] for value in lists]
    cells = [raw.values[column] for column in columns]
    for column, values in zip(columns, cells, strict=True):
        if any(isinstance(value, list) for value in values):
            raise ValueError(
                f"the column {column!r} holds lists of texts. Expected one text a row "
                "in each of config.data.columns.captions, or one column of lists."
            )
    return [[value or "" for value in row] for row in zip(*cells, strict=True)]


def to_bytes(value: Any) -> bytes:
    """Returns the UTF-8 of a text; bytes as they are, None as no text."""
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value or b""
