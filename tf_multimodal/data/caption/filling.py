"""A manifest's missing texts, filled in by a captioner."""

import collections
import csv
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
import tqdm

from tf_multimodal.data import cell_checks, files
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.caption.journal import Journal
from tf_multimodal.data.decode import decode_image, explain_failure
from tf_multimodal.data.manifest_file import Row, open_manifest
from tf_multimodal.data.raw_rows import Problem
from tf_multimodal.data.readers.cells import get_field, to_cell

SOURCE_COLUMN, MODEL_COLUMN = "text_source", "text_model"
ORIGINAL, GENERATED = "original", "generated"
_NAMED_ROWS = 20  # shown on the terminal; the file has them all


class ImageCaptioner(Protocol):
    """What writes the captions; see `captioner.Captioner`."""

    name: str
    settings: dict[str, Any]
    batch_size: int

    def caption(self, images: Sequence[tf.Tensor]) -> list[str]:
        """Returns a caption for each of uint8 [h, w, 3]; empty: none."""


@dataclasses.dataclass(frozen=True)
class FilledManifest:
    """What was written; the three counts are all rows of the manifest."""

    path: Path
    original: int
    generated: int
    left_empty: int
    left_empty_path: Path

    def describe(self) -> str:
        """Returns a sentence for the terminal."""
        rows = self.original + self.generated + self.left_empty
        text = (
            f"Wrote {self.path}: {rows} rows ({self.original} {ORIGINAL}, "
            f"{self.generated} {GENERATED}, {self.left_empty} left empty)."
        )
        return text + (f" See {self.left_empty_path}." if self.left_empty else "")


def choose_output(manifest: str) -> str:
    """Returns the name of the new manifest where none is given."""
    path = Path(manifest)
    return str(path.with_name(f"{path.stem}.captioned{path.suffix}"))


class Filling:
    """The missing texts of a manifest: rows whose text is empty or only spaces.

    Args:
        manifest: CSV, TSV, JSON lines or Parquet file; it is only read.
        output: file to write, of the same format and in the same folder, since image
            paths are relative to it.
        image_column: column of the image.
        text_column: column of the text; a manifest without it gets one.
        image_encoding: `path`, `bytes` or `base64`: what the image column holds.

    Raises:
        FileNotFoundError: there is no manifest.
        ValueError: the names cannot be used, or the manifest has no such column.
    """

    def __init__(
        self,
        manifest: str,
        output: str,
        image_column: str = "image",
        text_column: str = "text",
        image_encoding: str = "path",
    ) -> None:
        self._path, self._output = Path(manifest), Path(output)
        self._image, self._text = image_column, text_column
        self._encoding = image_encoding
        self._file = open_manifest(self._path)
        self._columns = self._file.list_columns()
        self._reasons: dict[int, str] = {}
        _check_output(self._path, self._output)
        if image_column not in self._columns:
            raise ValueError(
                f"{self._path} has no column {image_column!r}. Its columns: "
                f"{', '.join(map(repr, self._columns))}. Set --image_column."
            )

    def fill(self, captioner: ImageCaptioner) -> FilledManifest:
        """Writes the new manifest; what an earlier, stopped run did is kept.

        Raises:
            ValueError: a row cannot be read, or the earlier run was another one.
        """
        journal = Journal(
            self._output.with_name(f".{self._output.name}.journal"),
            {"manifest": files.compute_sha256(str(self._path)), **captioner.settings},
        )
        todo = sum(1 for _ in self._list_missing(journal))
        with tqdm.tqdm(total=todo, unit="text", disable=None) as progress:
            for batch in self._batch_images(journal, captioner.batch_size, progress):
                texts = captioner.caption(list(batch.values()))
                found = dict(zip(batch, texts, strict=True))
                for row, text in found.items():
                    if not text:
                        self._reasons[row] = "The model gave no caption."
                journal.add({row: text for row, text in found.items() if text})
        filled = self._write(journal.texts, captioner.name)
        journal.remove()
        return filled

    def _read_rows(self) -> Iterator[Row]:
        """Yields the rows; one that cannot be read is an error."""
        for row in self._file.read_rows():
            if isinstance(row, Problem):
                raise ValueError(f"{self._path}, row {row.row}: {row.reason}")
            yield row

    def _list_missing(self, journal: Journal) -> Iterator[tuple[int, Any]]:
        """Yields row and image cell of the texts that are still to be written."""
        for row, cells in self._read_rows():
            if not _has_text(get_field(cells, self._text)) and row not in journal.texts:
                yield row, get_field(cells, self._image)

    def _batch_images(
        self, journal: Journal, batch_size: int, progress: Any
    ) -> Iterator[dict[int, tf.Tensor]]:
        """Yields images by row; what is wrong with the others is noted."""
        batch: dict[int, tf.Tensor] = {}
        for row, cell in self._list_missing(journal):
            progress.update()
            try:
                batch[row] = self._read_image(cell)
            except ValueError as error:
                self._reasons[row] = str(error)
            if len(batch) == batch_size:
                yield batch
                batch = {}
        if batch:
            yield batch

    def _read_image(self, cell: Any) -> tf.Tensor:
        """Returns uint8 [h, w, 3]; an error says what is wrong."""
        cell = to_cell(cell)
        expected = bytes if self._encoding == "bytes" else str
        if not isinstance(cell, expected | None):
            raise ValueError(
                f"Expected {expected.__name__}, received {type(cell).__name__}. Set "
                "--image_encoding."
            )
        if not cell or not cell.strip():
            raise ValueError("There is no image.")
        if isinstance(cell, bytes):
            image = cell
        elif self._encoding == "base64":
            image = cell_checks.parse_base64(cell)
        else:
            path = files.resolve_inside(files.get_folder(str(self._path)), cell)
            try:
                image = files.read_file(path)
            except OSError as error:
                reason = error.strerror or error
                raise ValueError(f"The file cannot be read: {reason}.") from error
        try:
            return decode_image(tf.constant(image))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(explain_failure(image)[1]) from error

    def _write(self, texts: dict[int, str], model: str) -> FilledManifest:
        """Writes both files."""
        counts: collections.Counter[str] = collections.Counter()
        left_empty: list[tuple[int, Any, str]] = []

        def make_rows() -> Iterator[dict[str, Any]]:
            for row, cells in self._read_rows():
                text = get_field(cells, self._text)
                if _has_text(text):
                    # A manifest that was filled before knows better.
                    source = cells.get(SOURCE_COLUMN) or ORIGINAL
                    new = (text, source, cells.get(MODEL_COLUMN) or "")
                    counts[GENERATED if source == GENERATED else ORIGINAL] += 1
                elif row in texts:
                    new = (texts[row], GENERATED, model)
                    counts[GENERATED] += 1
                else:
                    new = (text or "", "", "")
                    image = get_field(cells, self._image)
                    left_empty.append((row, image, self._reasons[row]))
                names = (self._text, SOURCE_COLUMN, MODEL_COLUMN)
                yield cells | dict(zip(names, new, strict=True))

        names = (self._text, SOURCE_COLUMN, MODEL_COLUMN)
        added = [name for name in names if name not in self._columns]
        self._file.write_rows(self._output, added, make_rows())
        path = self._output.with_name(f"{self._output.stem}.left_empty.csv")
        self._name_left_empty(path, left_empty)
        return FilledManifest(
            self._output, counts[ORIGINAL], counts[GENERATED], len(left_empty), path
        )

    def _name_left_empty(
        self, path: Path, left_empty: Sequence[tuple[int, Any, str]]
    ) -> None:
        """Writes row, image and reason of the rows that have no text still."""
        with (
            write_atomically(path) as temporary,
            open(
                temporary, "w", encoding="utf-8", errors="backslashreplace", newline=""
            ) as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("row", "image", "reason"))
            for place, (row, cell, reason) in enumerate(left_empty):
                image = cell if self._encoding == "path" else ""
                writer.writerow((row, image, reason))
                if place < _NAMED_ROWS:
                    print(
                        f"{self._path}, row {row}, image {image}: {reason}",
                        file=sys.stderr,
                    )


def _has_text(cell: Any) -> bool:
    return bool(str(cell).strip()) if cell is not None else False


def _check_output(manifest: Path, output: Path) -> None:
    """Checks that the output is beside the manifest, and not the manifest."""
    if output.resolve() == manifest.resolve():
        raise ValueError(
            f"--output={output} would overwrite the manifest, which stays as it is. "
            "Give another name."
        )
    if output.resolve().parent != manifest.resolve().parent:
        raise ValueError(
            f"--output={output} must be in the manifest's folder {manifest.parent}, "
            "since image paths are relative to it."
        )
    if output.suffix.lower() != manifest.suffix.lower():
        raise ValueError(
            f"--output={output} must be of the manifest's format: expected a name that "
            f"ends in {manifest.suffix}."
        )
