"""A CSV or TSV file of image-text pairs, with an explicit column map."""

import csv
import dataclasses
import difflib
import io
import os
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tf_multimodal.data import grouping, spec
from tf_multimodal.data.source import Source
from tf_multimodal.data.split import assign_splits

SHOWN = 5  # problems that an error lists
SPLIT_NAMES = {name: name for name in spec.SPLITS} | dict.fromkeys(
    ("val", "valid", "dev"), "validation"
)


class Settings(NamedTuple):
    """How messages call what chooses a manifest and, by role, its columns."""

    path: str = "config.data.manifest"
    column: str = "config.data.columns.{role}"


CONFIG_KEYS = Settings()


@dataclasses.dataclass
class _Row:
    line: int  # where it begins in the file; the header is line 1
    cells: Mapping[str, str]  # by role, a key of the column map
    image: str = ""  # absolute path
    split: str = ""
    weight: float = 1.0


def read_manifest(
    path: str | os.PathLike[str],
    columns: Mapping[str, str],
    classes: Sequence[str] | None = None,
    require_labels: bool = True,
    split_fractions: Sequence[float] = (0.7, 0.15, 0.15),
    max_image_px: int = spec.MAX_IMAGE_PX,
    optional: Collection[str] = (),
    settings: Settings = CONFIG_KEYS,
) -> Source:
    """Reads a manifest and checks every cell of it.

    Without a split column the rows are split by a hash of their group of
    near-duplicates, stratified by label.

    Args:
        path: CSV, or TSV where the name ends in .tsv or .tab; UTF-8.
        columns: column of each role (image, text, label, split, weight, id); "":
            the manifest has none. Image paths are relative to its folder.
        classes: names in the order of the labels; None: the sorted labels.
        require_labels: False reads neither label, split nor weight, and makes no
            groups: labels are -1 and splits empty.
        split_fractions: share of train, validation and test.
        max_image_px: a larger image plays no part in the groups.
        optional: roles whose column the manifest may lack, whatever `columns` says.
        settings: what the messages say to set.

    Raises:
        FileNotFoundError: no such file.
        ValueError: names file, row and column, what was received and expected.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}, which {settings.path} names. Set it to a CSV or "
            f"TSV file; relative paths start at {os.getcwd()}."
        )
    columns = {role: column for role, column in columns.items() if column}
    if not require_labels:
        columns = {k: columns[k] for k in ("image", "text", "id") if k in columns}
    elif "label" not in columns:
        raise ValueError(
            f"{path}: {settings.column.format(role='label')} must name the column of "
            "the labels."
        )
    rows = _read_rows(path, columns, optional, settings)
    _check_cells(path, columns, rows)
    ids = np.array([row.cells.get("id", str(row.line)) for row in rows], object)
    texts = np.array([row.cells.get("text", "") for row in rows], object)
    images = np.array([row.image for row in rows], object)
    splits = np.array([row.split for row in rows], object)
    labels, groups = np.full(len(rows), -1, np.int32), ids
    if require_labels:
        labels, classes = _make_labels(path, columns["label"], rows, classes)
        groups = grouping.compute_groups(ids, texts, images, True, max_image_px)
        if "split" in columns:
            grouping.warn_of_leaks(path.name, ids, groups, splits)
        else:
            splits = assign_splits(labels, groups, split_fractions)
    return Source(
        name=path.name,
        classes=tuple(classes or ()),
        images=images,
        images_are_paths=True,
        texts=texts,
        labels=labels,
        weights=np.array([row.weight for row in rows], np.float32),
        ids=ids,
        groups=groups,
        splits=splits,
        files=np.array([row.cells.get("image", "") for row in rows], object),
        rows=np.array([row.line for row in rows], np.int64),
    )


def _read_rows(
    path: pathlib.Path,
    columns: Mapping[str, str],
    optional: Collection[str],
    settings: Settings,
) -> list[_Row]:
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    reader = csv.reader(
        io.StringIO(_read_text(path), newline=""), delimiter=delimiter, strict=True
    )
    try:
        header = next(reader, [])
        places = _find_columns(path, header, columns, optional, settings)
        rows, line = [], reader.line_num
        for cells in reader:
            line, end = line + 1, reader.line_num
            if cells and len(cells) != len(header):
                raise ValueError(
                    f"{path}, row {line}: {len(cells)} cells, expected "
                    f"{len(header)} as in the header. Put quotes around cells that "
                    f"contain {delimiter!r} or a line break."
                )
            if cells:  # an empty line is no row
                rows.append(_Row(line, {k: cells[i] for k, i in places.items()}))
            line = end
    except csv.Error as error:
        raise ValueError(
            f"{path}, near row {reader.line_num}: not a well-formed table: {error}. "
            "Look for a quotation mark that is not closed or not doubled."
        ) from error
    if not rows:
        raise ValueError(f"{path} has no rows below its header.")
    return rows


def _read_text(path: pathlib.Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not UTF-8 ({error.reason}, byte "
            f"0x{data[error.start]:02x}). Save the file as UTF-8, for example with "
            f"`iconv -f WINDOWS-1252 -t UTF-8 {path.name}`."
        ) from error


def _find_columns(
    path: pathlib.Path,
    header: Sequence[str],
    columns: Mapping[str, str],
    optional: Collection[str],
    settings: Settings,
) -> dict[str, int]:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(
            f"{path}: columns must have different names. Twice in the header: "
            f"{', '.join(map(repr, twice))}"
        )
    for role, column in columns.items():
        if column not in header and role not in optional:
            raise ValueError(
                f"{path} has no column {column!r} for the {role}. Its header: "
                f"{', '.join(map(repr, header))}. Set "
                f"{settings.column.format(role=role)} to one of these"
                + ("." if role == "label" else ", or to '' if there is none.")
            )
    inputs = [role for role in ("image", "text") if role not in optional]
    if not set(inputs) & set(columns):
        names = [settings.column.format(role=role) for role in inputs]
        raise ValueError(f"{path}: set {' or '.join(names)} to a column of it.")
    return {k: header.index(name) for k, name in columns.items() if name in header}


def _check_cells(
    path: pathlib.Path, columns: Mapping[str, str], rows: Sequence[_Row]
) -> None:
    """Fills in image, split and weight, and raises an error that lists all problems."""
    root = os.path.realpath(path.parent)
    seen: dict[str, int] = {}
    problems = []
    checks: dict[str, Callable[[_Row], None]] = {
        "image": lambda row: _resolve_image(root, row),
        "label": _check_label,
        "split": _parse_split,
        "weight": _parse_weight,
        "id": lambda row: _check_id(seen, row),
    }
    for row in rows:
        for role, check in checks.items():
            if role in row.cells:
                try:
                    check(row)
                except ValueError as error:
                    problems.append(
                        f"row {row.line}, column {columns[role]!r}: {error}"
                    )
    if problems:
        more = len(problems) - SHOWN
        lines = problems[:SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError(f"{path} cannot be used:\n  " + "\n  ".join(lines))


def _resolve_image(root: str, row: _Row) -> None:
    cell = row.cells["image"]
    if not cell.strip():
        return
    if "\0" in cell or os.path.isabs(cell):
        raise ValueError(
            f"received {cell!r}, expected a path relative to the manifest's folder."
        )
    row.image = os.path.realpath(os.path.join(root, cell))
    if os.path.commonpath([root, row.image]) != root:
        raise ValueError(
            f"received {cell!r}, which leads out of the manifest's folder to "
            f"{row.image}. Move the images into the folder, or the manifest above them."
        )


def _check_label(row: _Row) -> None:
    if not row.cells["label"].strip():
        raise ValueError("received an empty label. Give it one, or remove the row.")


def _parse_split(row: _Row) -> None:
    cell = row.cells["split"]
    row.split = SPLIT_NAMES.get(cell.strip().lower(), "")
    if not row.split:
        raise ValueError(
            f"received {cell!r}, expected one of {', '.join(SPLIT_NAMES)}."
        )


def _parse_weight(row: _Row) -> None:
    cell = row.cells["weight"]
    try:
        row.weight = float(cell)
    except ValueError:
        row.weight = -1.0
    if not 0 <= row.weight < float("inf"):
        raise ValueError(f"received {cell!r}, expected a number of at least 0.")


def _check_id(seen: dict[str, int], row: _Row) -> None:
    cell = row.cells["id"]
    if not cell.strip():
        raise ValueError("received an empty id, expected a unique one.")
    first = seen.setdefault(cell, row.line)
    if first != row.line:
        raise ValueError(
            f"received {cell!r}, which row {first} has too. Make it unique."
        )


def _make_labels(
    path: pathlib.Path,
    column: str,
    rows: Sequence[_Row],
    classes: Sequence[str] | None,
) -> tuple[np.ndarray, Sequence[str]]:
    names = [row.cells["label"].strip() for row in rows]
    classes = sorted(set(names)) if classes is None else classes
    if len(classes) < 2:
        raise ValueError(
            f"{path}, column {column!r}: a classifier needs at least 2 classes. "
            f"Received: {', '.join(map(repr, classes))}"
        )
    labels = {name: label for label, name in enumerate(classes)}
    for row, name in zip(rows, names, strict=True):
        if name not in labels:
            closest = difflib.get_close_matches(name, classes, 1, 0.0)[0]
            raise ValueError(
                f"{path}, row {row.line}, column {column!r}: {name!r} is not one of "
                f"the {len(classes)} classes. The closest: {closest!r}"
            )
    return np.array([labels[name] for name in names], np.int32), classes
