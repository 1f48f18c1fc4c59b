"""A block of rows on its way into a table: each cell checked and taken for its role."""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_multimodal.data import captions as captions_lib
from tf_multimodal.data import cell_checks, columns, duplicates, spec
from tf_multimodal.data.quoting import quote
from tf_multimodal.data.raw_rows import ByteRange, RawRows

SPLIT_CODES = {name: code for code, name in enumerate(("", *spec.SPLITS))}
_MASKED = b"not an image"  # stands for what could not be taken for one


class BadCell(NamedTuple):
    """Why a row cannot be used."""

    role: str
    column: str
    reason: str


class RowBlock:
    """The cells of a block by role, parsed.

    Args:
        raw: the rows.
        settings: an `IngestSettings`.
        label_names: numbers the labels.
        file: how ids name the file of the rows; "": the source has only one.

    Attributes:
        rows: as `RawRows` has them.
        values: by role, one parsed value a row; None where it cannot be used.
        bad_cells: by place in the block, the first cell that makes a row useless.
        excluded: places of rows that the class map leaves out.
    """

    def __init__(
        self,
        raw: RawRows,
        settings: Any,
        label_names: cell_checks.LabelNames,
        file: str = "",
    ) -> None:
        self.raw, self.settings, self.rows = raw, settings, raw.rows
        self.bad_cells: dict[int, BadCell] = {}
        self.excluded: set[int] = set()
        self.values: dict[str, list[Any]] = {}
        self._read_texts()
        self._read_images()
        self._read_labels(label_names)
        for role, parse in (
            ("split", cell_checks.Memo(_parse_split).__getitem__),
            ("weight", cell_checks.parse_weight),
            ("group", cell_checks.parse_group),
        ):
            if role in settings.columns:
                self.values[role] = self._parse(role, parse)
        if "id" in settings.columns:
            self.values["id"] = self._parse("id", _parse_id)
        else:
            prefix = f"{file}:" if file else ""
            self.values["id"] = [f"{prefix}{row}" for row in raw.rows]

    def check_ids(self, seen: cell_checks.SeenIds) -> None:
        """Finds rows whose id an earlier row has."""
        if "id" not in self.settings.columns:
            return
        unused = self.bad_cells.keys() | self.excluded
        used = [place for place in range(len(self.rows)) if place not in unused]
        ids = [self.values["id"][place] for place in used]
        rows = [self.rows[place] for place in used]
        for number, reason in seen.find(ids, self.raw.file, rows).items():
            cell = BadCell("id", self.settings.columns["id"], reason)
            self.bad_cells[used[number]] = cell

    def remove_bad(self) -> None:
        """Takes out the rows that cannot be used, and those that are left out."""
        if not self.bad_cells and not self.excluded:
            return
        bad = self.bad_cells.keys() | self.excluded
        kept = [place for place in range(len(self.rows)) if place not in bad]
        self.rows = [self.rows[place] for place in kept]
        for role, values in self.values.items():
            self.values[role] = [values[place] for place in kept]

    def are_images_paths(self) -> bool:
        """Whether each image is a file of its own, or missing."""
        return set(map(type, self.values["image"])) <= {str}

    def describe_images(self) -> list[str]:
        """Returns the images' files as written; of one inside a file, its id."""
        images = self.values["image"]
        if self.are_images_paths():
            return images
        pairs = zip(images, self.values["id"], strict=True)
        return [_describe_image(image, row_id or "") for image, row_id in pairs]

    def identify_images(self) -> Sequence[str | bytes]:
        """Returns what tells each image from others, short."""
        images = self.values["image"]
        return images if self.are_images_paths() else list(map(_identify_image, images))

    def hash_images(self) -> np.ndarray:
        """Returns int64 [n] that equal paths or bytes share here; 0 where unknown."""
        images = self.values["image"]
        get_key = hash if self.are_images_paths() else _hash_image
        return np.array(list(map(get_key, images)), np.int64)  # of nothing it is 0

    def hash_texts(self) -> np.ndarray:
        """Returns int64 [n] that equal texts share in this process; 0 for no text."""
        texts = self.values["text"]
        if set(map(type, texts)) <= {str}:
            keys: Sequence[str | bytes] = duplicates.normalize_texts(texts)
        else:
            keys = [
                duplicates.normalize_text(text) if isinstance(text, str) else text
                for text in texts
            ]
        return np.array(list(map(hash, keys)), np.int64)

    def find_kinds(self, image_files: dict[str, int]) -> np.ndarray:
        """Returns int32 [n], where each image is: `columns.IS_PATH` and others.

        Args:
            image_files: numbers the files that images are inside of; new ones are
                added.
        """
        images = self.values["image"]
        if self.are_images_paths():
            is_image = np.array(list(map(bool, images)), bool)
            return np.where(is_image, columns.IS_PATH, columns.NO_IMAGE).astype(
                np.int32
            )
        return np.array([_find_kind(i, image_files) for i in images], np.int32)

    def _parse(self, role: str, parse: Callable[[Any], Any]) -> list[Any]:
        column = self.settings.columns[role]
        found = self.raw.values[column]
        try:
            return list(map(parse, found))
        except (TypeError, ValueError):  # one after the other, to see which
            return [
                self._try(place, role, column, parse, cell)
                for place, cell in enumerate(found)
            ]

    def _try(
        self,
        place: int,
        role: str,
        column: str,
        parse: Callable[[Any], Any],
        cell: Any,
    ) -> Any:
        try:
            return parse(cell)
        except ValueError as error:
            reason = str(error)
        except TypeError:  # a list is no key
            reason = f"received {quote(cell)}, a list where one value is expected."
        self.bad_cells.setdefault(place, BadCell(role, column, reason))
        return None

    def _read_texts(self) -> None:
        settings = self.settings
        if settings.captions:
            self._read_captions()
        elif settings.text_template:
            self.values["text"] = self._make_texts(
                lambda row: captions_lib.fill_template(settings.text_template, row),
                captions_lib.list_template_columns(settings.text_template),
            )
        elif "text" in settings.columns:
            texts = self.raw.values[settings.columns["text"]]
            is_ready = set(map(type, texts)) <= {str}
            self.values["text"] = (
                texts if is_ready else self._parse("text", _parse_text)
            )
        else:
            self.values["text"] = [""] * len(self.rows)

    def _read_captions(self) -> None:
        found = self._make_texts(captions_lib.list_captions, self.settings.captions)
        self.values["captions"] = found
        self.values["text"] = [next(filter(None, c or ()), "") for c in found]

    def _make_texts(
        self, make: Callable[[dict[str, Any]], Any], names: Sequence[str]
    ) -> list[Any]:
        """Makes something of several columns of each row."""
        cells = zip(*(self.raw.values[name] for name in names), strict=True)
        return [
            self._try(place, "text", names[0], make, dict(zip(names, row, strict=True)))
            for place, row in enumerate(cells)
        ]

    def _read_images(self) -> None:
        """Takes images for what they are; where policy is `mask`, a bad one is kept."""
        if "image" not in self.settings.columns:
            self.values["image"] = [""] * len(self.rows)
            return
        parse = _IMAGE_PARSERS[self.settings.image_encoding]
        is_path = self.settings.image_encoding in ("path", "any")

        def parse_or_keep(cell: Any) -> Any:
            try:
                return parse(cell)
            except ValueError:  # the pipeline names it, and masks it
                return cell if isinstance(cell, str) and is_path else _MASKED

        masks = self.settings.bad_rows == "mask"
        self.values["image"] = self._parse("image", parse_or_keep if masks else parse)

    def _read_labels(self, names: cell_checks.LabelNames) -> None:
        columns_of = self.settings.columns
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


def _describe_image(image: Any, row_id: str) -> str:
    if isinstance(image, ByteRange):
        return f"{os.path.basename(image.path)}/{row_id}"
    if isinstance(image, bytes):
        return row_id if image else ""
    return image or ""


def _identify_image(image: Any) -> str | bytes:
    if isinstance(image, ByteRange):
        return f"{os.path.basename(image.path)}:{image.offset}:{image.length}"
    return hashlib.sha256(image).digest() if isinstance(image, bytes) else image


def _hash_image(image: Any) -> int:
    return 0 if isinstance(image, ByteRange) else hash(image)


def _find_kind(image: Any, image_files: dict[str, int]) -> int:
    if not image:
        return columns.NO_IMAGE
    if isinstance(image, ByteRange):
        return image_files.setdefault(image.path, len(image_files))
    return columns.IS_PATH if isinstance(image, str) else columns.IS_KEPT


def _parse_split(cell: Any) -> int:
    return SPLIT_CODES[cell_checks.parse_split(cell)]


def _parse_text(cell: Any) -> str | bytes:
    if isinstance(cell, list):
        raise ValueError(
            "received a list of texts, expected one. Several captions a row are the "
            "run's config.data.columns.captions."
        )
    return cell or ""


def _parse_id(cell: Any) -> str:
    row_id = cell if isinstance(cell, str) else cell_checks.parse_text(cell)
    if not row_id.strip():
        raise ValueError("received an empty id, expected a unique one.")
    return row_id


def _parse_image(cell: Any) -> Any:
    """Takes bytes for an image and a text for a path."""
    if isinstance(cell, ByteRange | bytes):
        return cell
    return cell_checks.parse_path(cell)


def _parse_path(cell: Any) -> Any:
    return cell if isinstance(cell, ByteRange) else cell_checks.parse_path(cell)


_IMAGE_PARSERS: dict[str, Callable[[Any], Any]] = {
    "path": _parse_path,
    "bytes": cell_checks.parse_bytes,
    "base64": cell_checks.parse_base64,
    "any": _parse_image,
}
