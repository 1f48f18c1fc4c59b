"""Writes the table of a reader's rows, block by block."""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_multimodal.data import (
    cell_checks,
    columns,
    duplicates,
    grouping,
    row_block,
    spec,
    split,
)
from tf_multimodal.data.class_map import ClassMap
from tf_multimodal.data.quoting import quote
from tf_multimodal.data.raw_rows import ByteRange, RawRows, Reader
from tf_multimodal.data.row_table import RowTable, RowTableWriter
from tf_multimodal.data.source import LeftOutRow, describe_counts

SHOWN = 5  # problems that an error lists, and the first of each other status
MAX_NAMED = 10_000  # bad rows; with more it is time to ask whether they are too many
COMPARED_IMAGES = (
    20_000  # compare_images="auto": with more rows images are not looked at
)


class Ingestion:
    """Rows on their way from a reader to a table.

    Args:
        reader: the rows as they stand in a file.
        settings: an `IngestSettings`, whose columns are there.
        folder: of the table; empty.
        text_columns: what the texts are made of, beside the columns of the roles.
    """

    def __init__(
        self,
        reader: Reader,
        settings: Any,
        folder: pathlib.Path,
        text_columns: Sequence[str],
    ) -> None:
        self._reader, self._settings, self._folder = reader, settings, folder
        class_map = ClassMap(settings.class_map) if settings.class_map else None
        self._classes = settings.classes or (class_map.classes if class_map else None)
        self._label_names = cell_checks.LabelNames(class_map, self._classes)
        self._columns = list(dict.fromkeys([*settings.columns.values(), *text_columns]))
        many = {"captions": True} if settings.captions else {}
        groups = {"group": False} if "group" in settings.columns else {}
        self._writer = RowTableWriter(
            folder, {"id": False, "file": False, "text": False, **many, **groups}
        )
        paths = getattr(reader, "paths", ())
        self._has_one_file = len(paths) == 1
        prefix = os.path.commonprefix(paths or (reader.root + "/",))
        self._folder_of_files = prefix[: prefix.rfind("/") + 1]
        self._numbers: dict[str, list[np.ndarray]] = collections.defaultdict(list)
        self._image_files: dict[str, int] = {}
        self._seen_ids = cell_checks.SeenIds()
        self._group_codes: dict[str, int] = {}
        self._num_captions = self._num_rows = self._num_bad = self._excluded = 0
        self._left_out: list[LeftOutRow] = []
        self._counts: collections.Counter[str] = collections.Counter()  # by status
        self._shown: list[str] = []  # lines of an error
        # Of each column, so that the size of the blocks does not matter.
        keys = ("id", "text", "image", *many, *groups)
        self._digests = {key: hashlib.sha256() for key in keys}

    def run(self) -> None:
        """Reads all rows and finishes the table.

        Raises:
            ValueError: there are no rows, too many bad ones, or fewer than 2 classes.
        """
        for raw in self._reader.read_rows(self._columns):
            self._add(raw)
            if self._num_bad > MAX_NAMED:
                self._check_bad()
        self._check_bad()
        if not self._num_rows:
            raise ValueError(f"{name_reader(self._reader)} has no rows.")
        self._finish()

    def _add(self, raw: RawRows) -> None:
        if self._has_one_file:
            raw = dataclasses.replace(raw, file="")  # goes without saying
        for problem in raw.problems:
            self._leave_out(raw, LeftOutRow("", problem.row, "", problem.reason))
        if not raw.rows:
            return
        file = raw.file.removeprefix(self._folder_of_files)
        block = row_block.RowBlock(raw, self._settings, self._label_names, file)
        block.check_ids(self._seen_ids)
        if block.bad_cells:
            names, ids = block.describe_images(), block.values["id"]
            for i, (role, column, reason) in sorted(block.bad_cells.items()):
                status = f"unusable_{'label' if role == 'labels' else role}"
                row = LeftOutRow(names[i], raw.rows[i], ids[i] or "", reason, status)
                self._leave_out(raw, row, column)
        block.remove_bad()
        self._excluded += len(raw.rows) - len(block.rows) - len(block.bad_cells)
        self._num_rows += len(block.rows)
        self._write_texts(block)
        self._write_numbers(block)

    def _leave_out(self, raw: RawRows, row: LeftOutRow, column: str = "") -> None:
        self._num_bad += 1
        name = raw.file or self._reader.name
        self._left_out.append(row._replace(file=row.file or name))
        if len(self._shown) < SHOWN or row.status not in self._counts:
            place = f"{raw.file}, row {row.row}" if raw.file else f"row {row.row}"
            place += f", column {column!r}" if column else ""
            self._shown.append(f"{place}: {row.reason}")
        self._counts[row.status] += 1

    def _check_bad(self) -> None:
        """Raises an error if more rows are bad than may be left out."""
        total, settings = self._num_bad + self._num_rows, self._settings
        may_drop = settings.bad_rows != "raise"
        if may_drop and self._num_bad <= settings.max_drop_rate * total:
            return
        if not self._num_bad:
            return
        name = name_reader(self._reader)
        allowed = (
            f", more than config.data.max_drop_rate={settings.max_drop_rate} allows"
            if may_drop
            else ""
        )
        more = self._num_bad - len(self._shown)
        lines = [*self._shown, *([f"and {more} more"] if more else [])]
        raise ValueError(
            f"{name} cannot be used: {self._num_bad} of {total} rows are bad{allowed}: "
            f"{describe_counts(self._counts)}\n  " + "\n  ".join(lines)
        )

    def _write_texts(self, block: row_block.RowBlock) -> None:
        values = block.values
        texts = {
            key: values[key]
            for key in ("id", "text", "captions", "group")
            if key in values
        }
        if "captions" in texts:
            longest = max(map(len, texts["captions"]), default=0)
            self._num_captions = max(self._num_captions, longest)
        self._writer.append(texts | {"file": block.describe_images()})
        identities = block.identify_images()
        for key, column in (
            ("id", values["id"]),
            ("text", values["text"]),
            ("image", identities),
        ):
            self._digests[key].update(_join(column))
        if "captions" in texts:
            pieces = [piece for row in texts["captions"] for piece in (*row, "\x1e")]
            self._digests["captions"].update(_join(pieces))
        if "group" in texts:
            self._digests["group"].update(_join(texts["group"]))

    def _write_numbers(self, block: row_block.RowBlock) -> None:
        values = block.values
        offsets, lengths = self._keep_images(block)
        numbers = {
            "rows": np.array(block.rows, np.int64),
            "image_files": block.find_kinds(self._image_files),
            "image_offsets": offsets,
            "image_lengths": lengths,
            "text_keys": block.hash_texts(),
            "image_keys": block.hash_images(),
        }
        for key, name, default, dtype in (
            ("label", "labels", -1, np.int32),
            ("weight", "weights", 1.0, np.float32),
            ("split", "splits", 0, np.int8),
        ):
            found = values.get(key, [default] * len(block.rows))
            numbers[name] = np.array(found, dtype)
        if "labels" in values:
            sets = values["labels"]
            numbers["label_counts"] = np.array(list(map(len, sets)), np.int64)
            numbers["label_values"] = np.array([n for s in sets for n in s], np.int32)
        if "group" in values:
            codes = self._group_codes
            found = [codes.setdefault(name, len(codes)) for name in values["group"]]
            numbers["group_codes"] = np.array(found, np.int64)
        for name, array in numbers.items():
            self._numbers[name].append(array)

    def _keep_images(self, block: row_block.RowBlock) -> np.ndarray:
        """Returns offset and length of each image inside a file, int64 [2, n]."""
        places = np.zeros((2, len(block.rows)), np.int64)
        if block.are_images_paths():
            return places
        for row, image in enumerate(block.values["image"]):
            if isinstance(image, ByteRange):
                places[:, row] = image.offset, image.length
            elif isinstance(image, bytes):
                places[:, row] = self._writer.append_image(image), len(image)
        return places

    def _finish(self) -> None:
        names = list(self._numbers)
        numbers = {name: np.concatenate(self._numbers.pop(name)) for name in names}
        if not np.any(numbers["image_lengths"]):  # all images are files of their own
            del numbers["image_offsets"], numbers["image_lengths"]
        classes = self._number_classes(numbers)
        if respelled := self._label_names.respelled:
            print(
                f"{self._reader.name}: {len(respelled)} spellings of labels were "
                "brought to the composed form of Unicode (NFC), such as that of "
                f"{quote(respelled[0])}."
            )
        self._writer.close()
        facts = {
            "classes": classes,
            "image_files": list(self._image_files),
            "caption_names": self._name_captions(),
            "left_out": self._left_out,
            "excluded": self._excluded,
        }
        if self._settings.needs_labels:
            self._group_and_split(numbers)
        for key in ("text_keys", "image_keys", "group_codes"):
            numbers.pop(key, None)
        made_of = b"".join(digest.digest() for digest in self._digests.values())
        facts["fingerprint"] = hashlib.sha256(made_of).hexdigest()
        self._writer.write_numbers(numbers, facts)

    def _number_classes(self, numbers: dict[str, np.ndarray]) -> list[str]:
        """Puts the labels in the order of the classes; returns their names."""
        if not self._settings.needs_labels:
            return list(self._settings.classes or ())
        names = self._label_names.names
        classes = names if self._classes else sorted(names)
        if len(classes) < 2:
            columns_of = self._settings.columns
            raise ValueError(
                f"{name_reader(self._reader)}, column "
                f"{columns_of.get('labels', columns_of.get('label'))!r}: a classifier "
                f"needs at least 2 classes. Received: {', '.join(map(quote, classes))}"
            )
        order = {name: number for number, name in enumerate(classes)}
        to_class = np.array([order[name] for name in names], np.int32)
        if "label_values" not in numbers:
            numbers["labels"] = to_class[numbers["labels"]]
            return classes
        numbers["label_values"] = values = to_class[numbers["label_values"]]
        counts = numbers.pop("label_counts")
        numbers["label_offsets"] = offsets = np.concatenate([[0], np.cumsum(counts)])
        has_label = counts > 0
        numbers["labels"][has_label] = values[offsets[:-1][has_label]]
        return classes

    def _name_captions(self) -> list[str]:
        names = list(self._settings.captions)
        if len(names) == 1 and self._num_captions != 1:
            return [f"{names[0]}[{i}]" for i in range(self._num_captions)]
        return names

    def _group_and_split(self, numbers: dict[str, np.ndarray]) -> None:
        """Finds the groups of near-duplicates, and deals them to splits."""
        settings = self._settings
        if "group_codes" in numbers:
            codes = numbers["group_codes"]
            names = [name.encode() for name in self._group_codes]
        else:
            codes = grouping.find_groups(
                numbers.pop("text_keys"),
                numbers["image_keys"],
                self._hash_images(numbers),
            )
            ids = RowTable(self._folder).iterate("id")
            numbers["group_rows"], names = grouping.name_groups(codes, ids)
        if "split" not in settings.columns:
            parts = split.deal_groups(
                numbers["labels"], codes, names, settings.split_fractions
            )
            numbers["splits"] = (parts + 1).astype(np.int8)
            return
        if settings.completes_splits:
            numbers["splits"] = self._complete_splits(numbers, codes, names)
        table = RowTable(self._folder)
        grouping.warn_of_leaks(
            self._reader.name,
            codes,
            numbers["splits"],
            lambda row: table.get_cell("id", row).decode(),
        )

    def _complete_splits(
        self, numbers: dict[str, np.ndarray], codes: np.ndarray, names: Sequence[bytes]
    ) -> np.ndarray:
        """Takes splits that the data lack out of their training split."""
        splits, fractions = numbers["splits"].copy(), self._settings.split_fractions
        present = set(splits.tolist())
        train, *others = range(1, 4)
        if train not in present:
            raise ValueError(
                f"{self._reader.name}: the splits must be train, and validation and "
                "test if there are such. Received: "
                f"{', '.join(spec.SPLITS[code - 1] for code in sorted(present))}"
            )
        wanted = [train, *(code for code in others if code not in present)]
        if len(wanted) == 1:
            return splits
        shares = np.array([fractions[code - 1] for code in wanted])
        rows = np.flatnonzero(splits == train)
        parts = split.deal_groups(
            numbers["labels"][rows], codes[rows], names, tuple(shares / shares.sum())
        )
        splits[rows] = np.array(wanted, np.int8)[parts]
        taken = " and ".join(spec.SPLITS[code - 1] for code in wanted[1:])
        print(f"{self._reader.name}: {taken} taken out of its training split.")
        return splits

    def _hash_images(self, numbers: dict[str, np.ndarray]) -> np.ndarray | None:
        """Returns perceptual hashes, uint8 [n, 16]; None where they are not wanted."""
        wanted, kinds = self._settings.compare_images, numbers["image_files"]
        count = int(np.sum(kinds != columns.NO_IMAGE))
        if wanted == "off" or not count:
            return None
        if wanted == "auto" and count > COMPARED_IMAGES:
            print(
                f"{self._reader.name}: {count} images are too many to look for "
                "near-duplicates now; groups are of equal texts and equal images. "
                "`python -m tf_multimodal.data.audit --fix` finds them, or "
                "config.data.compare_images='on'."
            )
            return None
        self._writer.write_numbers(numbers, {"image_files": list(self._image_files)})
        table = RowTable(self._folder)
        images = columns.read_images(table, self._reader.root, len(kinds))
        rows = np.flatnonzero(kinds != columns.NO_IMAGE)
        hashes = np.zeros((len(kinds), duplicates.HASH_BYTES), np.uint8)
        hashes[rows] = grouping.hash_images(
            columns.LazyColumn(count, lambda place: images[int(rows[place])]),
            numbers["image_keys"][rows],
            self._settings.max_image_px,
        )
        return hashes


def name_reader(reader: Reader) -> str:
    """Returns the name of a reader for an error: the path of its only file."""
    paths: Sequence[str] = getattr(reader, "paths", ())
    return paths[0] if len(paths) == 1 else reader.name


def _join(column: Iterable[str | bytes]) -> bytes:
    """Returns a column as bytes, a separator after each value."""
    try:
        return ("\x1f".join(column) + "\x1f").encode(errors="surrogatepass")  # type: ignore[arg-type]
    except TypeError:  # some are bytes
        return b"".join(
            (v if isinstance(v, bytes) else v.encode(errors="surrogatepass")) + b"\x1f"
            for v in column
        )
