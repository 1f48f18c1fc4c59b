"""The texts of a row: one column, several joined, or several to choose from."""

import string
from collections.abc import Mapping
from typing import Any


def list_template_columns(template: str) -> list[str]:
    """Returns the columns that a template such as `{title}. {body}` names, in order.

    Raises:
        ValueError: the braces do not match, or hold something else than a column.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"config.data.text_template={template!r} cannot be read: {error}. Write a "
            "column in braces, and a brace itself twice."
        ) from error
    for _, field, layout, conversion in parts:
        if layout or conversion:
            end = f"!{conversion}" if conversion else f":{layout}"
            raise ValueError(
                f"config.data.text_template={template!r}: a cell is put in as it is. "
                f"Take {end!r} out of the braces of {field!r}."
            )
    columns = list(dict.fromkeys(part[1] for part in parts if part[1] is not None))
    if not columns or "" in columns:
        raise ValueError(
            f"config.data.text_template={template!r} must name columns, such as "
            "'{title}. {body}'."
        )
    return columns


def fill_template(template: str, cells: Mapping[str, Any]) -> str | bytes:
    """Returns the text of a row; empty where all its columns are.

    An empty cell leaves nothing behind. Bytes that are not UTF-8 make the text bytes.

    Raises:
        ValueError: a column holds a list.
    """
    texts = {column: _to_bytes(column, value) for column, value in cells.items()}
    if not any(text.strip() for text in texts.values()):
        return ""
    joined = b"".join(
        literal.encode() + (b"" if field is None else texts[field])
        for literal, field, *_ in string.Formatter().parse(template)
    )
    try:
        return joined.decode().strip()
    except UnicodeDecodeError:
        return joined


def list_captions(cells: Mapping[str, Any]) -> list[str | bytes]:
    """Returns the captions of a row, one of each column, or the list of the only one.

    Raises:
        ValueError: several columns, and one of them holds a list; or a list in a list.
    """
    captions = list(cells.values())
    if len(captions) == 1 and isinstance(captions[0], list):
        captions = captions[0]
    if any(isinstance(caption, list) for caption in captions):
        raise ValueError(
            "received a list of texts. Expected one text a row in each of "
            "config.data.columns.captions, or one column of lists."
        )
    return [caption or "" for caption in captions]


def _to_bytes(column: str, value: Any) -> bytes:
    if isinstance(value, list):
        raise ValueError(f"received a list of texts in {column!r}, expected one text.")
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value or b""
