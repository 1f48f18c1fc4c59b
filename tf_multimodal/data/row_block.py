"""A block of rows on its way into a table: each cell checked and taken for its role."""

import functools
import hashlib
import os
from collections.abc import Callable
from typing import Any

from tf_multimodal.data import captions as captions_lib
from tf_multimodal.data import cell_checks, columns, duplicates, spec
from tf_multimodal.data.raw_rows import ByteRange, RawRows

SPLIT_CODES = {name: code for code, name in enumerate(("", *spec.SPLITS))}
_MASKED = b"not an image"  # stands for what could not be taken for one


@functools.cache
def _parse_split(cell: Any) -> int:
    return SPLIT_CODES[cell_checks.parse_split(cell)]


class RowBlock:
    """The cells of a block by role, parsed.

    Attributes:
        reasons: by place in the block, column and reason of a row that cannot be used.
        excluded: places of rows that the class map leaves out.
        values: by role, one parsed value a row; None where it cannot be used.
    """

    def __init__(
        self, raw: RawRows, settings: Any, label_names: cell_checks.LabelNames
    ) -> None:
        self.raw, self.settings, self.label_names = raw, settings, label_names
        self.reasons: dict[int, tuple[str, str]] = {}
        self.excluded: set[int] = set()
        self.values: dict[str, list[Any]] = {}
        self._read_texts()
        self._read_images()
        self._read_labels()
        for role, parse in (
            ("split", _parse_split),
            ("weight", cell_checks.parse_weight),
            ("group", cell_checks.parse_group),
        ):
            if role in settings.columns:
                self.values[role] = self._parse(role, parse)
        self._read_ids()

    def _parse(self, role: str, parse: Callable[[Any], Any]) -> list[Any]:
        column = self.settings.columns[role]
        values: list[Any] = []
        for place, cell in enumerate(self.raw.values[column]):
            try:
                values.append(parse(cell))
            except ValueError as error:
                values.append(None)
                self.reasons.setdefault(place, (column, str(error)))
        return values

    def _read_texts(self) -> None:
        settings, raw = self.settings, self.raw
        if settings.captions:
            found = captions_lib.collect_captions(settings.captions, raw)
            self.values["captions"] = found
            texts: list[Any] = [next(filter(None, c), "") for c in found]
        elif settings.text_template:
            texts = captions_lib.fill_template(settings.text_template, raw)
        elif "text" in settings.columns:
            texts = self._parse("text", _parse_text)
        else:
            texts = [""] * len(raw.rows)
        self.values["text"] = texts

    def _read_images(self) -> None:
        """Takes images for what they are; where policy is `mask`, a bad one is kept."""
        if "image" not in self.settings.columns:
            self.values["image"] = [""] * len(self.raw.rows)
            return
        parse = _IMAGE_PARSERS[self.settings.image_encoding]
        if self.settings.bad_rows != "mask":
            self.values["image"] = self._parse("image", parse)
            return

        def parse_or_keep(cell: Any) -> Any:
            try:
                return parse(cell)
            except ValueError:  # the pipeline names it, and masks it
                return cell if self.settings.image_encoding == "path" else _MASKED

        self.values["image"] = self._parse("image", parse_or_keep)

    def _read_labels(self) -> None:
        columns_of, names = self.settings.columns, self.label_names
        if "labels" in columns_of:
            separator = self.settings.label_separator

            def parse(cell: Any) -> list[int]:
                found = cell_checks.parse_labels(cell, separator)
                numbers = dict.fromkeys(map(names.get_number, found))
                numbers.pop(cell_checks.LEFT_OUT, None)
                return list(numbers)

            self.values["labels"] = self._parse("labels", parse)
        elif "label" in columns_of:
            self.values["label"] = self._parse("label", names.get_number)
            if self.settings.class_map:
                labels = enumerate(self.values["label"])
                self.excluded = {p for p, n in labels if n == cell_checks.LEFT_OUT}

    def _read_ids(self) -> None:
        prefix = f"{os.path.basename(self.raw.file)}:" if self.raw.file else ""
        if "id" in self.settings.columns:
            self.values["id"] = self._parse("id", _parse_id)
        else:
            self.values["id"] = [f"{prefix}{row}" for row in self.raw.rows]

    def check_ids(self, seen: dict[int, int]) -> None:
        """Finds rows whose id an earlier row has; `seen` is row by hash of an id."""
        if "id" not in self.settings.columns:
            return
        for place, row_id in enumerate(self.values["id"]):
            if place in self.reasons or place in self.excluded:
                continue
            row = self.raw.rows[place]
            first = seen.setdefault(hash(row_id), row)
            if first != row:
                column = self.settings.columns["id"]
                reason = (
                    f"received {row_id!r}, which row {first} has too. Make it unique."
                )
                self.reasons[place] = (column, reason)

    def list_kept(self) -> list[int]:
        """Returns the places of the rows that are used."""
        count = len(self.raw.rows)
        if not self.reasons and not self.excluded:
            return list(range(count))
        left_out = self.reasons.keys() | self.excluded
        return [place for place in range(count) if place not in left_out]

    def describe_image(self, place: int) -> str | bytes:
        """Returns the image's file as it is written; of one inside a file, the row."""
        image = self.values["image"][place]
        if isinstance(image, ByteRange):
            return f"{os.path.basename(image.path)}/{self.values['id'][place]}"
        if isinstance(image, bytes):
            return self.values["id"][place] if image else ""
        return image or ""


def hash_text(text: str | bytes) -> int:
    """Returns a number that equal texts share in this process; 0 for no text."""
    if isinstance(text, bytes):
        return hash(text)
    key = duplicates.normalize_text(text)
    return hash(key) if key else 0


def hash_image(image: Any) -> int:
    """Returns a number that equal paths or equal bytes share; 0 where unknown."""
    return 0 if not image or isinstance(image, ByteRange) else hash(image)


def identify_image(image: Any) -> str | bytes:
    """Returns what tells an image from others, short."""
    if isinstance(image, ByteRange):
        return f"{os.path.basename(image.path)}:{image.offset}:{image.length}"
    return hashlib.sha256(image).digest() if isinstance(image, bytes) else image or ""


def get_kind(image: Any, image_files: dict[str, int]) -> int:
    """Returns the code of where an image is, `columns.IS_PATH` and others."""
    if not image:
        return columns.NO_IMAGE
    if isinstance(image, ByteRange):
        return image_files.setdefault(image.path, len(image_files))
    return columns.IS_PATH if isinstance(image, str) else columns.IS_KEPT


def _parse_text(cell: Any) -> str | bytes:
    if isinstance(cell, list):
        raise ValueError(
            "received a list of texts, expected one. Several captions a row are "
            "config.data.columns.captions."
        )
    return cell or ""


def _parse_id(cell: Any) -> str:
    row_id = cell if isinstance(cell, str) else cell_checks.parse_text(cell)
    if not row_id.strip():
        raise ValueError("received an empty id, expected a unique one.")
    return row_id


def _parse_image(cell: Any) -> Any:
    """Takes bytes for an image and a text for a path."""
    if isinstance(cell, ByteRange):
        return cell
    return cell if isinstance(cell, bytes) else cell_checks.parse_path(cell)


def _parse_manifest_path(cell: Any) -> Any:
    return cell if isinstance(cell, ByteRange) else cell_checks.parse_path(cell)


_IMAGE_PARSERS: dict[str, Callable[[Any], Any]] = {
    "path": _parse_manifest_path,
    "bytes": cell_checks.parse_bytes,
    "base64": cell_checks.parse_base64,
    "any": _parse_image,
}
